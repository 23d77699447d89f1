//! End-to-end, differential and conformance tests of avocet
