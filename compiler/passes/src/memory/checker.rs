//! An independent judge of memory plans.
//!
//! It shares no code and no notion of lifetimes with the planner. It follows the program call by call and notes for
//! each byte of the arena which temporary was written there last; a call that reads a byte of a temporary where another
//! was written since is an error. Arguments of one call may overlap only where the call says that it works in place.
//! Temporaries that different parts of a step touch may not overlap at all where one of them is written, for the parts
//! may run at the same time; with that, the order in which they are followed here makes no difference. (That parts don't
//! meet within one temporary is for [`Program::verify`] to say.)

use std::collections::BTreeMap;
use std::ops::Range;

use avocet_ir::kernel::{Access, BufferId};
use avocet_ir::program::{ALIGNMENT, Call, MemoryPlan, Program, Storage};
use thiserror::Error;

/// What is wrong with a memory plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckError {
    /// The plan does not fit the program; the text says how.
    #[error("the plan does not fit the program: {0}")]
    Shape(String),
    /// A temporary is misplaced on its own account.
    #[error("temporary {temporary} at {offset} is not aligned or leaves the arena of {bytes} bytes")]
    Place {
        /// Number of the temporary.
        temporary: usize,
        /// Its offset.
        offset: usize,
        /// Size of the arena.
        bytes: usize,
    },
    /// A call would read what another temporary has overwritten.
    #[error("step {step} ({node}) reads temporary {temporary}, but byte {byte} holds temporary {owner}")]
    Overwritten {
        /// Number of the step.
        step: usize,
        /// Name of the call's node.
        node: String,
        /// What is read.
        temporary: usize,
        /// A byte of the arena.
        byte: usize,
        /// The temporary that was written there last.
        owner: usize,
    },
    /// A call would write where it, or a part that may run at the same time, reads or writes another temporary.
    #[error("step {step} ({node}) writes temporary {written} over temporary {other}, not in place")]
    Clash {
        /// Number of the step.
        step: usize,
        /// Name of the call's node.
        node: String,
        /// What is written.
        written: usize,
        /// What is read or written at the same time.
        other: usize,
    },
}

/// An argument in the arena.
struct Use {
    argument: usize,
    temporary: usize,
    bytes: Range<usize>,
    access: Access,
}

/// Checks a plan for a program that [`Program::verify`] accepts without it.
pub fn check(program: &Program, plan: &MemoryPlan) -> Result<(), CheckError> {
    if plan.offsets.len() != program.temporaries.len() {
        let (got, expected) = (plan.offsets.len(), program.temporaries.len());
        return Err(CheckError::Shape(format!("{got} offsets for {expected} temporaries")));
    }
    for (temporary, (&offset, &size)) in plan.offsets.iter().zip(&program.temporaries).enumerate() {
        if offset % ALIGNMENT != 0 || offset.checked_add(size).is_none_or(|end| end > plan.bytes) {
            return Err(CheckError::Place { temporary, offset, bytes: plan.bytes });
        }
    }
    let mut owners = Owners::default();
    for (number, step) in program.steps.iter().enumerate() {
        let mut all: Vec<(usize, &Call, Use)> = Vec::new();
        for (part, call) in
            step.parts.iter().enumerate().flat_map(|(p, calls)| calls.iter().map(move |c| (p, c)))
        {
            let uses = uses(program, plan, number, call)?;
            follow(program, &mut owners, number, call, &uses)?;
            all.extend(uses.into_iter().map(|u| (part, call, u)));
        }
        if step.parts.len() > 1 {
            concurrent(number, all)?;
        }
    }
    Ok(())
}

