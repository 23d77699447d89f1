//! Branches and loops: programs of regions, put into the program around them.
//!
//! A region is lowered as a network of its own. Its steps then follow those of the program around it: what it reads and writes
//! as its inputs and outputs is the node's operands and results there, a [`Control`] says when they run. A loop keeps what it
//! carries in the memory of its results; slices of tensors are arguments that move with the iteration, so they cost nothing.

use avocet_ir::kernel::{Access, Element, Kernel, KernelBuilder};
use avocet_ir::op::{Loop, Op, Region};
use avocet_ir::program::{
    Argument, Call, Control, Dim, Port, Program, ProgramError, Signature, Sizes, Step, Storage,
};
use avocet_ir::schedule::{Schedule, Schedules, View};
use avocet_ir::{Graph, NodeId, TensorType, Value};

use crate::LowerError;
use crate::lower::{COPY, Lowering, copy, lower};

/// Lowers a node that holds regions.
pub(crate) fn node(
    lowering: &mut Lowering,
    graph: &Graph,
    id: NodeId,
    schedules: &Schedules,
) -> Result<(), LowerError> {
    let node = graph.node(id);
    let missing = || LowerError::Unscheduled(node.name.clone());
    let inner = schedules.regions.get(&id).ok_or_else(missing)?;
    let operands: Vec<Argument> =
        graph.inputs(id).into_iter().map(|value| lowering.value(graph, value)).collect();
    let mut results: Vec<Argument> =
        (0..node.outputs.len()).map(|port| lowering.value(graph, Value { node: id, port })).collect();
    let lowered = |region: &Region, number: usize| -> Result<Program, LowerError> {
        lower(region.graph(), inner.get(number).ok_or_else(missing)?)
    };
    match &node.op {
        Op::If { then, otherwise } => {
            let mut branches = [lowered(then, 0)?, lowered(otherwise, 1)?];
            let mut taken: Vec<usize> = Vec::new();
            for (port, result) in results.iter_mut().enumerate() {
                let Storage::Temporary(unused) = result.storage else { continue };
                let free = |input: usize| {
                    let whole = is_whole(operands[input + 1]) && !taken.contains(&input);
                    whole && is_used_up(graph, id, input + 1, schedules)
                };
                if let Some(input) = share(&mut branches, port, free) {
                    taken.push(input);
                    lowering.program.temporaries[unused] = 0;
                    *result = operands[input + 1];
                    lowering.place(Value { node: id, port }, *result);
                }
            }
            let mut context = Context { lowering, name: &node.name, scalar: schedules.scalar };
            context.branch(&branches, &operands, &results);
            Ok(())
        }
        Op::Loop(repeated) => {
            let mut context = Context { lowering, name: &node.name, scalar: schedules.scalar };
            context.repeat(repeated, &lowered(&repeated.body, 0)?, &operands, (&node.outputs, &results))
        }
        op => Err(LowerError::Unsupported { name: node.name.clone(), what: op.name().into() }),
    }
}

fn is_whole(argument: Argument) -> bool {
    matches!(argument.storage, Storage::Temporary(_)) && argument.offset == 0
}

/// Whether a node is the last to use the memory of one of its inputs: nothing else reads it, under whatever shape or name.
fn is_used_up(graph: &Graph, id: NodeId, input: usize, schedules: &Schedules) -> bool {
    let value = graph.inputs(id)[input];
    let source = graph.node(value.node);
    let computed = match schedules.nodes.get(&value.node) {
        Some(schedule) => *schedule != Schedule::Alias,
        None => !source.op.regions().is_empty(),
    };
    let is_view = |(node, view): (&NodeId, &View)| *node == value.node || view.of == value.node;
    computed
        && graph.only_user(value) == Some((id, input))
        && !schedules.views.iter().any(is_view)
        && schedules.chain(value.node).is_none()
}

