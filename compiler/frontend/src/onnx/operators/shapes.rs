//! Operators about shapes.

use avocet_ir::Value;
use avocet_ir::op::Op;
use avocet_ir::tensor::{DType, Tensor};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};
use super::super::tensors;
use super::{axes, axis};

/// The dimensions as a constant, since shapes are static here.
pub(super) fn shape(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let ty = importer.ty(node.input(0)?);
    let rank = ty.shape.rank() as i64;
    let clamp = |v: i64| if v < 0 { v.saturating_add(rank).max(0) } else { v.min(rank) } as usize;
    let (start, end) = (clamp(node.attributes.int("start", 0)?), clamp(node.attributes.int("end", rank)?));
    let dims: Vec<i64> = ty.dims().get(start..end).unwrap_or_default().iter().map(|&d| d as i64).collect();
    Ok(vec![importer.constant(node, Tensor::i64([dims.len()], dims)?)])
}

/// The number of elements.
pub(super) fn size(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let count = importer.ty(node.input(0)?).shape.elements() as i64;
    Ok(vec![importer.constant(node, Tensor::i64([], [count].as_slice())?)])
}

/// Zero keeps a dimension (unless `allowzero`), -1 takes what is left.
pub(super) fn reshape(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let wanted = importer.integers(node.input(1)?, "a shape")?;
    let ty = importer.ty(x);
    let keep_zero = node.attributes.flag("allowzero", false)?;
    let mut dims = Vec::with_capacity(wanted.len());
    for (i, &dim) in wanted.iter().enumerate() {
        dims.push(match dim {
            0 if !keep_zero => match ty.dims().get(i) {
                Some(&dim) => dim,
                None => {
                    return invalid(format!("shape {wanted:?} keeps dimension {i} of {ty}, which has none"));
                }
            },
            // Found out below.
            -1 => 1,
            dim => usize::try_from(dim).map_err(|_| Problem::Invalid(format!("shape {wanted:?}")))?,
        });
    }
    let open: Vec<usize> = wanted.iter().enumerate().filter(|(_, d)| **d == -1).map(|(i, _)| i).collect();
    match open[..] {
        [] => {}
        [open] => {
            let known = dims.iter().try_fold(1usize, |p, &d| p.checked_mul(d)).unwrap_or(0);
            let elements = ty.shape.elements();
            if known == 0 || !elements.is_multiple_of(known) {
                return invalid(format!("{ty} can't take the shape {wanted:?}"));
            }
            dims[open] = elements / known;
        }
        _ => return invalid(format!("shape {wanted:?} leaves two dimensions open")),
    }
    Ok(vec![importer.reshape(node, x, &dims)?])
}

/// Two dimensions, split at an axis.
pub(super) fn flatten(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let at = node.attributes.int("axis", 1)?;
    let rank = ty.shape.rank();
    let at = if at == rank as i64 { rank } else { axis(at, rank.max(1))? };
    let (before, after) = ty.dims().split_at(at);
    let dims = [before.iter().product(), after.iter().product()];
    Ok(vec![importer.reshape(node, x, &dims)?])
}

/// Axes as an attribute before version 13, as an input since.
fn given_axes(importer: &Importer, node: &Node) -> Result<Option<Vec<i64>>, Problem> {
    match (node.attributes.ints("axes")?, node.optional(1)) {
        (Some(axes), _) => Ok(Some(axes.to_vec())),
        (None, Some(value)) => Ok(Some(importer.integers(value, "a list of axes")?)),
        (None, None) => Ok(None),
    }
}

/// Drops dimensions of one.
pub(super) fn squeeze(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let drop = match given_axes(importer, node)? {
        Some(values) => axes(&values, ty.shape.rank())?,
        None => (0..ty.shape.rank()).filter(|&i| ty.shape[i] == 1).collect(),
    };
    if let Some(&axis) = drop.iter().find(|&&axis| ty.shape[axis] != 1) {
        return invalid(format!("dimension {axis} of {ty} is not 1"));
    }
    let dims: Vec<usize> = (0..ty.shape.rank()).filter(|i| !drop.contains(i)).map(|i| ty.shape[i]).collect();
    Ok(vec![importer.reshape(node, x, &dims)?])
}

/// Inserts dimensions of one.
pub(super) fn unsqueeze(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let Some(values) = given_axes(importer, node)? else { return invalid("axes are missing") };
    let rank = ty.shape.rank() + values.len();
    let new = axes(&values, rank)?;
    let mut old = ty.dims().iter();
    let dims: Vec<usize> =
        (0..rank).map(|i| if new.contains(&i) { 1 } else { old.next().copied().unwrap_or(1) }).collect();
    Ok(vec![importer.reshape(node, x, &dims)?])
}

/// Conversion of the element type. Between widths of floating point there is nothing to do, since all are f32 here.
pub(super) fn cast(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let number = node.attributes.int("to", 0)?;
    let to = tensors::dtype(i32::try_from(number).unwrap_or(0)).map_err(Problem::Unsupported)?;
    cast_to(importer, node, to)
}

/// The same bits as another element type.
pub(super) fn bit_cast(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let number = i32::try_from(node.attributes.int("to", 0)?).unwrap_or(0);
    let to = tensors::dtype(number).map_err(Problem::Unsupported)?;
    match (tensors::is_narrowed(number), importer.ty(x).dtype == to) {
        (true, _) => unsupported(format!("the bits of {} as a type that is f32 here", importer.ty(x))),
        (false, true) => Ok(vec![x]),
        (false, false) => Ok(vec![importer.add(node, Op::Bitcast { to }, &[x])?]),
    }
}

/// Conversion to the element type of the second input.
pub(super) fn cast_like(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let to = importer.ty(node.input(1)?).dtype;
    cast_to(importer, node, to)
}

fn cast_to(importer: &mut Importer, node: &Node, to: DType) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    match importer.ty(x).dtype == to {
        true => Ok(vec![x]),
        false => Ok(vec![importer.add(node, Op::Cast { to }, &[x])?]),
    }
}
