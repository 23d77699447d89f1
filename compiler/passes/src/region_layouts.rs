//! Moves transpositions at the borders of regions out of them.
//!
//! A region that works on images in NHWC transposes what it gets and what it gives, as the graph around it does before and
//! after the node: both go when they meet. So an input that a region uses only transposed is handed over transposed, and a
//! result that is a transposition is transposed outside. Where the other branch only passes it through, that branch has no
//! transposition either way.

use avocet_ir::op::{Op, Region};
use avocet_ir::{Graph, NodeId, TensorType, Value};

use crate::pass::{Context, Outcome, Pass, PassError};
use crate::pipeline::{PipelineError, run_passes};
use crate::regions::{controls, own_inputs, replace};
use crate::rewrite::{inverse, is_identity, plain_transpose};
use crate::{dead_code, duplicates, identity, reshapes, results, transposes};

/// What clears up in a region afterwards.
const CLEARING: &[Pass] = &[
    Pass { name: "identity", run: identity::run },
    Pass { name: "transposes", run: transposes::run },
    Pass { name: "dead-code", run: dead_code::run },
    Pass { name: "reshapes", run: reshapes::run },
    Pass { name: "identity", run: identity::run },
    Pass { name: "duplicates", run: duplicates::run },
    Pass { name: "dead-code", run: dead_code::run },
    Pass { name: "results", run: results::run },
    Pass { name: "dead-code", run: dead_code::run },
];

/// The pass.
pub(crate) fn run(graph: &mut Graph, context: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let borders = Borders::of(graph, id);
        let wanted = borders.inputs.iter().chain(&borders.results).flatten().count();
        if wanted > 0 {
            move_out(graph, id, &borders, context)?;
            outcome.changes += wanted;
        }
    }
    Ok(outcome)
}

/// The transpositions that leave the regions of a node.
#[derive(Debug, Default)]
struct Borders {
    /// For each input of the regions, how it is to be transposed before.
    inputs: Vec<Option<Vec<usize>>>,
    /// For each result, how it is to be transposed after.
    results: Vec<Option<Vec<usize>>>,
}

impl Borders {
    fn of(graph: &Graph, id: NodeId) -> Self {
        let op = &graph.node(id).op;
        let regions = op.regions();
        let Some(first) = regions.first() else { return Borders::default() };
        let count = first.graph().input_nodes().len();
        let carried = match op {
            Op::Loop(repeated) => repeated.carried,
            _ => 0,
        };
        let own = own_inputs(op) - controls(op);
        // What a loop carries has one layout before, within and after; what it slices keeps its own.
        let inputs = (0..count).map(|number| {
            let carries = number < carried;
            let wanted = if number < own && !carries { None } else { wanted_input(&regions, number) };
            wanted.filter(|perm| {
                !carries
                    || wanted_result(&regions, flags(op) + number).is_some_and(|out| out == inverse(perm))
            })
        });
        let inputs: Vec<_> = inputs.collect();
        let count = first.graph().outputs().len();
        let results = (0..count).map(|number| match op {
            Op::Loop(_) => {
                let input = number.checked_sub(flags(op)).and_then(|number| inputs.get(number))?;
                input.as_ref().filter(|_| number - flags(op) < carried).map(|perm| inverse(perm))
            }
            _ => wanted_result(&regions, number),
        });
        Borders { results: results.collect(), inputs }
    }
}

/// Number of a region's results that decide.
fn flags(op: &Op) -> usize {
    match op {
        Op::Loop(repeated) => usize::from(repeated.conditional),
        _ => 0,
    }
}

/// The transposition by which alone an input is used, if it is in one region and nothing else is done with it in another.
fn wanted_input(regions: &[&Region], number: usize) -> Option<Vec<usize>> {
    let mut wanted: Option<Vec<usize>> = None;
    for region in regions {
        let graph = region.graph();
        let input = Value::from(*graph.input_nodes().get(number)?);
        for (user, _) in graph.users(input) {
            match plain_transpose(graph, user) {
                Some((perm, _)) if wanted.as_ref().is_none_or(|wanted| *wanted == perm) => {
                    wanted = Some(perm)
                }
                // The copy that a result is.
                None if is_copied_result(graph, user) => {}
                _ => return None,
            }
        }
    }
    wanted.filter(|perm| !is_identity(perm))
}

