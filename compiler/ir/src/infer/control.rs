//! Result types of operators that hold graphs: those of the graphs' own results, when the inputs fit.

use super::InferError;
use crate::graph::Graph;
use crate::op::{Loop, Region};
use crate::tensor::{DType, Shape, TensorType};

/// The types of a region's inputs.
fn inputs(region: &Region) -> Vec<&TensorType> {
    let graph = region.graph();
    graph.input_nodes().iter().map(|&id| &graph.node(id).outputs[0]).collect()
}

/// The types of its results.
fn results(region: &Region) -> Result<Vec<TensorType>, InferError> {
    let graph: &Graph = region.graph();
    let ty = |output: &crate::graph::Output| {
        let node = graph.get(output.value.node);
        let ty = node.and_then(|node| node.outputs.get(output.value.port)).cloned();
        ty.ok_or_else(|| InferError::Invalid(format!("result '{}' of a region does not exist", output.name)))
    };
    graph.outputs().iter().map(ty).collect()
}

/// Whether a region takes these tensors.
fn takes<'a>(
    region: &Region,
    what: &str,
    given: impl Iterator<Item = &'a TensorType>,
) -> Result<(), InferError> {
    let (expected, given): (Vec<_>, Vec<_>) = (inputs(region), given.collect());
    require!(
        expected.len() == given.len(),
        "the {what} has {} inputs, but {} tensors are given",
        expected.len(),
        given.len()
    );
    for (number, (expected, given)) in expected.into_iter().zip(given).enumerate() {
        require!(expected == given, "input {number} of the {what} is {expected}, but {given} is given");
    }
    Ok(())
}

fn is_flag(ty: &TensorType) -> bool {
    ty.dtype == DType::Bool && ty.shape.elements() == 1
}

pub(super) fn choice(
    then: &Region,
    otherwise: &Region,
    condition: &TensorType,
    rest: &[TensorType],
) -> Result<Vec<TensorType>, InferError> {
    require!(is_flag(condition), "the condition is {condition}, not one boolean");
    takes(then, "first branch", rest.iter())?;
    takes(otherwise, "second branch", rest.iter())?;
    let (one, other) = (results(then)?, results(otherwise)?);
    require!(one.len() == other.len(), "the branches have {} and {} results", one.len(), other.len());
    for (number, (one, other)) in one.iter().zip(&other).enumerate() {
        require!(one == other, "result {number} is {one} in one branch and {other} in the other");
    }
    require!(!one.is_empty(), "the branches have no result");
    Ok(one)
}

pub(super) fn repetition(op: &Loop, given: &[TensorType]) -> Result<Vec<TensorType>, InferError> {
    let own = op.own_inputs();
    require!(given.len() >= own, "a loop of {own} inputs of its own is given {}", given.len());
    let (controls, rest) = given.split_at(op.controls());
    for (number, ty) in controls.iter().enumerate() {
        if op.limited && number == 0 {
            let fits = ty.dtype == DType::I64 && ty.shape.elements() == 1;
            require!(fits, "the limit is {ty}, not one 64-bit integer");
        } else {
            require!(is_flag(ty), "the condition is {ty}, not one boolean");
        }
    }
    let (carried, rest) = rest.split_at(op.carried);
    let (scanned, captured) = rest.split_at(op.scanned.len());
    let mut slices = Vec::with_capacity(scanned.len());
    for ty in scanned {
        let Some((&extent, row)) = ty.dims().split_first() else { invalid!("a scalar has no slices") };
        require!(extent == op.count, "{} iterations over slices of {ty}", op.count);
        slices.push(TensorType::new(ty.dtype, Shape::new(row)?));
    }
    takes(&op.body, "body", carried.iter().chain(&slices).chain(captured))?;
    let results = results(&op.body)?;
    let flags = usize::from(op.conditional);
    let expected = flags + op.carried + op.stacked.len();
    require!(results.len() == expected, "the body has {} results instead of {expected}", results.len());
    require!(op.carried + op.stacked.len() > 0, "the loop has no result");
    require!(results[..flags].iter().all(is_flag), "the next condition is not one boolean");
    let (on, stacked) = results[flags..].split_at(op.carried);
    for (number, (first, next)) in carried.iter().zip(on).enumerate() {
        require!(first == next, "carried tensor {number} is {first} at first and {next} later");
    }
    let mut types = carried.to_vec();
    for ty in stacked {
        let dims: Vec<usize> = [op.count].iter().chain(ty.dims()).copied().collect();
        types.push(TensorType::new(ty.dtype, Shape::new(dims)?));
    }
    Ok(types)
}
