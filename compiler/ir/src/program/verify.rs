//! The verifier of programs: kernels, arguments, and that the parts of a step need nothing of each other.

use std::collections::BTreeMap;
use std::ops::Range;

use super::footprint::meet;
use super::{ALIGNMENT, Argument, Call, Control, Program, ProgramError, Step, Storage};
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
            Storage::Size(i) => self.sizes.as_ref()?.dims.get(i).map(|_| 8),
        }
    }

    /// Checks kernels, arguments and, when there is one, the plan's ranges. That temporaries which live at the same time
    /// do not overlap is checked by the planner's checker.
    pub fn verify(&self) -> Result<(), ProgramError> {
        for kernel in &self.kernels {
            kernel.verify()?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            self.verify_step(number, step).map_err(|(call, problem)| ProgramError::Call {
                step: number,
                node: call.node.clone(),
                problem,
            })?;
        }
        self.verify_controls().map_err(ProgramError::Control)?;
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

    /// Checks that controls nest, and that what they read is there.
    fn verify_controls(&self) -> Result<(), String> {
        if self.items().is_none() {
            return Err(format!("controls do not nest: {:?}", self.controls));
        }
        for (number, control) in self.controls.iter().enumerate() {
            let (bytes, inner) = match control {
                Control::Branch { .. } => (vec![1], None),
                Control::Switch { cases } => {
                    let expected = self.sizes.as_ref().map(|sizes| sizes.cases.len());
                    let whole = control.steps() == (0..self.steps.len()) && number == 0;
                    if !whole || expected != Some(cases.len()) {
                        return Err(format!("{} cases by the sizes {:?}", cases.len(), self.sizes));
                    }
                    (Vec::new(), None)
                }
                Control::Loop { limit, condition, .. } => {
                    let bytes = limit.iter().map(|_| 8).chain(condition.iter().map(|_| 1));
                    (bytes.collect(), Some(control.steps()))
                }
            };
            // Iterations of the loop around it: of those before it in the list, the last that covers it.
            let around = self.controls[..number].iter().rev().find_map(|other| match other {
                Control::Loop { steps, count, .. } if steps.contains(&control.steps().start) => Some(*count),
                _ => None,
            });
            for (argument, bytes) in control.arguments().into_iter().zip(bytes) {
                self.verify_place(argument, bytes, bytes, around.unwrap_or(1))?;
                // The condition of a loop is read within its own iterations.
                if argument.stride != 0 && (around.is_none() || inner.is_some()) {
                    return Err(format!("{argument:?} moves where nothing is repeated"));
                }
            }
        }
        Ok(())
    }

    /// Checks that a buffer of so many bytes, of elements of so many, lies within its storage in each of so many iterations.
    fn verify_place(
        &self,
        argument: Argument,
        size: usize,
        element: usize,
        iterations: usize,
    ) -> Result<(), String> {
        let bytes = self.storage_bytes(argument.storage).ok_or("no storage")?;
        let travel = argument.stride.checked_mul(iterations as i64 - 1);
        let last = travel.and_then(|travel| (argument.offset as i64).checked_add(travel));
        let places = [Some(argument.offset), last.and_then(|last| usize::try_from(last).ok())];
        for place in places {
            if place.and_then(|place| place.checked_add(size)).is_none_or(|end| end > bytes) {
                let Argument { offset, stride, .. } = argument;
                let moving = if stride == 0 { String::new() } else { format!(", moving by {stride}") };
                return Err(format!("{size} bytes at {offset}{moving} of {bytes}"));
            }
        }
        if !argument.offset.is_multiple_of(element) || argument.stride % element as i64 != 0 {
            return Err(format!("offset {} is not aligned", argument.offset));
        }
        Ok(())
    }

    fn verify_step<'a>(&self, number: usize, step: &'a Step) -> Result<(), (&'a Call, String)> {
        let iterations = self.iterations(number);
        for call in step.calls() {
            self.verify_call(call, iterations).map_err(|problem| (call, problem))?;
            self.verify_strides(step, call).map_err(|problem| (call, problem))?;
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

    /// Checks that what a call writes moves as all else that the step does with the same storage, so that what is apart in one
    /// iteration is apart in all.
    fn verify_strides(&self, step: &Step, call: &Call) -> Result<(), String> {
        for (argument, buffer) in call.arguments.iter().zip(&self.kernels[call.kernel].buffers) {
            let differs =
                |other: &&Argument| other.storage == argument.storage && other.stride != argument.stride;
            let other = step.calls().flat_map(|call| &call.arguments).find(differs);
            if let (Access::Write, Some(other)) = (buffer.access, other) {
                return Err(format!("{argument:?} is written and moves otherwise than {other:?}"));
            }
        }
        Ok(())
    }

    fn verify_call(&self, call: &Call, iterations: Option<usize>) -> Result<(), String> {
        let kernel = self.kernels.get(call.kernel).ok_or("there is no such kernel")?;
        if kernel.buffers.len() != call.arguments.len() {
            let (got, expected) = (call.arguments.len(), kernel.buffers.len());
            return Err(format!("{got} arguments for {expected} buffers of {}", kernel.name));
        }
        for (argument, buffer) in call.arguments.iter().zip(&kernel.buffers) {
            let place = format!("buffer {} of {}", buffer.name, kernel.name);
            self.verify_place(*argument, buffer.bytes(), buffer.element.bytes(), iterations.unwrap_or(1))
                .map_err(|problem| format!("{place}: {problem}"))?;
            if argument.stride != 0 && iterations.is_none() {
                return Err(format!("{place}: it moves where nothing is repeated"));
            }
            if matches!(argument.storage, Storage::Size(_)) {
                return Err(format!("{place}: a size that the caller gives"));
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
