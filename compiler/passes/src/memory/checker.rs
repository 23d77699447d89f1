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
use avocet_ir::program::{ALIGNMENT, Argument, Call, Item, MemoryPlan, Program, Storage};
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
    let items = program.items().ok_or_else(|| CheckError::Shape("controls do not nest".into()))?;
    follow_items(program, plan, &mut Owners::default(), &items)
}

/// Follows steps in every way in which they may run.
fn follow_items(
    program: &Program,
    plan: &MemoryPlan,
    owners: &mut Owners,
    items: &[Item<'_>],
) -> Result<(), CheckError> {
    for item in items {
        match item {
            Item::Step(number) => follow_step(program, plan, owners, *number)?,
            Item::Branch(condition, then, otherwise) => {
                read_control(program, plan, owners, condition)?;
                let mut other = owners.clone();
                follow_items(program, plan, owners, then)?;
                follow_items(program, plan, &mut other, otherwise)?;
                owners.join(&other);
            }
            Item::Switch(cases) => {
                // Nothing follows a case.
                for case in cases {
                    follow_items(program, plan, &mut owners.clone(), case)?;
                }
            }
            Item::Loop(_, limit, condition, body) => {
                limit.map_or(Ok(()), |limit| read_control(program, plan, owners, limit))?;
                let before = owners.clone();
                // The second time shows what an iteration finds that the one before has left.
                for _ in 0..2 {
                    condition.map_or(Ok(()), |c| read_control(program, plan, owners, c))?;
                    follow_items(program, plan, owners, body)?;
                }
                if limit.is_some() || condition.is_some() {
                    owners.join(&before);
                }
            }
        }
    }
    Ok(())
}

/// Checks that what a control reads is still there; its first byte stands for all.
fn read_control(
    program: &Program,
    plan: &MemoryPlan,
    owners: &Owners,
    argument: &Argument,
) -> Result<(), CheckError> {
    let Storage::Temporary(temporary) = argument.storage else { return Ok(()) };
    let base = plan.offsets.get(temporary).and_then(|base| base.checked_add(argument.offset));
    let start = base.ok_or_else(|| CheckError::Shape("there is no such temporary".into()))?;
    let end = plan.offsets[temporary] + program.temporaries[temporary];
    let range = start..end.min(start + 1);
    match owners.other_than(temporary, &range) {
        Some((byte, owner)) => {
            let node = "a control".to_string();
            Err(CheckError::Overwritten { step: 0, node, temporary, byte, owner })
        }
        None => Ok(()),
    }
}

fn follow_step(
    program: &Program,
    plan: &MemoryPlan,
    owners: &mut Owners,
    number: usize,
) -> Result<(), CheckError> {
    let step = &program.steps[number];
    let mut all: Vec<(usize, &Call, Use)> = Vec::new();
    for (part, call) in step.parts.iter().enumerate().flat_map(|(p, calls)| calls.iter().map(move |c| (p, c)))
    {
        let uses = uses(program, plan, number, call)?;
        follow(program, owners, number, call, &uses)?;
        all.extend(uses.into_iter().map(|u| (part, call, u)));
    }
    if step.parts.len() > 1 { concurrent(number, all) } else { Ok(()) }
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
        // A buffer that moves stands for all of its places.
        let travel = program.iterations(step).map_or(0, |count| count as i64 - 1).checked_mul(place.stride);
        let first = travel.and_then(|travel| (place.offset as i64).checked_add(travel.min(0)));
        let start = first.and_then(|first| base.checked_add(usize::try_from(first).ok()?));
        let length = travel.and_then(|t| buffer.bytes().checked_add(usize::try_from(t.unsigned_abs()).ok()?));
        let end = start.and_then(|start| start.checked_add(length?));
        let (Some(start), Some(end)) = (start, end) else { return Err(shape("addresses overflow")) };
        if start < end {
            uses.push(Use { argument, temporary, bytes: start..end, access: buffer.access });
        }
    }
    Ok(uses)
}

/// Which temporaries may have been written last to each byte: disjoint ranges by their start.
#[derive(Clone, Default)]
struct Owners(BTreeMap<usize, (usize, Vec<usize>)>);

impl Owners {
    /// A byte of the range that may belong to another temporary, and that temporary. Bytes never written are nobody's: to
    /// read them may be wrong, but is no matter of the plan.
    fn other_than(&self, temporary: usize, range: &Range<usize>) -> Option<(usize, usize)> {
        let inside = self.0.range(..range.end).rev().take_while(|(_, (end, _))| *end > range.start);
        let mut others = inside.filter_map(|(&start, (_, owners))| {
            let other = owners.iter().find(|&&owner| owner != temporary)?;
            Some((start.max(range.start), *other))
        });
        others.next()
    }

    /// The range is the temporary's from now on.
    fn write(&mut self, temporary: usize, range: Range<usize>) {
        self.cut(range.start);
        self.cut(range.end);
        let inside: Vec<usize> = self.0.range(range.clone()).map(|(&start, _)| start).collect();
        inside.iter().for_each(|start| {
            self.0.remove(start);
        });
        if range.start < range.end {
            self.0.insert(range.start, (range.end, vec![temporary]));
        }
    }

    /// Makes no range go on beyond this byte.
    fn cut(&mut self, at: usize) {
        if let Some((_, piece)) = self.0.range_mut(..at).next_back()
            && piece.0 > at
        {
            let rest = (piece.0, piece.1.clone());
            piece.0 = at;
            self.0.insert(at, rest);
        }
    }

    /// Each byte may belong to whoever it may belong to here or there.
    fn join(&mut self, other: &Owners) {
        for (&start, (end, owners)) in &other.0 {
            self.cut(start);
            self.cut(*end);
            let mut at = start;
            let pieces: Vec<(usize, usize)> =
                self.0.range(start..*end).map(|(&start, piece)| (start, piece.0)).collect();
            for (first, last) in pieces {
                if at < first {
                    self.0.insert(at, (first, owners.clone()));
                }
                if let Some((_, known)) = self.0.get_mut(&first) {
                    let new: Vec<usize> = owners.iter().copied().filter(|o| !known.contains(o)).collect();
                    known.extend(new);
                }
                at = last;
            }
            if at < *end {
                self.0.insert(at, (*end, owners.clone()));
            }
        }
    }
}
