//! Lowers avocet's kernel IR to machine code through Cranelift