/// Lets a result of a choice be in the memory of an input that one branch gives back as it is, if there is one that is free
/// for it and the other branch allows it. What is gained: nothing is copied where nothing is computed.
fn share(branches: &mut [Program; 2], port: usize, free: impl Fn(usize) -> bool) -> Option<usize> {
    for (this, other) in [(0, 1), (1, 0)] {
        let Some((step, input)) = passed_on(&branches[this], port) else { continue };
        if free(input) && may_share(&branches[other], input, port) {
            branches[this].steps.remove(step);
            if let Some((step, again)) = passed_on(&branches[other], port)
                && again == input
            {
                branches[other].steps.remove(step);
            }
            return Some(input);
        }
    }
    None
}

/// The step that copies an input to a result, and the input. Only in a program without branches and loops, where a step can
/// go without more ado.
fn passed_on(program: &Program, port: usize) -> Option<(usize, usize)> {
    if !program.controls.is_empty() {
        return None;
    }
    let writes = |step: &Step| step.calls().any(|call| uses(call, Storage::Output(port)));
    let mut steps = program.steps.iter().enumerate().filter(|(_, step)| writes(step));
    let (Some((number, step)), None) = (steps.next(), steps.next()) else { return None };
    let mut calls = step.calls();
    let (Some(call), None) = (calls.next(), calls.next()) else { return None };
    let is_copy = program.kernels[call.kernel].name.rsplit_once('_').is_some_and(|(name, _)| name == COPY);
    match call.arguments[..] {
        [from, to] if is_copy && (from.offset, to.offset) == (0, 0) => match from.storage {
            Storage::Input(input) => Some((number, input)),
            _ => None,
        },
        _ => None,
    }
}

fn uses(call: &Call, storage: Storage) -> bool {
    call.arguments.iter().any(|argument| argument.storage == storage)
}

/// Whether an input and a result of a program can be one memory: all reading is before all writing, but for calls that work
/// in place.
fn may_share(program: &Program, input: usize, output: usize) -> bool {
    if reads_before_writing(program, input, output)
        || passed_on(program, output).is_some_and(|(_, i)| i == input)
    {
        return true;
    }
    let [read, write] = [Storage::Input(input), Storage::Output(output)];
    let touches = |step: &Step, storage| step.calls().any(|call| uses(call, storage));
    let steps = || program.steps.iter().enumerate();
    let last_read = steps().filter(|(_, step)| touches(step, read)).map(|(number, _)| number).max();
    let first_written = steps().filter(|(_, step)| touches(step, write)).map(|(number, _)| number).min();
    let (Some(step), true) = (last_read, last_read == first_written) else { return false };
    let in_place = |call: &Call| {
        let places = |storage: Storage| {
            let arguments = call.arguments.iter().enumerate();
            arguments.filter(|(_, a)| a.storage == storage).map(|(i, a)| (i, a.offset)).collect::<Vec<_>>()
        };
        match (&places(read)[..], &places(write)[..]) {
            ([], []) => true,
            (&[(from, start)], &[(to, place)]) => start == place && call.in_place.contains(&(from, to)),
            _ => false,
        }
    };
    program.controls.is_empty() && program.steps[step].calls().all(in_place)
}

