//! Gather: elements of an axis chosen by indices.

use std::sync::Arc;

use avocet_ir::op::{Op, SliceAxis};
use avocet_ir::tensor::{DType, Shape, Tensor};
use avocet_ir::{TensorData, Value, keeping_type};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};
use super::axis;
use super::movement::whole;

/// Most pieces that something computed is cut into.
const MOST_PIECES: usize = 256;

/// Constant indices are resolved here: any of constant data; of computed data, runs at equal distances, which are slices,
/// unless there are too many. Others are looked up when the network runs.
pub(super) fn gather(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let (ty, index_shape) = (importer.ty(x), importer.ty(indices).shape);
    let axis = axis(node.attributes.int("axis", 0)?, ty.shape.rank())?;
    if importer.graph.as_constant(indices).is_none() {
        let indices = importer.cast(node, indices, DType::I64)?;
        return Ok(vec![importer.add(node, Op::Gather { axis }, &[x, indices])?]);
    }
    let extent = ty.shape[axis] as i64;
    let mut places = Vec::new();
    for index in importer.integers(indices, "a tensor of indices")? {
        let place = if index < 0 { index.saturating_add(extent) } else { index };
        if !(0..extent).contains(&place) {
            return invalid(format!("index {index} of {extent} elements"));
        }
        places.push(place as usize);
    }
    let mut dims = ty.dims().to_vec();
    dims.splice(axis..=axis, index_shape.dims().iter().copied());
    let shape = Shape::new(dims)?;
    if importer.graph.as_constant(x).is_some() {
        importer.afford(shape.elements() * ty.dtype.bytes())?;
        let tensor = importer.tensor(x, "a table")?;
        let taken = Tensor::new(shape, take_any(tensor, axis, &places))?;
        return Ok(vec![importer.constant(node, taken)]);
    }
    let mut pieces = Vec::new();
    let mut rest = &places[..];
    while let Some(&start) = rest.first() {
        let (count, step) = run(rest);
        let mut axes = whole(&ty.shape);
        axes[axis] = SliceAxis { start, count, step };
        pieces.push(importer.add(node, Op::Slice { axes }, &[x])?);
        rest = &rest[count..];
        if pieces.len() > MOST_PIECES {
            let places = places.iter().map(|&place| place as i64).collect::<Vec<_>>();
            let indices = importer.constant(node, Tensor::i64(index_shape.dims(), places)?);
            return Ok(vec![importer.add(node, Op::Gather { axis }, &[x, indices])?]);
        }
    }
    let gathered = match pieces[..] {
        [] => return unsupported("no indices"),
        [one] => one,
        _ => importer.add(node, Op::Concat { axis }, &pieces)?,
    };
    Ok(vec![importer.reshape(node, gathered, shape.dims())?])
}

/// Length and step of the longest run at equal distances, none of them zero, that the places begin with.
fn run(places: &[usize]) -> (usize, isize) {
    let step = |pair: &[usize]| pair[1] as isize - pair[0] as isize;
    match places.windows(2).next().map(step) {
        None | Some(0) => (1, 1),
        Some(first) => (1 + places.windows(2).take_while(|&pair| step(pair) == first).count(), first),
    }
}

fn take_any(tensor: &Tensor, axis: usize, places: &[usize]) -> TensorData {
    let shape = tensor.shape();
    keeping_type!(tensor.data(), d => take(d, shape, axis, places))
}

/// The places of the axis, all of them within it, from each of the blocks before it.
fn take<T: Copy>(data: &[T], shape: &Shape, axis: usize, places: &[usize]) -> Arc<[T]> {
    let inner: usize = shape.dims()[axis + 1..].iter().product();
    let block = (shape[axis] * inner).max(1);
    let mut taken = Vec::with_capacity(data.len() / block * places.len() * inner);
    for block in data.chunks_exact(block) {
        for &place in places {
            taken.extend_from_slice(&block[place * inner..(place + 1) * inner]);
        }
    }
    taken.into()
}
