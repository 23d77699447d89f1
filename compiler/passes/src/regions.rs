//! Branches and bodies of loops: each goes through the whole pipeline as a network of its own.
//!
//! First what is constant around a region becomes constant within it, so that weights fold and are packed there; at last
//! operands that no region uses any more are left out. A choice whose condition is known is no choice: the branch takes the
//! node's place.

use avocet_ir::op::{Loop, Op, Region};
use avocet_ir::{Graph, GraphError, NodeId, TensorData, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::pipeline::{PipelineError, run_all};

/// The pass.
pub(crate) fn run(graph: &mut Graph, context: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    // What a branch brings may hold regions itself.
    loop {
        let found = graph.ids().find_map(|id| Some((id, known(graph, id)?)));
        let Some((id, branch)) = found else { break };
        let name = graph.node(id).name.clone();
        let operands = graph.inputs(id)[1..].to_vec();
        let results = graph.splice(branch.graph(), &operands, &format!("{name}."))?;
        replace(graph, id, &results)?;
        outcome.changes += 1;
    }
    for id in graph.topological()? {
        if graph.node(id).op.regions().is_empty() {
            continue;
        }
        if let Some((op, operands)) = settled(graph, id, context)? {
            replace_node(graph, id, op, &operands)?;
            outcome.changes += 1;
        }
    }
    Ok(outcome)
}

/// The branch that is always taken.
fn known(graph: &Graph, id: NodeId) -> Option<Region> {
    let Op::If { then, otherwise } = &graph.node(id).op else { return None };
    match graph.as_constant(*graph.inputs(id).first()?)?.data() {
        TensorData::Bool(data) => Some(if *data.first()? { then } else { otherwise }.clone()),
        _ => None,
    }
}

/// A node's operator and operands after the pipeline has gone over its regions, if that changes anything.
fn settled(graph: &Graph, id: NodeId, context: &Context<'_>) -> Result<Option<(Op, Vec<Value>)>, PassError> {
    let (op, mut operands) = (graph.node(id).op.clone(), graph.inputs(id));
    let own = own_inputs(&op);
    // Number of the first captured operand among a region's inputs.
    let first = own - controls(&op);
    let mut changed = false;
    let mut regions: Vec<Graph> = Vec::new();
    for region in op.regions() {
        let mut inner = region.graph().clone();
        for (number, &value) in operands[own..].iter().enumerate() {
            let input = Value::from(inner.input_nodes()[first + number]);
            if let Some(tensor) = graph.as_constant(value)
                && is_used(&inner, input)
            {
                let constant = inner.constant(graph.node(value.node).name.clone(), tensor.clone());
                inner.replace_uses(input, constant)?;
                changed = true;
            }
        }
        let failed = |e: PipelineError| PassError::Region {
            region: region.graph().name().into(),
            problem: e.to_string(),
        };
        run_all(&mut inner, context, &mut |_, _, _| {}).map_err(failed)?;
        // What one pass undoes and another does again is no change.
        changed |= inner.to_string() != region.graph().to_string();
        regions.push(inner);
    }
    for number in (own..operands.len()).rev() {
        let input = |region: &Graph| region.input_nodes()[number - own + first];
        if regions.iter().all(|region| !is_used(region, input(region).into())) {
            operands.remove(number);
            regions.iter_mut().try_for_each(|region| region.remove_input(input(region)))?;
            changed = true;
        }
    }
    let regions = regions.into_iter().map(Region::new).collect();
    Ok(changed.then(|| (op.with_regions(regions), operands)))
}

fn is_used(graph: &Graph, value: Value) -> bool {
    !graph.users(value).is_empty() || graph.is_output(value)
}

/// Number of operands that decide, before those that regions get.
pub(crate) fn controls(op: &Op) -> usize {
    match op {
        Op::Loop(repeated) => repeated.controls(),
        _ => 1,
    }
}

/// Number of operands before those that regions get whole and unchanged.
pub(crate) fn own_inputs(op: &Op) -> usize {
    match op {
        Op::Loop(repeated) => Loop::own_inputs(repeated),
        _ => 1,
    }
}

/// Lets another operator on other operands, with the same results, take a node's place.
pub(crate) fn replace_node(
    graph: &mut Graph,
    id: NodeId,
    op: Op,
    operands: &[Value],
) -> Result<Value, GraphError> {
    let new = graph.add(graph.node(id).name.clone(), op, operands)?;
    let results: Vec<Value> =
        (0..graph.node(id).outputs.len()).map(|port| Value { node: new.node, port }).collect();
    replace(graph, id, &results)?;
    Ok(new)
}

/// Lets values take the place of a node's results, and removes it.
pub(crate) fn replace(graph: &mut Graph, id: NodeId, results: &[Value]) -> Result<(), GraphError> {
    for (port, &value) in results.iter().enumerate() {
        graph.replace_uses(Value { node: id, port }, value)?;
    }
    graph.remove(id)
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::{Comparison, ReduceKind};
    use avocet_ir::{Shape, Tensor, TensorData};

    use super::*;
    use crate::testing::{Network, check};

    /// Whether the mean of all elements is below a half.
    fn low_mean(net: &mut Network, x: Value) -> Value {
        let axes = (0..net.dims(x).len()).collect();
        let mean = net.add(Op::Reduce { kind: ReduceKind::Mean, axes, keep_dims: false }, &[x]);
        let half = net.scalar(0.5);
        net.add(Op::Compare(Comparison::Less), &[mean, half])
    }

    /// A choice between `w * x + b` with constants of the graph around it, and `x`.
    fn choice(condition: impl Fn(&mut Network, Value) -> Value) -> Graph {
        let mut then = Network::new();
        let (x, w, b) = (then.input("x", [2, 3]), then.input("w", [3]), then.input("b", [3]));
        let product = then.binary(avocet_ir::op::Binary::Mul, w, x);
        let sum = then.binary(avocet_ir::op::Binary::Add, product, b);
        let then = then.finish(sum);
        let mut otherwise = Network::new();
        let x = otherwise.input("x", [2, 3]);
        otherwise.input("w", [3]);
        otherwise.input("b", [3]);
        let otherwise = otherwise.finish(x);
        let mut net = Network::new();
        let x = net.input("x", [2, 3]);
        let (w, b) = (net.constant([3], &[1.0; 3]), net.random([3]));
        let condition = condition(&mut net, x);
        let op = Op::If { then: Region::new(then), otherwise: Region::new(otherwise) };
        let y = net.add(op, &[condition, x, w, b]);
        net.finish(y)
    }

    #[test]
    fn what_is_constant_around_is_constant_within() {
        let (after, outcome) = check(run, &choice(low_mean));
        assert_eq!(outcome.changes, 1);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,3] ; x
          %1 = reduce_mean %0 {axes=[0,1], keep_dims=false} : f32[] ; n2
          %2 = constant [0.5] : f32[]
          %3 = less %1, %2 : bool[] ; n3
          %4 = if %3, %0 : f32[2,3] ; n4
            graph test
              %0 = input : f32[2,3] ; x
              %1 = constant [-0.91553307, 0.84617376, -0.011230469] : f32[3]
              %2 = add %0, %1 : f32[2,3] ; n2
              return %2 "y"
            graph test
              %0 = input : f32[2,3] ; x
              %1 = identity %0 : f32[2,3] ; y
              return %1 "y"
          return %4 "y"
        "#);
    }

    #[test]
    fn a_known_choice_is_none() {
        let known = |net: &mut Network, _| {
            let no = Tensor::new(Shape::scalar(), TensorData::Bool(vec![false].into())).expect("one");
            net.graph.constant("no", no)
        };
        let (after, outcome) = check(run, &choice(known));
        assert_eq!(outcome.changes, 1);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,3] ; x
          return %0 "y"
        "#);
    }
}