fn is_copied_result(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    node.op == Op::Identity && node.epilogue.is_empty() && graph.is_output(id.into())
}

/// The transposition that a result is, if it is in one region, and one or an input or a constant in another.
fn wanted_result(regions: &[&Region], number: usize) -> Option<Vec<usize>> {
    let mut wanted: Option<Vec<usize>> = None;
    for region in regions {
        let graph = region.graph();
        let result = graph.outputs().get(number)?.value;
        let source = match is_copied_result(graph, result.node) {
            true => graph.inputs(result.node)[0],
            false => result,
        };
        match plain_transpose(graph, source.node) {
            Some((perm, _)) if wanted.as_ref().is_none_or(|wanted| *wanted == perm) => wanted = Some(perm),
            None if matches!(graph.node(source.node).op, Op::Input(_) | Op::Constant(_)) => {}
            _ => return None,
        }
    }
    wanted.filter(|perm| !is_identity(perm))
}

fn move_out(
    graph: &mut Graph,
    id: NodeId,
    borders: &Borders,
    context: &Context<'_>,
) -> Result<(), PassError> {
    let (op, mut operands) = (graph.node(id).op.clone(), graph.inputs(id));
    let name = graph.node(id).name.clone();
    let regions: Result<Vec<Region>, PassError> =
        op.regions().into_iter().map(|region| turned(region.graph(), borders, context)).collect();
    let first = controls(&op);
    for (number, perm) in borders.inputs.iter().enumerate() {
        if let Some(perm) = perm {
            let operand = &mut operands[first + number];
            let transpose = Op::Transpose { perm: perm.clone() };
            *operand = graph.add(format!("{name}.in"), transpose, &[*operand])?;
        }
    }
    let ports = graph.node(id).outputs.len();
    let flags = flags(&op);
    let new = graph.add(name.clone(), op.with_regions(regions?), &operands)?;
    let mut values = Vec::with_capacity(ports);
    for port in 0..ports {
        let value = Value { node: new.node, port };
        values.push(match borders.results.get(flags + port) {
            Some(Some(perm)) => {
                graph.add(format!("{name}.out"), Op::Transpose { perm: perm.clone() }, &[value])?
            }
            _ => value,
        });
    }
    replace(graph, id, &values)?;
    Ok(())
}

