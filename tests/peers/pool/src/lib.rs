//! `avocet_runtime::Pool` for hosts that are not written in Rust: the comparison's Python script.

use std::ffi::c_void;

use avocet_runtime::{ParallelFor, Pool};

/// The fields `parallel_for` and `pool` of `avocet_context`.
#[repr(C)]
pub struct Fields {
    parallel_for: Option<ParallelFor>,
    pool: *mut c_void,
}

/// A pool that lives as long as the process; null where its threads can't be started.
#[unsafe(no_mangle)]
pub extern "C" fn pool_of(threads: usize) -> Fields {
    match Pool::new(threads) {
        Ok(pool) => {
            let (parallel_for, pool) = Box::leak(Box::new(pool)).parallel_for();
            Fields { parallel_for: Some(parallel_for), pool }
        }
        Err(_) => Fields { parallel_for: None, pool: std::ptr::null_mut() },
    }
}