/// Joins the programs of all cases to one that the sizes at the call choose from. Programs are of one image where a dim is
/// the batch; they come in the order of the cases, one at a time, so that no two need be there at once. `batched` says which
/// inputs the batch concerns.
pub fn join_cases(
    (dims, batch): (Vec<Dim>, Option<usize>),
    batched: Vec<bool>,
    scalar: bool,
    cases: impl Iterator<Item = Result<Program, LowerError>>,
) -> Result<Program, LowerError> {
    let mut lowering = Lowering::empty("", Vec::new(), Vec::new());
    let most = batch.map_or(1, |batch| dims[batch].last);
    let expected = Sizes::count(&dims, batch);
    let mut sizes = Sizes { dims, batch, batched, cases: Vec::new() };
    let mut context = Context { lowering: &mut lowering, name: "", scalar };
    let mut ranges = Vec::new();
    let mut ports = [Vec::new(), Vec::new()];
    for program in cases {
        let program = program?;
        let moves = |number: usize, out: bool| if out { batch.is_some() } else { sizes.is_batched(number) };
        let all = |ports: &[Port], out: bool| -> Vec<Argument> {
            let argument = |(number, port): (usize, &Port)| {
                let storage = if out { Storage::Output(number) } else { Storage::Input(number) };
                let stride = if moves(number, out) { port.ty.bytes() as i64 } else { 0 };
                Argument { stride, ..storage.into() }
            };
            ports.iter().enumerate().map(argument).collect()
        };
        let (inputs, outputs) = (all(&program.inputs, false), all(&program.outputs, true));
        let (place, start) = (context.reserve(), context.steps());
        context.inline(&program, &inputs, &outputs);
        let steps = start..context.steps();
        ranges.push(steps.clone());
        let control = batch.map(|batch| {
            let limit = Some(Storage::Size(batch).into());
            Control::Loop { steps: steps.clone(), count: most, limit, condition: None }
        });
        context.settle(place, control.filter(|_| !steps.is_empty()));
        let types = |ports: &[Port]| ports.iter().map(|port| port.ty.clone()).collect();
        sizes.cases.push(Signature { inputs: types(&program.inputs), outputs: types(&program.outputs) });
        context.lowering.program.name.clone_from(&program.name);
        ports = [program.inputs, program.outputs];
    }
    if Some(ranges.len()) != expected || ranges.iter().any(|range| range.is_empty()) {
        let problem = format!("{} cases instead of {expected:?}, or empty ones", ranges.len());
        return Err(ProgramError::Control(problem).into());
    }
    context.settle(0, Some(Control::Switch { cases: ranges }));
    let differ = || ProgramError::Control("the ports of cases differ".into());
    lowering.program.inputs = sizes.largest(&ports[0], false).ok_or_else(differ)?;
    lowering.program.outputs = sizes.largest(&ports[1], true).ok_or_else(differ)?;
    lowering.program.sizes = Some(sizes);
    lowering.program.verify()?;
    Ok(lowering.program)
}

/// The program around a region, and the node that holds it.
struct Context<'a> {
    lowering: &'a mut Lowering,
    name: &'a str,
    scalar: bool,
}

