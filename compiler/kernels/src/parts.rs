//! From what a generator emits to calls of the program, for a whole node or for its slices as parts of one step.

use std::rc::Rc;

use avocet_ir::op::Op;
use avocet_ir::program::{Argument, Call, Step, Storage};
use avocet_ir::schedule::{Axis, Schedules, Split};
use avocet_ir::{Graph, NodeId};

use crate::emitter::{Emitter, Operand};
use crate::lower::{LowerError, Lowering, generate, problem};
use crate::problem::Problem;
use crate::reduce;
use crate::slice::{self, Slice};

/// Calls in terms of one node or slice, with kernels and constants of the program.
#[derive(Debug)]
pub(crate) struct Lowered {
    calls: Vec<LoweredCall>,
    barriers: Vec<usize>,
    /// Sizes of the scratch memory that the calls need.
    pub(crate) scratch: Vec<usize>,
    /// Numbers of those that parts can't share.
    private: Vec<usize>,
}

#[derive(Debug)]
struct LoweredCall {
    kernel: usize,
    arguments: Vec<(Place, usize)>,
    in_place: Vec<(usize, usize)>,
}

/// Memory of a call that is not bound yet.
#[derive(Clone, Copy, Debug)]
enum Place {
    Input(usize),
    Output,
    Scratch(usize),
    Constant(Storage),
}

impl Lowered {
    /// Generates the code of a problem.
    pub(crate) fn new(lowering: &mut Lowering, problem: &Problem) -> Result<Self, LowerError> {
        let mut emitter = Emitter::default();
        generate(problem, &mut emitter)?;
        let constants: Vec<Storage> = emitter.constants.into_iter().map(|c| lowering.constant(c)).collect();
        let place = |operand| match operand {
            Operand::Input(i) => Place::Input(i),
            Operand::Output => Place::Output,
            Operand::Scratch(i) => Place::Scratch(i),
            Operand::Constant(i) => Place::Constant(constants[i]),
        };
        let calls = emitter.calls.into_iter().map(|call| LoweredCall {
            kernel: lowering.kernel(call.kernel),
            arguments: call.arguments.into_iter().map(|(operand, offset)| (place(operand), offset)).collect(),
            in_place: call.in_place,
        });
        let calls = calls.collect();
        let Emitter { barriers, scratch, private, .. } = emitter;
        Ok(Lowered { calls, barriers, scratch, private })
    }

    /// The calls on memory: `input` gives that of an input when it is needed.
    pub(crate) fn bind(
        &self,
        node: &str,
        mut input: impl FnMut(usize) -> Argument,
        output: Argument,
        scratch: &[Storage],
    ) -> Vec<Call> {
        let mut calls = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let mut bind = |&(place, offset): &(Place, usize)| {
                let base = match place {
                    Place::Input(i) => input(i),
                    Place::Output => output,
                    Place::Scratch(i) => scratch[i].into(),
                    Place::Constant(storage) => storage.into(),
                };
                base.after(offset)
            };
            let arguments = call.arguments.iter().map(&mut bind).collect();
            let (kernel, in_place) = (call.kernel, call.in_place.clone());
            calls.push(Call { kernel, arguments, in_place, node: node.into() });
        }
        calls
    }
}

/// Code of slices of one problem, the same for slices that differ only in where their operands start.
#[derive(Default)]
pub(crate) struct Codes<'a>(Vec<(Slice<'a>, Rc<Lowered>)>);

impl<'a> Codes<'a> {
    pub(crate) fn of(
        &mut self,
        lowering: &mut Lowering,
        slice: &Slice<'a>,
    ) -> Result<Rc<Lowered>, LowerError> {
        if let Some((_, lowered)) = self.0.iter().find(|(known, _)| known.is_like(slice)) {
            return Ok(Rc::clone(lowered));
        }
        let lowered = Rc::new(Lowered::new(lowering, &slice.problem())?);
        self.0.push((slice.clone(), Rc::clone(&lowered)));
        Ok(lowered)
    }
}

