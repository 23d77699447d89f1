//! An ahead-of-time compiler for efficient neural networks