impl Context<'_> {
    fn branch(&mut self, [then, otherwise]: &[Program; 2], operands: &[Argument], results: &[Argument]) {
        let place = self.reserve();
        let start = self.steps();
        self.inline(then, &operands[1..], results);
        let middle = self.steps();
        self.inline(otherwise, &operands[1..], results);
        let end = self.steps();
        let control = Control::Branch { condition: operands[0], then: start..middle, otherwise: middle..end };
        self.settle(place, (start < end).then_some(control));
    }

    fn repeat(
        &mut self,
        repeated: &Loop,
        body: &Program,
        operands: &[Argument],
        (types, results): (&[TensorType], &[Argument]),
    ) -> Result<(), LowerError> {
        let count = repeated.count;
        let (controls, rest) = operands.split_at(repeated.controls());
        let (first, rest) = rest.split_at(repeated.carried);
        let (scanned, captured) = rest.split_at(repeated.scanned.len());
        let (carried, stacked) = results.split_at(repeated.carried);
        for ((from, to), ty) in first.iter().zip(carried).zip(types) {
            self.copy(*from, *to, ty);
        }
        let ends_early = repeated.limited || repeated.conditional;
        for (to, ty) in stacked.iter().zip(&types[repeated.carried..]).filter(|_| ends_early) {
            self.call(zeros(ty, self.scalar), vec![*to]);
        }
        let flag = TensorType::new(avocet_ir::DType::Bool, avocet_ir::Shape::scalar());
        let condition = repeated.conditional.then(|| {
            let condition = Argument::from(self.lowering.temporary(1));
            self.copy(controls[repeated.controls() - 1], condition, &flag);
            condition
        });
        if count == 0 {
            return Ok(());
        }
        let row = |ty: &TensorType| ty.bytes() / count;
        let moving = |argument: &Argument, row: usize, backwards: bool| match backwards {
            false => Argument { stride: row as i64, ..*argument },
            true => Argument { stride: -(row as i64), ..argument.after((count - 1) * row) },
        };
        let mut inputs = carried.to_vec();
        let slices = body.inputs[repeated.carried..].iter();
        for ((argument, &backwards), slice) in scanned.iter().zip(&repeated.scanned).zip(slices) {
            inputs.push(moving(argument, slice.ty.bytes(), backwards));
        }
        inputs.extend(captured);

        let flags = usize::from(repeated.conditional);
        let mut outputs: Vec<Argument> = Vec::new();
        // What is carried on in memory of its own, as the body may still read what was before.
        let mut apart: Vec<(Argument, Argument, &TensorType)> = Vec::new();
        if let Some(condition) = condition {
            let next = Argument::from(self.lowering.temporary(1));
            outputs.push(next);
            apart.push((next, condition, &flag));
        }
        for (number, (to, ty)) in carried.iter().zip(types).enumerate() {
            if reads_before_writing(body, number, flags + number) {
                outputs.push(*to);
            } else {
                let next = Argument::from(self.lowering.temporary(ty.bytes()));
                outputs.push(next);
                apart.push((next, *to, ty));
            }
        }
        let stacked_types = &types[repeated.carried..];
        for ((to, &backwards), ty) in stacked.iter().zip(&repeated.stacked).zip(stacked_types) {
            outputs.push(moving(to, row(ty), backwards));
        }

        let place = self.reserve();
        let start = self.steps();
        self.inline(body, &inputs, &outputs);
        for (from, to, ty) in apart {
            self.copy(from, to, ty);
        }
        let steps = start..self.steps();
        let limit = repeated.limited.then(|| controls[0]);
        let control = Control::Loop { steps: steps.clone(), count, limit, condition };
        self.settle(place, (!steps.is_empty()).then_some(control));
        Ok(())
    }

    fn steps(&self) -> usize {
        self.lowering.program.steps.len()
    }

    /// Makes room for a control, which comes before those within it.
    fn reserve(&mut self) -> usize {
        self.lowering.program.controls.len()
    }

    /// Puts a control where room was made.
    fn settle(&mut self, place: usize, control: Option<Control>) {
        if let Some(control) = control {
            self.lowering.program.controls.insert(place, control);
        }
    }

    fn copy(&mut self, from: Argument, to: Argument, ty: &TensorType) {
        if ty.shape.elements() > 0 && from != to {
            self.call(copy(ty, self.scalar), vec![from, to]);
        }
    }

    fn call(&mut self, kernel: Kernel, arguments: Vec<Argument>) {
        if kernel.buffers.iter().any(|buffer| buffer.length == 0) {
            return;
        }
        let kernel = self.lowering.kernel(kernel);
        let call = Call { kernel, arguments, in_place: Vec::new(), node: self.name.into() };
        self.lowering.program.steps.push(Step::sequential(vec![call]));
    }

    /// Appends a region's steps, with arguments for its inputs and outputs.
    fn inline(&mut self, region: &Program, inputs: &[Argument], outputs: &[Argument]) {
        let temporaries = self.lowering.program.temporaries.len();
        self.lowering.program.temporaries.extend(&region.temporaries);
        let constants: Vec<Storage> =
            region.constants.iter().map(|data| self.lowering.constant(data.clone())).collect();
        let kernels: Vec<usize> =
            region.kernels.iter().map(|kernel| self.lowering.kernel(plainly_named(kernel))).collect();
        // In a loop of the region's own, an argument can't move with the loop around it: copies stand still.
        let (mut inputs, mut outputs) = (inputs.to_vec(), outputs.to_vec());
        let mut copied: Vec<(Argument, Argument, &TensorType)> = Vec::new();
        for (number, (input, port)) in inputs.iter_mut().zip(&region.inputs).enumerate() {
            if input.stride != 0 && is_used_in_loops(region, Storage::Input(number)) {
                let still = Argument::from(self.lowering.temporary(port.ty.bytes()));
                self.copy(*input, still, &port.ty);
                *input = still;
            }
        }
        for (number, (output, port)) in outputs.iter_mut().zip(&region.outputs).enumerate() {
            if output.stride != 0 && is_used_in_loops(region, Storage::Output(number)) {
                let still = Argument::from(self.lowering.temporary(port.ty.bytes()));
                copied.push((still, *output, &port.ty));
                *output = still;
            }
        }
        let place = |argument: Argument| {
            let base = match argument.storage {
                Storage::Input(i) => inputs[i],
                Storage::Output(i) => outputs[i],
                Storage::Temporary(i) => Storage::Temporary(temporaries + i).into(),
                Storage::Constant(i) => constants[i].into(),
                Storage::Size(i) => Storage::Size(i).into(),
            };
            Argument { stride: base.stride + argument.stride, ..base.after(argument.offset) }
        };
        let first = self.steps();
        for step in &region.steps {
            let mut step = step.clone();
            for call in step.parts.iter_mut().flatten() {
                call.kernel = kernels[call.kernel];
                call.arguments.iter_mut().for_each(|argument| *argument = place(*argument));
            }
            self.lowering.program.steps.push(step);
        }
        let controls = region.controls.iter().map(|control| control.moved(first, place));
        self.lowering.program.controls.extend(controls);
        for (from, to, ty) in copied {
            self.copy(from, to, ty);
        }
    }
}

