//! Operators that hold graphs: only what is chosen is computed, as often as it is asked for.

use avocet_ir::graph::Node;
use avocet_ir::op::{Loop, Op, SliceAxis};
use avocet_ir::{Shape, Tensor, TensorData, TensorType};

use super::run::{RunError, run as run_graph};
use super::{EvaluateError, movement};

/// The results of an `If` or a `Loop` on its operands, which shape inference has accepted.
pub(super) fn run(node: &Node, operands: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
    let owned = |tensors: &[&Tensor]| tensors.iter().map(|&tensor| tensor.clone()).collect::<Vec<_>>();
    match (&node.op, operands) {
        (Op::If { then, otherwise }, [condition, rest @ ..]) => {
            let region = if is_true(condition) { then } else { otherwise };
            run_graph(region.graph(), &owned(rest))
        }
        (Op::Loop(repeated), _) => repeat(node, repeated, owned(operands)),
        (op, _) => Err(broken(node, format!("{} of {} inputs", op.name(), operands.len()))),
    }
}

fn broken(node: &Node, problem: String) -> RunError {
    RunError::Broken { name: node.name.clone(), problem }
}

fn is_true(tensor: &Tensor) -> bool {
    matches!(tensor.data(), TensorData::Bool(data) if data.first() == Some(&true))
}

fn repeat(node: &Node, repeated: &Loop, operands: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
    let mut rest = operands.into_iter();
    let mut next = |count: usize| rest.by_ref().take(count).collect::<Vec<Tensor>>();
    let limit = next(usize::from(repeated.limited));
    let mut on = next(usize::from(repeated.conditional)).first().is_none_or(is_true);
    let mut carried = next(repeated.carried);
    let scanned = next(repeated.scanned.len());
    let captured: Vec<Tensor> = rest.collect();
    let limit = limit.first().and_then(|limit| limit.as_i64()?.first().copied());
    let count = limit.map_or(repeated.count, |limit| repeated.count.min(usize::try_from(limit).unwrap_or(0)));
    let flags = usize::from(repeated.conditional);
    let mut rows: Vec<Vec<Tensor>> = vec![Vec::new(); repeated.stacked.len()];
    for iteration in 0..count {
        if !on {
            break;
        }
        let mut inputs = carried.clone();
        for (tensor, &backwards) in scanned.iter().zip(&repeated.scanned) {
            let row = if backwards { repeated.count - 1 - iteration } else { iteration };
            inputs.push(slice(tensor, row).map_err(|e| broken(node, e.to_string()))?);
        }
        inputs.extend(captured.iter().cloned());
        let mut results = run_graph(repeated.body.graph(), &inputs)?.into_iter();
        on = results.by_ref().take(flags).collect::<Vec<_>>().first().is_none_or(is_true);
        carried = results.by_ref().take(repeated.carried).collect();
        rows.iter_mut().zip(results).for_each(|(rows, row)| rows.push(row));
    }
    let stacked = node.outputs[repeated.carried..].iter().zip(rows).zip(&repeated.stacked);
    for ((ty, rows), &backwards) in stacked {
        carried.push(stack(ty, rows, backwards).map_err(|e| broken(node, e.to_string()))?);
    }
    Ok(carried)
}

/// One slice of the first dimension, without it.
fn slice(tensor: &Tensor, row: usize) -> Result<Tensor, EvaluateError> {
    let dims = tensor.shape().dims();
    let whole = dims[1..].iter().map(|&count| SliceAxis { start: 0, count, step: 1 });
    let axes: Vec<_> = [SliceAxis { start: row, count: 1, step: 1 }].into_iter().chain(whole).collect();
    let mut one = dims.to_vec();
    one[0] = 1;
    let shape = |dims: &[usize]| Shape::new(dims).map_err(avocet_ir::infer::InferError::from);
    let taken = movement::slice(tensor, &axes, &shape(&one)?)?;
    Ok(taken.reshaped(shape(&dims[1..])?).map_err(avocet_ir::infer::InferError::from)?)
}

/// The rows one after the other, or the last one first, with zeros where there are none.
fn stack(ty: &TensorType, rows: Vec<Tensor>, backwards: bool) -> Result<Tensor, EvaluateError> {
    let row = ty.shape.elements() / ty.shape.dims().first().copied().unwrap_or(1).max(1);
    let place = |number: usize| if backwards { ty.shape[0] - 1 - number } else { number } * row;
    let mut bytes = vec![0; ty.bytes()];
    let size = row * ty.dtype.bytes();
    for (number, tensor) in rows.iter().enumerate() {
        bytes[place(number) * ty.dtype.bytes()..][..size].copy_from_slice(&tensor.data().to_le_bytes());
    }
    let data = TensorData::from_le_bytes(ty.dtype, &bytes);
    Ok(Tensor::new(ty.shape.clone(), data).map_err(avocet_ir::infer::InferError::from)?)
}
