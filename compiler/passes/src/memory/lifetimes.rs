//! When each temporary is needed, and which temporaries can be one piece of memory.

use std::ops::Range;

use avocet_ir::program::{ALIGNMENT, Control, Program, ProgramError, Step, Storage};

use super::packing::Block;

/// Temporaries that follow one another in place, as one block.
pub(super) struct Shared {
    pub(super) temporaries: Vec<usize>,
    pub(super) block: Block,
}

/// What the packer has to know of a program.
pub(super) struct Lifetimes {
    pub(super) blocks: Vec<Shared>,
    /// Size of the largest temporary that no step touches.
    pub(super) untouched_bytes: usize,
    /// Largest sum of the blocks that are live during one step.
    pub(super) lower_bound: usize,
}

/// Reads the lifetimes off the steps: a temporary lives from the first step that touches it to the last, both included.
/// The parts of a step may run at the same time, so what one of them touches is live during all of it.
pub(super) fn lifetimes(program: &Program) -> Result<Lifetimes, ProgramError> {
    let sizes = aligned_sizes(&program.temporaries)?;
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; sizes.len()];
    for (number, step) in program.steps.iter().enumerate() {
        for temporary in temporaries(step) {
            let span = spans.get_mut(temporary).ok_or_else(|| {
                ProgramError::Plan(format!("step {number} uses temporary {temporary}, which does not exist"))
            })?;
            span.get_or_insert((number, number)).1 = number;
        }
    }
    follow_controls(program, &mut spans)?;
    let untouched = spans.iter().zip(&sizes).filter(|(span, _)| span.is_none());
    let untouched_bytes = untouched.map(|(_, &size)| size).max().unwrap_or(0);
    let blocks = merge(program, &sizes, &spans);
    let lower_bound = lower_bound(&blocks, program.steps.len());
    Ok(Lifetimes { blocks, untouched_bytes, lower_bound })
}

/// Makes temporaries that controls read live where they are read, and those that a loop shares with what is around it live
/// during all of the loop. What only one of two branches needs lives there alone: whichever runs, the other does not.
fn follow_controls(program: &Program, spans: &mut [Option<(usize, usize)>]) -> Result<(), ProgramError> {
    let read = program.controls.iter().flat_map(|control| {
        let steps = control.steps();
        control.arguments().into_iter().map(move |argument| (argument.storage, steps.start, steps.end - 1))
    });
    for (storage, start, end) in read {
        let Storage::Temporary(temporary) = storage else { continue };
        let span = spans.get_mut(temporary).ok_or_else(|| {
            ProgramError::Plan(format!("a control reads temporary {temporary}, which does not exist"))
        })?;
        let (first, last) = span.get_or_insert((start, end));
        (*first, *last) = ((*first).min(start), (*last).max(end));
    }
    // Inner loops first, as what they make longer may be an outer one's concern.
    for control in program.controls.iter().rev() {
        let Control::Loop { steps, .. } = control else { continue };
        let (start, end) = (steps.start, steps.end - 1);
        for (first, last) in spans.iter_mut().flatten() {
            let within = *first >= start && *last <= end;
            if *first <= end && *last >= start && !within {
                (*first, *last) = ((*first).min(start), (*last).max(end));
            }
        }
    }
    Ok(())
}

/// What separates large temporaries from their neighbours. Without it an image and a result whose sizes are multiples of a
/// page, as those of 512 channels are, lie at the same place within a page; then each load looks like one of what the
/// stores before it have just written, and waits for them ("4K aliasing"). The distance is far from zero, and from small
/// positive numbers, by all powers of two from 512 on. Depthwise convolution of 14x14x512 takes a third less time.
const STAGGER: usize = 768;
/// Sizes from which on the distance is next to nothing.
const LARGE: usize = 64 << 10;

/// Sizes rounded up to the alignment, and separated where they are large; their sum is checked, so that no sum of some of them overflows later.
fn aligned_sizes(sizes: &[usize]) -> Result<Vec<usize>, ProgramError> {
    let mut sum = 0usize;
    let mut aligned = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let stagger = if size >= LARGE { STAGGER } else { 0 };
        let size = size.checked_next_multiple_of(ALIGNMENT).and_then(|size| size.checked_add(stagger));
        let total = size.and_then(|size| sum.checked_add(size)).filter(|&sum| sum <= isize::MAX as usize);
        let (Some(size), Some(total)) = (size, total) else {
            return Err(ProgramError::Plan("the temporaries exceed the address space".into()));
        };
        sum = total;
        aligned.push(size);
    }
    Ok(aligned)
}

/// The temporaries among the arguments of a step's calls, with repetitions.
fn temporaries(step: &Step) -> impl Iterator<Item = usize> + '_ {
    step.calls().flat_map(|call| &call.arguments).filter_map(|argument| match argument.storage {
        Storage::Temporary(temporary) => Some(temporary),
        _ => None,
    })
}

/// Joins temporaries where a step allows it: one that is read for the last time with one of the same size that the same
/// step is the first to write.
fn merge(program: &Program, sizes: &[usize], spans: &[Option<(usize, usize)>]) -> Vec<Shared> {
    // The temporary in whose memory each one goes on.
    let mut successor = vec![None; sizes.len()];
    let mut is_successor = vec![false; sizes.len()];
    for (number, step) in program.steps.iter().enumerate() {
        for (from, to) in in_place(program, step) {
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

/// Pairs (read, written) of temporaries that may be the same memory during a step: all calls that touch either touch both,
/// at the same bytes and in place, and no two calls touch the same bytes.
fn in_place(program: &Program, step: &Step) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for call in step.calls() {
        for &(read, write) in &call.in_place {
            let storage = |argument: usize| call.arguments.get(argument).map(|a| a.storage);
            if let (Some(Storage::Temporary(from)), Some(Storage::Temporary(to))) =
                (storage(read), storage(write))
                && from != to
                && !pairs.contains(&(from, to))
            {
                pairs.push((from, to));
            }
        }
    }
    pairs.retain(|&(from, to)| all_in_place(program, step, from, to));
    pairs
}

fn all_in_place(program: &Program, step: &Step, from: usize, to: usize) -> bool {
    let mut touched: Vec<Range<usize>> = Vec::new();
    for call in step.calls() {
        let uses = |temporary: usize| {
            let arguments = call.arguments.iter().enumerate();
            let of: Vec<usize> = arguments
                .filter(|(_, a)| a.storage == Storage::Temporary(temporary))
                .map(|(i, _)| i)
                .collect();
            of
        };
        let (read, write) = match (&uses(from)[..], &uses(to)[..]) {
            ([], []) => continue,
            (&[read], &[write]) if [read, write].map(|a| call.arguments[a].stride) == [0, 0] => (read, write),
            _ => return false,
        };
        let bytes = |argument: usize| {
            let (start, buffer) =
                (call.arguments[argument].offset, program.kernels.get(call.kernel)?.buffers.get(argument)?);
            Some(start..start.checked_add(buffer.bytes())?)
        };
        let Some(range) = bytes(read).filter(|range| bytes(write).as_ref() == Some(range)) else {
            return false;
        };
        if !call.in_place.contains(&(read, write)) {
            return false;
        }
        touched.push(range);
    }
    touched.sort_unstable_by_key(|range| range.start);
    touched.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

/// The largest sum of sizes of blocks that are live during one step.
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