/// A region on transposed inputs, with results that are to be transposed.
fn turned(old: &Graph, borders: &Borders, context: &Context<'_>) -> Result<Region, PassError> {
    let mut graph = Graph::new(old.name());
    let mut values = Vec::new();
    for (&id, perm) in old.input_nodes().iter().zip(&borders.inputs) {
        let (node, ty) = (old.node(id), &old.node(id).outputs[0]);
        let Some(perm) = perm else {
            values.push(graph.add(node.name.clone(), node.op.clone(), &[])?);
            continue;
        };
        let dims: Vec<usize> = perm.iter().map(|&axis| ty.shape[axis]).collect();
        let ty = TensorType::new(ty.dtype, avocet_ir::Shape::new(dims)?);
        let input = graph.add(node.name.clone(), Op::Input(ty), &[])?;
        values.push(graph.add(
            format!("{}.in", node.name),
            Op::Transpose { perm: inverse(perm) },
            &[input],
        )?);
    }
    let results = graph.splice(old, &values, "")?;
    for ((output, value), perm) in old.outputs().iter().zip(results).zip(&borders.results) {
        let value = match perm {
            Some(perm) => {
                let back = Op::Transpose { perm: inverse(perm) };
                graph.add(format!("{}.out", output.name), back, &[value])?
            }
            None => value,
        };
        graph.add_output(output.name.clone(), value);
    }
    let failed = |e: PipelineError| PassError::Region { region: old.name().into(), problem: e.to_string() };
    run_passes(CLEARING, &mut graph, context, &mut |_, _, _| {}).map_err(failed)?;
    Ok(Region::new(graph))
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::{Binary, Comparison, Loop, ReduceKind};

    use super::*;
    use crate::testing::{Network, check};

    const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
    const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

    /// `x + relu(x)` in NHWC.
    fn residual() -> Network {
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 4, 5]);
        let x = net.transpose(x, &TO_NHWC);
        let y = net.relu(x);
        let y = net.binary(Binary::Add, x, y);
        let y = net.transpose(y, &TO_NCHW);
        net.graph.add_output("y", y);
        net
    }

    #[test]
    fn both_branches_work_on_what_one_transposes() {
        let mut otherwise = Network::new();
        let x = otherwise.input("x", [1, 3, 4, 5]);
        let otherwise = otherwise.finish(x);
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 4, 5]);
        let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![0, 1, 2, 3], keep_dims: false };
        let mean = net.add(mean, &[x]);
        let half = net.scalar(0.5);
        let condition = net.add(Op::Compare(Comparison::Less), &[mean, half]);
        let op = Op::If { then: Region::new(residual().graph), otherwise: Region::new(otherwise) };
        let y = net.add(op, &[condition, x]);
        let (after, outcome) = check(run, &net.finish(y));
        assert_eq!(outcome.changes, 2);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,3,4,5] ; x
          %1 = reduce_mean %0 {axes=[0,1,2,3], keep_dims=false} : f32[] ; n1
          %2 = constant [0.5] : f32[]
          %3 = less %1, %2 : bool[] ; n2
          %4 = transpose %0 {perm=[0,2,3,1]} : f32[1,4,5,3] ; n3.in
          %5 = if %3, %4 : f32[1,4,5,3] ; n3
            graph test
              %0 = input : f32[1,4,5,3] ; x
              %1 = relu %0 : f32[1,4,5,3] ; n2
              %2 = add %0, %1 : f32[1,4,5,3] ; n3
              return %2 "y"
            graph test
              %0 = input : f32[1,4,5,3] ; x
              %1 = identity %0 : f32[1,4,5,3] ; y
              return %1 "y"
          %6 = transpose %5 {perm=[0,3,1,2]} : f32[1,3,4,5] ; n3.out
          return %6 "y"
        "#);
    }

    #[test]
    fn a_loop_carries_images_as_its_body_works_on_them() {
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 4, 5]);
        let op = Loop {
            body: Region::new(residual().graph),
            count: 3,
            limited: false,
            conditional: false,
            carried: 1,
            scanned: Vec::new(),
            stacked: Vec::new(),
        };
        let y = net.add(Op::Loop(op), &[x]);
        let (after, outcome) = check(run, &net.finish(y));
        assert_eq!(outcome.changes, 2);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,3,4,5] ; x
          %1 = transpose %0 {perm=[0,2,3,1]} : f32[1,4,5,3] ; n1.in
          %2 = loop %1 {count=3, carried=1} : f32[1,4,5,3] ; n1
            graph test
              %0 = input : f32[1,4,5,3] ; x
              %1 = relu %0 : f32[1,4,5,3] ; n2
              %2 = add %0, %1 : f32[1,4,5,3] ; n3
              return %2 "y"
          %3 = transpose %2 {perm=[0,3,1,2]} : f32[1,3,4,5] ; n1.out
          return %3 "y"
        "#);
    }

    #[test]
    fn what_is_used_both_ways_stays() {
        let mut then = Network::new();
        let x = then.input("x", [2, 3]);
        let t = then.transpose(x, &[1, 0]);
        let product = then.add(Op::MatMul { transpose_a: false, transpose_b: false }, &[x, t]);
        let then = then.finish(product);
        let mut otherwise = Network::new();
        let x = otherwise.input("x", [2, 3]);
        let t = otherwise.transpose(x, &[1, 0]);
        let t = otherwise.relu(t);
        let x = otherwise.relu(x);
        let product = otherwise.add(Op::MatMul { transpose_a: false, transpose_b: false }, &[x, t]);
        let otherwise = otherwise.finish(product);
        let mut net = Network::new();
        let x = net.input("x", [2, 3]);
        let max = net.add(Op::Reduce { kind: ReduceKind::Max, axes: vec![0, 1], keep_dims: false }, &[x]);
        let half = net.scalar(0.5);
        let condition = net.add(Op::Compare(Comparison::Less), &[max, half]);
        let op = Op::If { then: Region::new(then), otherwise: Region::new(otherwise) };
        let y = net.add(op, &[condition, x]);
        assert_eq!(check(run, &net.finish(y)).1.changes, 0);
    }
}
