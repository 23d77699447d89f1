//! Chains: several nodes computed together, strip by strip.
//!
//! A part of a chain is a range of rows of the last node's result, computed in strips from the top down. For each strip it
//! is worked out backwards which rows each node has to produce; rows of an intermediate result that the strip before has
//! left, as windows overlap, are moved to the front of its scratch memory and not computed again. Only a part's first
//! strip computes all of its rows, so parts need nothing of each other. Rows are slices (see [`crate::slice`]), so the
//! kernels and the order of their sums are those of the same nodes one by one.

use std::collections::HashMap;
use std::ops::Range;

use avocet_ir::kernel::Element;
use avocet_ir::program::{Argument, Call, Step, Storage};
use avocet_ir::schedule::{Chain, Schedules};
use avocet_ir::{Graph, NodeId, Value};

use crate::lower::{LowerError, Lowering, problem};
use crate::movement;
use crate::parts::Codes;
use crate::problem::Problem;
use crate::slice::{self, Slice};

/// What one node of a chain does for one strip.
struct Stage<'a> {
    /// Rows to produce; none when the strip before has left all that are needed.
    produced: Option<Slice<'a>>,
    /// Rows of the result in scratch memory afterwards.
    held: Range<usize>,
    /// Rows of `held` that the strip before has left, and the row that its scratch memory began with.
    kept: (Range<usize>, usize),
    /// First of the rows that are produced.
    first: usize,
}

/// The stages of each strip of each part.
type Plan<'a> = Vec<Vec<Vec<Stage<'a>>>>;

/// Whether a chain can be computed together: all nodes can be cut into rows, and nothing else reads what is between them.
pub(crate) fn fits(graph: &Graph, chain: &Chain, schedules: &Schedules) -> Result<bool, LowerError> {
    let linked = chain.nodes.windows(2).all(|pair| {
        let (value, inputs) = (Value::from(pair[0]), graph.inputs(pair[1]));
        let reads = inputs.iter().filter(|&&input| input == value).count();
        inputs.first() == Some(&value)
            && reads == 1
            && graph.users(value).len() == 1
            && !graph.is_output(value)
    });
    let f32s = chain.nodes.iter().all(|&id| graph.node(id).outputs[0].dtype == avocet_ir::DType::F32);
    if chain.nodes.len() < 2 || chain.rows == 0 || !linked || !f32s {
        return Ok(false);
    }
    let problems = problems(graph, &chain.nodes, schedules)?;
    Ok(plan(&problems, chain).is_some())
}

fn problems<'a>(
    graph: &'a Graph,
    nodes: &[NodeId],
    schedules: &Schedules,
) -> Result<Vec<Problem<'a>>, LowerError> {
    nodes.iter().map(|&id| problem(graph, id, schedules)).collect()
}

