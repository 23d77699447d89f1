//! When each temporary is needed, and which temporaries can be one piece of memory.

use avocet_ir::program::{ALIGNMENT, Call, Program, ProgramError, Storage};

use super::packing::Block;

/// Temporaries that follow one another in place, as one block.
pub(super) struct Shared {
    pub(super) temporaries: Vec<usize>,
    pub(super) block: Block,
}

/// What the packer has to know of a program.
pub(super) struct Lifetimes {
    pub(super) blocks: Vec<Shared>,
    /// Size of the largest temporary that no call touches.
    pub(super) untouched_bytes: usize,
    /// Largest sum of the blocks that are live during one call.
    pub(super) lower_bound: usize,
}

/// Reads the lifetimes off the calls: a temporary lives from the first call that touches it to the last, both included.
pub(super) fn lifetimes(program: &Program) -> Result<Lifetimes, ProgramError> {
    let sizes = aligned_sizes(&program.temporaries)?;
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; sizes.len()];
    for (number, call) in program.calls.iter().enumerate() {
        for temporary in temporaries(call) {
            let span = spans.get_mut(temporary).ok_or_else(|| {
                ProgramError::Plan(format!("call {number} uses temporary {temporary}, which does not exist"))
            })?;
            span.get_or_insert((number, number)).1 = number;
        }
    }
    let untouched = spans.iter().zip(&sizes).filter(|(span, _)| span.is_none());
    let untouched_bytes = untouched.map(|(_, &size)| size).max().unwrap_or(0);
    let blocks = merge(program, &sizes, &spans);
    let lower_bound = lower_bound(&blocks, program.calls.len());
    Ok(Lifetimes { blocks, untouched_bytes, lower_bound })
}

/// Sizes rounded up to the alignment; their sum is checked, so that no sum of some of them overflows later.
fn aligned_sizes(sizes: &[usize]) -> Result<Vec<usize>, ProgramError> {
    let mut sum = 0usize;
    let mut aligned = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let size = size.checked_next_multiple_of(ALIGNMENT);
        let total = size.and_then(|size| sum.checked_add(size)).filter(|&sum| sum <= isize::MAX as usize);
        let (Some(size), Some(total)) = (size, total) else {
            return Err(ProgramError::Plan("the temporaries exceed the address space".into()));
        };
        sum = total;
        aligned.push(size);
    }
    Ok(aligned)
}

/// The temporaries among a call's arguments, with repetitions.
fn temporaries(call: &Call) -> impl Iterator<Item = usize> + '_ {
    call.arguments.iter().filter_map(|argument| match argument.storage {
        Storage::Temporary(temporary) => Some(temporary),
        _ => None,
    })
}

/// Joins temporaries where a call allows it: one that is read for the last time with one of the same size that the same
/// call is the first to write.
fn merge(program: &Program, sizes: &[usize], spans: &[Option<(usize, usize)>]) -> Vec<Shared> {
    // The temporary in whose memory each one goes on.
    let mut successor = vec![None; sizes.len()];
    let mut is_successor = vec![false; sizes.len()];
    for (number, call) in program.calls.iter().enumerate() {
        for &(read, write) in &call.in_place {
            let (Some(from), Some(to)) = (whole_temporary(call, read), whole_temporary(call, write)) else {
                continue;
            };
            let dies = spans[from].is_some_and(|(_, last)| last == number);
            let is_born = spans[to].is_some_and(|(first, _)| first == number);
            if dies && is_born && sizes[from] == sizes[to] && successor[from].is_none() && !is_successor[to] {
                successor[from] = Some(to);
                is_successor[to] = true;
            }
        }
    }
    let mut blocks = Vec::new();
    for first in (0..sizes.len()).filter(|&t| !is_successor[t]) {
        let Some((start, mut end)) = spans[first] else { continue };
        let mut temporaries = vec![first];
        let mut next = successor[first];
        // Each temporary is one's successor at most and born later than it, so the chain ends.
        while let Some(temporary) = next {
            temporaries.push(temporary);
            end = spans[temporary].map_or(end, |(_, last)| last);
            next = successor[temporary];
        }
        blocks.push(Shared { temporaries, block: Block { start, end, size: sizes[first] } });
    }
    blocks
}

/// The temporary that an argument is from its first byte on, if the call has no other argument in it.
fn whole_temporary(call: &Call, argument: usize) -> Option<usize> {
    let argument = call.arguments.get(argument).filter(|argument| argument.offset == 0)?;
    let Storage::Temporary(temporary) = argument.storage else { return None };
    (temporaries(call).filter(|&t| t == temporary).count() == 1).then_some(temporary)
}

/// The largest sum of sizes of blocks that are live during one call.
fn lower_bound(blocks: &[Shared], calls: usize) -> usize {
    let (mut born, mut died) = (vec![0; calls + 1], vec![0; calls + 1]);
    for Shared { block, .. } in blocks {
        born[block.start] += block.size;
        died[block.end + 1] += block.size;
    }
    let mut live = 0;
    let mut most = 0;
    for (born, died) in born.into_iter().zip(died) {
        live = live + born - died;
        most = most.max(live);
    }
    most
}
