//! The static memory plan: where in the arena each temporary of a program lives.
//!
//! A program with sizes of temporaries and an order of steps goes in, an offset for each temporary comes out, such that
//! temporaries whose contents are needed at the same time don't overlap. `lifetimes` finds out when a temporary is
//! needed and which ones share memory in place; `packing` places blocks with known lifetimes. Placing them optimally
//! is NP-hard (dynamic storage allocation); the packer tries good orders, improves on the best, and stops at once when
//! it reaches the lower bound, which on chains of layers it mostly does.
//!
//! [`checker`] judges a plan independently, by following who owns which bytes.

pub mod checker;
mod lifetimes;
mod packing;

use avocet_ir::program::{MemoryPlan, Program, ProgramError};

use packing::Block;

/// Plans the memory of a program that [`Program::verify`] accepts.
///
/// Fails when a step refers to a temporary that doesn't exist, or when the sizes together exceed the address space.
pub fn plan(program: &Program) -> Result<MemoryPlan, ProgramError> {
    let lifetimes = lifetimes::lifetimes(program)?;
    let blocks: Vec<Block> = lifetimes.blocks.iter().map(|shared| shared.block).collect();
    let packed = packing::pack(&blocks, lifetimes.lower_bound);
    let mut offsets = vec![0; program.temporaries.len()];
    for (shared, offset) in lifetimes.blocks.iter().zip(packed.offsets) {
        for &temporary in &shared.temporaries {
            offsets[temporary] = offset;
        }
    }
    // A temporary that no step touches lies at 0, over others; it too must end inside the arena.
    let untouched = lifetimes.untouched_bytes;
    Ok(MemoryPlan { offsets, bytes: packed.bytes.max(untouched), lower_bound: lifetimes.lower_bound })
}

#[cfg(test)]
mod tests;
