//! The verifier of programs: kernels, arguments, and that the parts of a step need nothing of each other.

use std::collections::BTreeMap;
use std::ops::Range;

use super::footprint::meet;
use super::{ALIGNMENT, Call, Program, ProgramError, Step, Storage};
use crate::kernel::{Access, BufferId};

/// One argument of a call in a step of several parts.
struct Use<'a> {
    part: usize,
    /// Bytes of the storage between the first and the last that the kernel's buffer covers.
    bytes: Range<usize>,
    write: bool,
    call: &'a Call,
    argument: usize,
}

impl Program {
    /// Size in bytes of a storage.
    fn storage_bytes(&self, storage: Storage) -> Option<usize> {
        match storage {
            Storage::Input(i) => self.inputs.get(i).map(|p| p.ty.bytes()),
            Storage::Output(i) => self.outputs.get(i).map(|p| p.ty.bytes()),
            Storage::Temporary(i) => self.temporaries.get(i).copied(),
            Storage::Constant(i) => self.constants.get(i).map(|c| c.len() * c.dtype().bytes()),
        }
    }

    /// Checks kernels, arguments and, when there is one, the plan's ranges. That temporaries which live at the same time
    /// do not overlap is checked by the planner's checker.
    pub fn verify(&self) -> Result<(), ProgramError> {
        for kernel in &self.kernels {
            kernel.verify()?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            self.verify_step(step).map_err(|(call, problem)| ProgramError::Call {
                step: number,
                node: call.node.clone(),
                problem,
            })?;
        }
        let Some(plan) = &self.plan else { return Ok(()) };
        if plan.offsets.len() != self.temporaries.len() {
            let (got, expected) = (plan.offsets.len(), self.temporaries.len());
            return Err(ProgramError::Plan(format!("{got} offsets for {expected} temporaries")));
        }
        for (i, (&offset, &bytes)) in plan.offsets.iter().zip(&self.temporaries).enumerate() {
            let end = offset.checked_add(bytes);
            if offset % ALIGNMENT != 0 || end.is_none_or(|end| end > plan.bytes) {
                let text = format!("temporary {i} of {bytes} bytes at {offset} in {} bytes", plan.bytes);
                return Err(ProgramError::Plan(text));
            }
        }
        Ok(())
    }

    fn verify_step<'a>(&self, step: &'a Step) -> Result<(), (&'a Call, String)> {
        for call in step.calls() {
            self.verify_call(call).map_err(|problem| (call, problem))?;
        }
        if step.parts.len() > 1 { self.verify_independent(step) } else { Ok(()) }
    }

    /// Checks that no part writes what another reads or writes. Temporaries count as apart from each other; that they are
    /// is for the checker of memory plans to say.
    fn verify_independent<'a>(&self, step: &'a Step) -> Result<(), (&'a Call, String)> {
        let mut uses: BTreeMap<Storage, Vec<Use<'a>>> = BTreeMap::new();
        for (part, calls) in step.parts.iter().enumerate() {
            for call in calls {
                for (argument, place) in call.arguments.iter().enumerate() {
                    let buffer = &self.kernels[call.kernel].buffers[argument];
                    let (bytes, write) =
                        (place.offset..place.offset + buffer.bytes(), buffer.access == Access::Write);
                    uses.entry(place.storage).or_default().push(Use { part, bytes, write, call, argument });
                }
            }
        }
        let mut footprints: BTreeMap<(usize, usize), Vec<Range<usize>>> = BTreeMap::new();
        for (storage, uses) in &mut uses {
            let parts_differ = uses.iter().any(|u| u.part != uses[0].part);
            if !parts_differ || !uses.iter().any(|u| u.write) {
                continue;
            }
            uses.sort_unstable_by_key(|u| u.bytes.start);
            for (number, one) in uses.iter().enumerate() {
                for other in uses[number + 1..].iter().take_while(|other| other.bytes.start < one.bytes.end) {
                    if one.part == other.part || !(one.write || other.write) {
                        continue;
                    }
                    // The buffers lie across each other, as columns of a matrix do; do the bytes that are touched?
                    for u in [one, other] {
                        let key = (u.call.kernel, u.argument);
                        let kernel = &self.kernels[u.call.kernel];
                        footprints.entry(key).or_insert_with(|| kernel.touched(BufferId(u.argument)));
                    }
                    let touched =
                        |u: &Use<'_>| (&footprints[&(u.call.kernel, u.argument)][..], u.bytes.start);
                    if meet(touched(one), touched(other)) {
                        let (a, b) = (one.part, other.part);
                        return Err((
                            one.call,
                            format!("parts {a} and {b} touch the same bytes of {storage:?}"),
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn verify_call(&self, call: &Call) -> Result<(), String> {
        let kernel = self.kernels.get(call.kernel).ok_or("there is no such kernel")?;
        if kernel.buffers.len() != call.arguments.len() {
            let (got, expected) = (call.arguments.len(), kernel.buffers.len());
            return Err(format!("{got} arguments for {expected} buffers of {}", kernel.name));
        }
        for (argument, buffer) in call.arguments.iter().zip(&kernel.buffers) {
            let place = format!("buffer {} of {}", buffer.name, kernel.name);
            let bytes = self.storage_bytes(argument.storage).ok_or_else(|| format!("{place}: no storage"))?;
            if argument.offset.checked_add(buffer.bytes()).is_none_or(|end| end > bytes) {
                let (offset, size) = (argument.offset, buffer.bytes());
                return Err(format!("{place}: {size} bytes at {offset} of {bytes}"));
            }
            if argument.offset % buffer.element.bytes() != 0 {
                return Err(format!("{place}: offset {} is not aligned", argument.offset));
            }
            let read_only = matches!(argument.storage, Storage::Input(_) | Storage::Constant(_));
            if read_only && buffer.access == Access::Write {
                return Err(format!("{place}: a store to {:?}", argument.storage));
            }
        }
        for (number, buffer) in kernel.buffers.iter().enumerate().filter(|(_, b)| b.access == Access::Write) {
            let written = call.arguments[number];
            let clash =
                call.arguments.iter().zip(&kernel.buffers).enumerate().any(|(other, (argument, b))| {
                    let apart = argument.offset + b.bytes() <= written.offset
                        || written.offset + buffer.bytes() <= argument.offset;
                    let in_place =
                        call.in_place.contains(&(other, number)) && argument.offset == written.offset;
                    // Buffers may lie across each other, as columns of a matrix do, if the bytes that are touched don't.
                    let meet = || {
                        let touched = |number: usize| kernel.touched(BufferId(number));
                        let (one, two) = (touched(number), touched(other));
                        meet((&one, written.offset), (&two, argument.offset))
                    };
                    other != number && argument.storage == written.storage && !apart && !in_place && meet()
                });
            if clash {
                return Err(format!(
                    "buffer {} of {} overlaps another, not in place",
                    buffer.name, kernel.name
                ));
            }
        }
        for &(read, write) in &call.in_place {
            let access = |i: usize| kernel.buffers.get(i).map(|b| b.access);
            if access(read) != Some(Access::Read) || access(write) != Some(Access::Write) {
                return Err(format!("({read}, {write}) is not a read and a written argument"));
            }
        }
        Ok(())
    }
}
