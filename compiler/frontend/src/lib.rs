//! Frontends: model files in, the graph IR out.
//!
//! [`onnx`] reads ONNX files; [`arch`] reads architecture descriptions and [`weights`] what fills them. Frontends know the graph and nothing behind
//! it; constants that they must compute they ask of [`avocet_ir::Evaluate`].

pub mod arch;
pub mod onnx;
pub mod weights;
