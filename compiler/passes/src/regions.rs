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
fn settled(
    graph: &Graph,
    id: NodeId,
    context: &Context<'_>,
) -> Result<Option<(Op, Vec<Value>)>, PassError> {
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
        let failed = |e: PipelineError| {
            PassError::Region { region: region.graph().name().into(), problem: e.to_string() }
        };
        let outcomes = run_all(&mut inner, context, &mut |_, _, _| {}).map_err(failed)?;
        changed |= outcomes.iter().any(|(_, outcome)| outcome.changes > 0);
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