/// Checks one call against what was written before it, and notes what it writes.
fn follow(
    program: &Program,
    owners: &mut Owners,
    step: usize,
    call: &Call,
    uses: &[Use],
) -> Result<(), CheckError> {
    let of = |access| uses.iter().filter(move |u| u.access == access);
    for read in of(Access::Read) {
        let mut other = owners.other_than(read.temporary, &read.bytes);
        if other.is_some() {
            // What lies between the columns that are read may not have been written yet.
            let touched = program.kernels[call.kernel].touched(BufferId(read.argument));
            let start = read.bytes.start;
            let mut touched = touched.into_iter().map(|range| range.start + start..range.end + start);
            other = touched.find_map(|range| owners.other_than(read.temporary, &range));
        }
        if let Some((byte, owner)) = other {
            let (node, temporary) = (call.node.clone(), read.temporary);
            return Err(CheckError::Overwritten { step, node, temporary, byte, owner });
        }
    }
    for written in of(Access::Write) {
        let clash = uses.iter().find(|other| {
            let in_place = call.in_place.contains(&(other.argument, written.argument))
                && other.bytes.start == written.bytes.start;
            other.temporary != written.temporary && meet(&other.bytes, &written.bytes) && !in_place
        });
        if let Some(other) = clash {
            let (written, other) = (written.temporary, other.temporary);
            return Err(CheckError::Clash { step, node: call.node.clone(), written, other });
        }
        owners.write(written.temporary, written.bytes.clone());
    }
    Ok(())
}

/// Checks the uses of all parts of a step against each other.
fn concurrent(step: usize, mut all: Vec<(usize, &Call, Use)>) -> Result<(), CheckError> {
    all.sort_unstable_by_key(|(_, _, u)| u.bytes.start);
    for (number, (part, call, one)) in all.iter().enumerate() {
        for (other_part, _, other) in
            all[number + 1..].iter().take_while(|(.., o)| o.bytes.start < one.bytes.end)
        {
            let writes = one.access == Access::Write || other.access == Access::Write;
            if part != other_part && one.temporary != other.temporary && writes {
                let (written, other) = match one.access {
                    Access::Write => (one.temporary, other.temporary),
                    Access::Read => (other.temporary, one.temporary),
                };
                return Err(CheckError::Clash { step, node: call.node.clone(), written, other });
            }
        }
    }
    Ok(())
}

fn meet(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The arguments of a call that are in the arena and not empty.
fn uses(program: &Program, plan: &MemoryPlan, step: usize, call: &Call) -> Result<Vec<Use>, CheckError> {
    let shape = |text: &str| CheckError::Shape(format!("step {step} ({}): {text}", call.node));
    let kernel = program.kernels.get(call.kernel).ok_or_else(|| shape("there is no such kernel"))?;
    let mut uses = Vec::new();
    for (argument, (place, buffer)) in call.arguments.iter().zip(&kernel.buffers).enumerate() {
        let Storage::Temporary(temporary) = place.storage else { continue };
        let base = plan.offsets.get(temporary).ok_or_else(|| shape("there is no such temporary"))?;
        let start = base.checked_add(place.offset);
        let end = start.and_then(|start| start.checked_add(buffer.bytes()));
        let (Some(start), Some(end)) = (start, end) else { return Err(shape("addresses overflow")) };
        if start < end {
            uses.push(Use { argument, temporary, bytes: start..end, access: buffer.access });
        }
    }
    Ok(uses)
}

/// Which temporary was last written to each byte: disjoint ranges by their start.
#[derive(Default)]
struct Owners(BTreeMap<usize, (usize, usize)>);

impl Owners {
    /// A byte of the range that belongs to another temporary, and that temporary. Bytes never written are nobody's: to
    /// read them may be wrong, but is no matter of the plan.
    fn other_than(&self, temporary: usize, range: &Range<usize>) -> Option<(usize, usize)> {
        let inside = self.0.range(..range.end).rev().take_while(|(_, (end, _))| *end > range.start);
        let mut others = inside.filter(|(_, (_, owner))| *owner != temporary);
        others.next().map(|(&start, &(_, owner))| (start.max(range.start), owner))
    }

    /// The range is the temporary's from now on.
    fn write(&mut self, temporary: usize, range: Range<usize>) {
        let touched: Vec<(usize, (usize, usize))> = self
            .0
            .range(..range.end)
            .rev()
            .take_while(|(_, (end, _))| *end > range.start)
            .map(|(&start, &piece)| (start, piece))
            .collect();
        for (start, (end, owner)) in touched {
            self.0.remove(&start);
            if start < range.start {
                self.0.insert(start, (range.start, owner));
            }
            if end > range.end {
                self.0.insert(range.end, (end, owner));
            }
        }
        self.0.insert(range.start, (range.end, temporary));
    }
}