/// The steps that compute a node, in parts where its split says so and its operator allows it: one step, but where parts
/// have to be joined.
pub(crate) fn steps(
    lowering: &mut Lowering,
    graph: &Graph,
    id: NodeId,
    schedules: &Schedules,
) -> Result<Vec<Step>, LowerError> {
    let problem = problem(graph, id, schedules)?;
    let Some(&split) = schedules.splits.get(&id) else { return whole(lowering, graph, id, &problem, 1) };
    let dealt = match problem.op {
        Op::Resize(_) | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast { .. } => true,
        Op::Attention { .. } => true,
        Op::Reduce { .. } => reduce::is_in_groups(&problem),
        _ => false,
    };
    if dealt {
        return whole(lowering, graph, id, &problem, split.parts);
    }
    let flat = slice::flattened(&problem).filter(|_| split.axis == Axis::Rows);
    let flat =
        flat.as_ref().map(|(inputs, output)| Problem { inputs: inputs.clone(), output, ..problem.clone() });
    let problem = flat.unwrap_or(problem);
    match slices(&problem, split) {
        Some(slices) => Ok(vec![sliced(lowering, graph, id, &slices)?]),
        None => whole(lowering, graph, id, &problem, 1),
    }
}

/// The parts of a problem, when there are several.
fn slices<'a>(problem: &'a Problem<'a>, split: Split) -> Option<Vec<Slice<'a>>> {
    let ranges = slice::divide(problem, split.axis, split.parts)?;
    let slices: Option<Vec<Slice<'a>>> = ranges
        .into_iter()
        .map(|range| match split.axis {
            Axis::Rows => slice::of_rows(problem, range),
            Axis::Columns => slice::of_columns(problem, range),
        })
        .collect();
    slices.filter(|slices| slices.len() > 1)
}

/// A node that is computed at once. Where its calls between barriers need nothing of each other, as those of a resize or of
/// a copy in pieces, they can be dealt out to parts.
fn whole(
    lowering: &mut Lowering,
    graph: &Graph,
    id: NodeId,
    problem: &Problem,
    parts: usize,
) -> Result<Vec<Step>, LowerError> {
    let lowered = Lowered::new(lowering, problem)?;
    let scratch: Vec<Storage> = lowered.scratch.iter().map(|&bytes| lowering.temporary(bytes)).collect();
    let (inputs, output) = (graph.inputs(id), lowering.value(graph, id.into()));
    let bound = |lowering: &mut Lowering, scratch: &[Storage]| {
        let input = |i: usize| lowering.value(graph, inputs[i]);
        lowered.bind(problem.name, input, output, scratch)
    };
    if parts < 2 {
        return Ok(vec![Step::sequential(bound(lowering, &scratch))]);
    }
    // The calls as each part has them.
    let mut calls = Vec::new();
    for part in 0..parts {
        let mut scratch = scratch.clone();
        for &number in lowered.private.iter().filter(|_| part > 0) {
            scratch[number] = lowering.temporary(lowered.scratch[number]);
        }
        calls.push(bound(lowering, &scratch));
    }
    let ends = lowered.barriers.iter().copied().chain([lowered.calls.len()]);
    let starts = [0].into_iter().chain(lowered.barriers.iter().copied());
    let step = |(start, end): (usize, usize)| {
        let ranges = slice::ranges(end - start, parts, 1).into_iter().zip(&calls);
        Step { parts: ranges.map(|(range, calls)| calls[start..end][range].to_vec()).collect() }
    };
    Ok(starts.zip(ends).map(step).collect())
}

fn sliced(
    lowering: &mut Lowering,
    graph: &Graph,
    id: NodeId,
    slices: &[Slice<'_>],
) -> Result<Step, LowerError> {
    let (node, inputs) = (graph.node(id), graph.inputs(id));
    let output = lowering.value(graph, id.into());
    let mut codes = Codes::default();
    let mut parts = Vec::with_capacity(slices.len());
    for slice in slices {
        let lowered = codes.of(lowering, slice)?;
        let scratch: Vec<Storage> = lowered.scratch.iter().map(|&bytes| lowering.temporary(bytes)).collect();
        let input = |i: usize| lowering.value(graph, inputs[i]).after(slice.input_offsets[i]);
        parts.push(lowered.bind(&node.name, input, output.after(slice.output_offset), &scratch));
    }
    Ok(Step { parts })
}