/// Works out all strips, from the last node back to the first.
fn plan<'a>(problems: &'a [Problem<'a>], chain: &Chain) -> Option<Plan<'a>> {
    // Rows are the image's rows everywhere.
    let images = problems.iter().all(|p| p.output.shape.rank() == 4 && p.output.shape[1] > 1);
    if !images || problems.iter().any(|p| slice::rows(p) != Some(p.output.shape[1])) {
        return None;
    }
    let last = problems.len() - 1;
    let mut parts = Vec::new();
    for part in slice::ranges(slice::rows(&problems[last])?, chain.parts, 1) {
        let mut held: Vec<Range<usize>> = vec![0..0; last];
        let mut strips = Vec::new();
        for start in part.clone().step_by(chain.rows) {
            let mut wanted = start..(start + chain.rows).min(part.end);
            let mut stages: Vec<Stage<'a>> = Vec::new();
            for (number, problem) in problems.iter().enumerate().rev() {
                let needed_here =
                    stages.last().and_then(|next| next.produced.as_ref()).map(|s| s.needed.clone());
                let mut stage = Stage { produced: None, held: 0..0, kept: (0..0, 0), first: 0 };
                if number < last {
                    let before = held[number].clone();
                    // Where the next node has nothing to do, this one keeps what it has.
                    let needed = needed_here.unwrap_or(before.clone());
                    let kept = needed.start..before.end.min(needed.end).max(needed.start);
                    if !before.is_empty() && before.start > needed.start {
                        return None;
                    }
                    wanted = kept.end..needed.end;
                    stage.kept = (kept, before.start);
                    stage.held = needed.clone();
                    held[number] = needed;
                }
                stage.first = wanted.start;
                if !wanted.is_empty() {
                    stage.produced = Some(slice::of_rows(problem, wanted.clone())?);
                }
                stages.push(stage);
            }
            stages.reverse();
            strips.push(stages);
        }
        parts.push(strips);
    }
    Some(parts)
}

/// The step that computes the nodes of a chain.
pub(crate) fn step(
    lowering: &mut Lowering,
    graph: &Graph,
    chain: &Chain,
    schedules: &Schedules,
) -> Result<Step, LowerError> {
    let nodes = &chain.nodes;
    let problems = problems(graph, nodes, schedules)?;
    // `fits` was asked before.
    let plan = plan(&problems, chain).unwrap_or_default();
    let mut codes: Vec<Codes<'_>> = nodes.iter().map(|_| Codes::default()).collect();
    let mut step = Step::default();
    for strips in &plan {
        let mut part = Part { calls: Vec::new(), scratch: HashMap::new(), strips: Vec::new() };
        for (number, problem) in problems[..problems.len() - 1].iter().enumerate() {
            let rows = strips.iter().map(|stages| stages[number].held.len()).max().unwrap_or(0);
            part.strips.push(lowering.temporary(rows * row_bytes(problem)));
        }
        for stages in strips {
            for (number, stage) in stages.iter().enumerate() {
                part.keep(lowering, &problems[number], number, stage);
                if let Some(slice) = &stage.produced {
                    let lowered = codes[number].of(lowering, slice)?;
                    let scratch: Vec<Storage> = lowered
                        .scratch
                        .iter()
                        .enumerate()
                        .map(|(i, &b)| part.scratch(lowering, (number, i), b))
                        .collect();
                    let output = match part.strips.get(number) {
                        Some(&storage) => {
                            let offset = (stage.first - stage.held.start) * row_bytes(&problems[number]);
                            Argument::from(storage).after(offset)
                        }
                        None => lowering.value(graph, nodes[number].into()).after(slice.output_offset),
                    };
                    let inputs = graph.inputs(nodes[number]);
                    let input = |i: usize| match (i, number.checked_sub(1)) {
                        // The strip before this node begins with the first row that it needs.
                        (0, Some(before)) => part.strips[before].into(),
                        _ => lowering.value(graph, inputs[i]).after(slice.input_offsets[i]),
                    };
                    let calls = lowered.bind(problems[number].name, input, output, &scratch);
                    part.calls.extend(calls);
                }
            }
        }
        step.parts.push(part.calls);
    }
    Ok(step)
}

fn row_bytes(problem: &Problem) -> usize {
    problem.output.dims()[2..].iter().product::<usize>() * problem.output.dtype.bytes()
}

/// A part in the making.
struct Part {
    calls: Vec<Call>,
    /// Scratch of the kernels of a node, by node and number; strips share it.
    scratch: HashMap<(usize, usize), usize>,
    /// Strips of the results that exist only as such.
    strips: Vec<Storage>,
}

impl Part {
    fn scratch(&mut self, lowering: &mut Lowering, key: (usize, usize), bytes: usize) -> Storage {
        let temporaries = &mut lowering.program.temporaries;
        let number = *self.scratch.entry(key).or_insert_with(|| {
            temporaries.push(0);
            temporaries.len() - 1
        });
        temporaries[number] = temporaries[number].max(bytes);
        Storage::Temporary(number)
    }

    /// Moves the rows that are kept to the front.
    fn keep(&mut self, lowering: &mut Lowering, problem: &Problem, number: usize, stage: &Stage<'_>) {
        let (kept, began) = (&stage.kept.0, stage.kept.1);
        let Some(&storage) = self.strips.get(number) else { return };
        let (shift, row) = (kept.start - began.min(kept.start), row_bytes(problem));
        if kept.is_empty() || shift == 0 {
            return;
        }
        // No more at once than the rows move by: source and target of a call are apart.
        for start in (0..kept.len()).step_by(shift) {
            let rows = shift.min(kept.len() - start);
            let (element, lanes) = (Element::F32, problem.schedule.lanes());
            let copy = movement::copy("keep_rows", element, rows * row / element.bytes(), lanes);
            let kernel = lowering.kernel(copy);
            let from = Argument::from(storage).after((start + shift) * row);
            let to = Argument::from(storage).after(start * row);
            let (arguments, node) = (vec![from, to], problem.name.into());
            self.calls.push(Call { kernel, arguments, in_place: Vec::new(), node });
        }
    }
}
