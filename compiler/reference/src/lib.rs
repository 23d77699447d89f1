//! The oracles: plain interpreters of avocet's graph and kernel IR