/// Whether a step of a loop, or a loop itself, uses a storage.
fn is_used_in_loops(program: &Program, storage: Storage) -> bool {
    let by_steps = program.steps.iter().enumerate().any(|(number, step)| {
        program.iterations(number).is_some()
            && step.calls().flat_map(|call| &call.arguments).any(|argument| argument.storage == storage)
    });
    let by_controls = program.controls.iter().any(|control| {
        let in_a_loop = program.iterations(control.steps().start).is_some();
        in_a_loop && control.arguments().iter().any(|argument| argument.storage == storage)
    });
    by_steps || by_controls
}

/// Whether all that a program reads of an input is before all that it writes of an output, so that they can be one memory.
/// Within loops there is no before.
fn reads_before_writing(program: &Program, input: usize, output: usize) -> bool {
    let uses = |storage: Storage| {
        let steps = program.steps.iter().enumerate().filter(move |(_, step)| {
            step.calls().flat_map(|call| &call.arguments).any(|argument| argument.storage == storage)
        });
        steps.map(|(number, _)| number)
    };
    let read = uses(Storage::Input(input)).max();
    let controls = program.controls.iter().filter(|control| {
        control.arguments().iter().any(|argument| argument.storage == Storage::Input(input))
    });
    let read = read.into_iter().chain(controls.map(|control| control.steps().end)).max();
    let written = uses(Storage::Output(output)).min();
    let (Some(read), Some(written)) = (read, written) else { return read.is_none() };
    let once = program.iterations(read.min(program.steps.len() - 1)).is_none();
    read < written && once && program.iterations(written).is_none()
}

/// The kernel by the name that its generator gave it, without the number that makes names different in a program.
fn plainly_named(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    if let Some((plain, number)) = kernel.name.rsplit_once('_')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        kernel.name = plain.into();
    }
    kernel
}

/// A kernel that fills a tensor with zeros.
fn zeros(ty: &TensorType, scalar: bool) -> Kernel {
    let element = Element::from(ty.dtype);
    let mut b = KernelBuilder::new("zeros");
    let y = b.buffer("y", element, ty.shape.elements(), Access::Write);
    let lanes = if scalar || element != Element::F32 { 1 } else { 4 };
    b.blocks(ty.shape.elements(), lanes, |b, index, valid| {
        let zero = match element {
            Element::F32 => b.f32(lanes, 0.0),
            Element::I32 => b.i32(1, 0),
            Element::I64 => b.i64(0),
            narrow => {
                let zero = b.i32(1, 0);
                b.convert(narrow, zero)
            }
        };
        b.store_partial(y, index, zero, valid);
    });
    b.finish()
}
