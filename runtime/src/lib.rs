//! What a host of a compiled avocet model needs: the C ABI's types, arenas, external weights, and a pool of threads.
//!
//! A compiled model is one function, [`Invoke`]. It allocates nothing and keeps nothing between calls, so that any number
//! of threads may run the same model, each with an [`Arena`] of its own; and it calls nothing but the
//! [`ParallelFor`] that the host may give it, to run the parts of one call on several threads. This crate is `no_std`
//! with two default features: without `alloc` the host brings the arena's memory; without `mmap`, which needs `std`, the
//! memory of external weights. The feature `std` adds [`Pool`], which is such a `ParallelFor`.

#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, feature = "mmap", feature = "std"))]
extern crate std;

#[cfg(feature = "alloc")]
mod arena;
#[cfg(feature = "mmap")]
mod mapped;
#[cfg(all(feature = "alloc", feature = "mmap", target_os = "linux"))]
mod pages;
#[cfg(feature = "std")]
mod pool;
mod port;
pub mod weights;

#[cfg(feature = "alloc")]
pub use arena::Arena;
#[cfg(feature = "mmap")]
pub use mapped::{MapError, Mapped};
#[cfg(feature = "std")]
pub use pool::Pool;
pub use port::{Element, Port};

use core::ffi::c_void;

/// Alignment in bytes of the arena and of weights.
pub const ALIGNMENT: usize = 64;

/// One part of a step of a model; called with the argument that came with it and the part's number.
pub type Body = unsafe extern "C" fn(argument: *mut c_void, index: usize);

/// Runs `body(argument, index)` once for each `index` below `count`, on any threads and in any order, and returns when
/// all of them have returned. Gets the `pool` of the [`Context`] first.
pub type ParallelFor =
    unsafe extern "C" fn(pool: *mut c_void, count: usize, body: Body, argument: *mut c_void);

/// What a model's function gets beyond inputs and outputs: `struct avocet_context` in C.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Memory for intermediate tensors, of at least the model's arena size, aligned to [`ALIGNMENT`]. Null for a model
    /// that needs none. Not shared by concurrent calls.
    pub arena: *mut c_void,
    /// The model's weights when they are external (see [`weights`]), else null. Shared by any number of calls.
    pub weights: *const c_void,
    /// Runs the parts of a step on several threads; `None` runs them in order on the caller's. Results are the same.
    pub parallel_for: Option<ParallelFor>,
    /// Handed to `parallel_for`.
    pub pool: *mut c_void,
    /// The sizes of a model that leaves some to the call, in its order. Null for other models.
    pub sizes: *const i64,
}

impl Context {
    /// A context for the caller's thread alone.
    pub const fn new(arena: *mut c_void, weights: *const c_void) -> Self {
        let (pool, sizes) = (core::ptr::null_mut(), core::ptr::null());
        Context { arena, weights, parallel_for: None, pool, sizes }
    }

    /// The same, with sizes for a model that leaves some to the call; they must live as long as the context is used.
    pub const fn with_sizes(self, sizes: &[i64]) -> Self {
        Context { sizes: sizes.as_ptr(), ..self }
    }

    /// The same, with parts of a step run by a pool, which must live as long as the context is used.
    #[cfg(feature = "std")]
    pub fn with_pool(self, pool: &Pool) -> Self {
        let (parallel_for, pool) = pool.parallel_for();
        Context { parallel_for: Some(parallel_for), pool, ..self }
    }
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
    /// A size is not one of those that the model allows. Nothing is written.
    Size = 3,
}

impl Status {
    /// The status of this number.
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Status::Ok),
            1 => Some(Status::NullPointer),
            2 => Some(Status::Misaligned),
            3 => Some(Status::Size),
            _ => None,
        }
    }
}
