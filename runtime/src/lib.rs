//! What a host of a compiled avocet model needs: the C ABI's types, arenas, and external weights.
//!
//! A compiled model is one function, [`Invoke`]. It allocates nothing, calls nothing and keeps nothing between calls, so
//! that any number of threads may run the same model, each with an [`Arena`] of its own. This crate is `no_std`
//! with two default features: without `alloc` the host brings the arena's memory; without `mmap`, which needs `std`, the
//! memory of external weights.

#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, feature = "mmap"))]
extern crate std;

#[cfg(feature = "alloc")]
mod arena;
#[cfg(feature = "mmap")]
mod mapped;
pub mod weights;

#[cfg(feature = "alloc")]
pub use arena::Arena;
#[cfg(feature = "mmap")]
pub use mapped::{MapError, Mapped};

use core::ffi::c_void;

/// Alignment in bytes of the arena and of weights.
pub const ALIGNMENT: usize = 64;

/// What a model's function gets beyond inputs and outputs: `struct avocet_context` in C.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Memory for intermediate tensors, of at least the model's arena size, aligned to [`ALIGNMENT`]. Null for a model
    /// that needs none. Not shared by concurrent calls.
    pub arena: *mut c_void,
    /// The model's weights when they are external (see [`weights`]), else null. Shared by any number of calls.
    pub weights: *const c_void,
}

/// A compiled model: `int32_t NAME_invoke(const void *const *inputs, void *const *outputs, const avocet_context *)`.
///
/// `inputs` and `outputs` hold one pointer for each input and output of the model, aligned to its element. The result is
/// a [`Status`].
pub type Invoke = unsafe extern "C" fn(
    inputs: *const *const c_void,
    outputs: *const *mut c_void,
    context: *const Context,
) -> i32;

/// What a model's function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// The outputs are written.
    Ok = 0,
    /// A pointer was null.
    NullPointer = 1,
    /// A pointer was not aligned as it must be.
    Misaligned = 2,
}

impl Status {
    /// The status of this number.
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Status::Ok),
            1 => Some(Status::NullPointer),
            2 => Some(Status::Misaligned),
            _ => None,
        }
    }
}
