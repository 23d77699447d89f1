//! Lowers scheduled operators to avocet's kernel IR
