//! End-to-end, differential and conformance tests of avocet: what the tests under `tests/` of this crate share.
//!
//! - [`oracle`]: ONNX Runtime and the trained networks, by Python scripts in an environment that is made on first use;
//! - [`compare`]: how far two tensors are apart, and a readable account of it;
//! - [`emulated`]: compiled networks under qemu;
//! - [`inputs`]: inputs of example networks;
//! - [`files`]: folders, commands and the `avocet` program itself.

mod cases;
pub mod compare;
pub mod emulated;
pub mod files;
pub mod inputs;
pub mod oracle;
