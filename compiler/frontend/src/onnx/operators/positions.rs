//! Operators that find or use positions: the largest elements, one-hot rows, sums along an axis, computed indices.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op};
use avocet_ir::tensor::{DType, Shape, Tensor};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};
use super::axis;

impl Importer<'_> {
    /// A table of integers for each element of a shape, computed from its coordinates.
    pub(super) fn table(
        &mut self,
        node: &Node,
        dims: &[usize],
        of: impl Fn(&[usize]) -> i64,
    ) -> Result<Value, Problem> {
        let shape = Shape::new(dims)?;
        self.afford(shape.elements().saturating_mul(8))?;
        let strides = shape.strides();
        let mut at = vec![0; dims.len()];
        let values: Vec<i64> = (0..shape.elements())
            .map(|i| {
                for (axis, place) in at.iter_mut().enumerate() {
                    *place = i / strides[axis] % dims[axis];
                }
                of(&at)
            })
            .collect();
        Ok(self.constant(node, Tensor::i64(dims, values)?))
    }

    /// The numbers of places along an axis, in a shape that broadcasts along all others.
    pub(super) fn places(
        &mut self,
        node: &Node,
        axis: usize,
        rank: usize,
        extent: usize,
    ) -> Result<Value, Problem> {
        let mut dims = vec![1; rank];
        dims[axis] = extent;
        self.table(node, &dims, |at| at[axis] as i64)
    }

    /// 64-bit indices, from the start.
    fn wrapped(&mut self, node: &Node, indices: Value, extent: usize) -> Result<Value, Problem> {
        let indices = self.cast(node, indices, DType::I64)?;
        let zero = self.number(node, DType::I64, 0.0)?;
        let extent = self.constant(node, Tensor::i64([], [extent as i64].as_slice())?);
        let below = self.compare(node, Comparison::Less, indices, zero)?;
        let wrapped = self.binary(node, Binary::Add, indices, extent)?;
        self.choose(node, below, wrapped, indices)
    }

    /// Numbers of elements of a shape, where `indices` says which along the axis, and everything else is as the indices' own
    /// coordinates have it.
    pub(super) fn along(
        &mut self,
        node: &Node,
        indices: Value,
        shape: &Shape,
        axis: usize,
    ) -> Result<Value, Problem> {
        let indices = self.wrapped(node, indices, shape[axis])?;
        let strides = shape.strides();
        let dims = self.ty(indices).dims().to_vec();
        if dims.len() != shape.rank() {
            return invalid(format!("indices of rank {} of a tensor of rank {}", dims.len(), shape.rank()));
        }
        let offsets = self.table(node, &dims, |at| {
            at.iter()
                .zip(&strides)
                .enumerate()
                .map(|(i, (&p, &s))| if i == axis { 0 } else { (p * s) as i64 })
                .sum()
        })?;
        let stride = self.constant(node, Tensor::i64([], [strides[axis] as i64].as_slice())?);
        let steps = self.binary(node, Binary::Mul, indices, stride)?;
        self.binary(node, Binary::Add, steps, offsets)
    }

    /// Elements of a tensor by their numbers.
    pub(super) fn take(&mut self, node: &Node, x: Value, numbers: Value) -> Result<Value, Problem> {
        let count = self.ty(x).shape.elements();
        let flat = self.reshape(node, x, &[count])?;
        self.add(node, Op::Gather { axis: 0 }, &[flat, numbers])
    }

    /// For tuples of indices along the last axis: the number of the row that each names, rows being what the leading
    /// dimensions count.
    fn rows(&mut self, node: &Node, indices: Value, leading: &[usize]) -> Result<Value, Problem> {
        let dims = self.ty(indices).dims().to_vec();
        let Some((_, outer)) = dims.split_last() else { return invalid("indices without dimensions") };
        let strides = Shape::new(leading)?.strides();
        let mut sum: Option<Value> = None;
        for (number, (&extent, &stride)) in leading.iter().zip(&strides).enumerate() {
            let mut axes = super::movement::whole(&Shape::new(dims.clone())?);
            let last = axes.len() - 1;
            axes[last] = avocet_ir::op::SliceAxis { start: number, count: 1, step: 1 };
            let one = self.add(node, Op::Slice { axes }, &[indices])?;
            let one = self.reshape(node, one, outer)?;
            let one = self.wrapped(node, one, extent)?;
            let stride = self.constant(node, Tensor::i64([], [stride as i64].as_slice())?);
            let one = self.binary(node, Binary::Mul, one, stride)?;
            sum = Some(match sum {
                Some(sum) => self.binary(node, Binary::Add, sum, one)?,
                None => one,
            });
        }
        match sum {
            Some(sum) => Ok(sum),
            None => invalid("indices of no dimension"),
        }
    }
}

/// The place of the largest or smallest element.
pub(super) fn arg_reduce(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let axis = axis(node.attributes.int("axis", 0)?, shape.rank())?;
    let last = node.attributes.flag("select_last_index", false)?;
    let largest = node.operator() == "ArgMax";
    let y = importer.add(node, Op::ArgReduce { largest, axis, last }, &[x])?;
    if node.attributes.flag("keepdims", true)? {
        return Ok(vec![y]);
    }
    let mut dims = shape.dims().to_vec();
    dims.remove(axis);
    Ok(vec![importer.reshape(node, y, &dims)?])
}

/// 1 at the largest element, 0 elsewhere. Before version 13 over all dimensions from the axis on.
pub(super) fn hardmax(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let old = importer.opset < 13;
    let at = axis(node.attributes.int("axis", if old { 1 } else { -1 })?, shape.rank().max(1))?;
    let (before, after) = shape.dims().split_at(at);
    let (mut y, mut along) = (x, at);
    if old {
        y = importer.reshape(node, x, &[before.iter().product(), after.iter().product()])?;
        along = 1;
    }
    let dims = importer.ty(y).dims().to_vec();
    let place = importer.add(node, Op::ArgReduce { largest: true, axis: along, last: false }, &[y])?;
    let places = importer.places(node, along, dims.len(), dims[along])?;
    let hot = importer.compare(node, Comparison::Equal, places, place)?;
    let y = importer.cast(node, hot, importer.ty(x).dtype)?;
    Ok(vec![importer.reshape(node, y, shape.dims())?])
}

/// The largest or smallest elements and their positions.
pub(super) fn top_k(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let axis = axis(node.attributes.int("axis", -1)?, shape.rank())?;
    let count = match node.optional(1) {
        Some(value) => importer.integers(value, "a count")?.first().copied(),
        None => Some(node.attributes.int("k", 0)?),
    };
    let count = count.and_then(|k| usize::try_from(k).ok()).filter(|&k| k <= shape[axis]);
    let Some(count) = count else { return invalid(format!("more elements than axis {axis} of {shape} has")) };
    let largest = node.attributes.flag("largest", true)?;
    let places = importer.add(node, Op::Rank { largest, axis, count }, &[x])?;
    let numbers = importer.along(node, places, &shape, axis)?;
    Ok(vec![importer.take(node, x, numbers)?, places])
}

/// Sums or products along an axis.
pub(super) fn cumulate(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let number = importer.integers(node.input(1)?, "an axis")?;
    let [number] = number[..] else { return invalid("an axis that is not one number") };
    let axis = axis(number, importer.ty(x).shape.rank())?;
    let (exclusive, reverse) =
        (node.attributes.flag("exclusive", false)?, node.attributes.flag("reverse", false)?);
    let join = if node.operator() == "CumProd" { Binary::Mul } else { Binary::Add };
    Ok(vec![importer.add(node, Op::Cumulate { join, axis, exclusive, reverse }, &[x])?])
}

/// One of two values in each place of a new axis: that which is meant, and the others.
pub(super) fn one_hot(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (indices, values) = (node.input(0)?, node.input(2)?);
    let depth = match importer.tensor(node.input(1)?, "a depth")?.shape().elements() {
        1 => importer.floats(node.input(1)?, "a depth")?[0],
        _ => return invalid("a depth that is not one number"),
    };
    let depth = depth as usize;
    let dims = importer.ty(indices).dims().to_vec();
    let at = axis(node.attributes.int("axis", -1)?, dims.len() + 1)?;
    let indices = importer.wrapped(node, indices, depth)?;
    let mut wide = dims.clone();
    wide.insert(at, 1);
    let indices = importer.reshape(node, indices, &wide)?;
    let places = importer.places(node, at, wide.len(), depth)?;
    let hot = importer.compare(node, Comparison::Equal, indices, places)?;
    let one = |importer: &mut Importer, start: usize| {
        let axes = vec![avocet_ir::op::SliceAxis { start, count: 1, step: 1 }];
        importer.add(node, Op::Slice { axes }, &[values])
    };
    let (off, on) = (one(importer, 0)?, one(importer, 1)?);
    Ok(vec![importer.choose(node, hot, on, off)?])
}

/// The elements on one side of a diagonal.
pub(super) fn trilu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let &[.., rows, columns] = ty.dims() else { return invalid(format!("a triangle of {ty}")) };
    let k = match node.optional(1) {
        Some(value) => importer.integers(value, "a diagonal")?.first().copied().unwrap_or(0),
        None => 0,
    };
    let upper = node.attributes.flag("upper", true)?;
    let kept = importer.table(node, &[rows, columns], |at| {
        let distance = at[1] as i64 - at[0] as i64;
        i64::from(if upper { distance >= k } else { distance <= k })
    })?;
    let (kept, zero) = (importer.cast(node, kept, DType::Bool)?, importer.number(node, ty.dtype, 0.0)?);
    Ok(vec![importer.choose(node, kept, x, zero)?])
}

/// Ones on a diagonal.
pub(super) fn eye_like(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let ty = importer.ty(node.input(0)?);
    let &[rows, columns] = ty.dims() else { return invalid(format!("a diagonal of {ty}")) };
    let dtype = match node.attributes.has("dtype") {
        true => {
            let number = i32::try_from(node.attributes.int("dtype", 1)?).unwrap_or(0);
            super::super::tensors::dtype(number).map_err(Problem::Unsupported)?
        }
        false => ty.dtype,
    };
    let k = node.attributes.int("k", 0)?;
    let ones = importer
        .table(node, &[rows, columns], |at| i64::from((at[1] as i64).saturating_sub(k) == at[0] as i64))?;
    Ok(vec![importer.cast(node, ones, dtype)?])
}

/// Elements along an axis, each by an index of its own.
pub(super) fn gather_elements(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let shape = importer.ty(x).shape;
    let axis = axis(node.attributes.int("axis", 0)?, shape.rank())?;
    let numbers = importer.along(node, indices, &shape, axis)?;
    Ok(vec![importer.take(node, x, numbers)?])
}

/// Rows by tuples of indices, in each of a batch.
pub(super) fn gather_nd(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let (shape, index_shape) = (importer.ty(x).shape, importer.ty(indices).shape);
    let batch = usize::try_from(node.attributes.int("batch_dims", 0)?).unwrap_or(usize::MAX);
    let Some((&width, outer)) = index_shape.dims().split_last() else {
        return invalid("indices without dimensions");
    };
    let deep = batch.checked_add(width).filter(|&deep| deep <= shape.rank() && batch <= outer.len());
    let Some(deep) = deep else { return invalid(format!("indices {index_shape} of {shape}")) };
    let leading = &shape.dims()[batch..deep];
    let mut rows = importer.rows(node, indices, leading)?;
    if batch > 0 {
        let each: usize = leading.iter().product();
        let strides = Shape::new(&shape.dims()[..batch])?.strides();
        let mut dims = outer.to_vec();
        dims[batch..].fill(1);
        let offsets = importer
            .table(node, &dims, |at| at.iter().zip(&strides).map(|(&p, &s)| (p * s * each) as i64).sum())?;
        rows = importer.binary(node, Binary::Add, rows, offsets)?;
    }
    let row = &shape.dims()[deep..];
    let mut flat = vec![shape.dims()[..deep].iter().product()];
    flat.extend(row);
    let x = importer.reshape(node, x, &flat)?;
    Ok(vec![importer.add(node, Op::Gather { axis: 0 }, &[x, rows])?])
}

/// The first elements of each sequence, as many as it has, in the opposite order.
pub(super) fn reverse_sequence(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, lengths) = (node.input(0)?, node.input(1)?);
    let shape = importer.ty(x).shape;
    let (time, batch) = (node.attributes.int("time_axis", 0)?, node.attributes.int("batch_axis", 1)?);
    let (false, (0 | 1, 0 | 1)) = (time == batch || shape.rank() < 2, (time, batch)) else {
        return invalid(format!("sequences along axis {time} and a batch along axis {batch} of {shape}"));
    };
    let (time, batch) = (time as usize, batch as usize);
    let mut dims = [1, 1];
    dims[batch] = shape[batch];
    let lengths = importer.reshape(node, lengths, &dims)?;
    let places = importer.places(node, time, 2, shape[time])?;
    let within = importer.compare(node, Comparison::Less, places, lengths)?;
    let last = importer.with_integer(node, Binary::Sub, lengths, 1)?;
    let mirrored = importer.binary(node, Binary::Sub, last, places)?;
    let place = importer.choose(node, within, mirrored, places)?;
    let numbers = importer.along(node, place, &Shape::new(&shape.dims()[..2])?, time)?;
    let rows = [&[shape[0] * shape[1]], &shape.dims()[2..]].concat();
    let x = importer.reshape(node, x, &rows)?;
    Ok(vec![importer.add(node, Op::Gather { axis: 0 }, &[x, numbers])?])
}

/// How arriving elements join those that are there.
fn joining(node: &Node) -> Result<Option<Binary>, Problem> {
    Ok(match node.attributes.text("reduction", "none")?.as_str() {
        "none" => None,
        "add" => Some(Binary::Add),
        "mul" => Some(Binary::Mul),
        "min" => Some(Binary::Min),
        "max" => Some(Binary::Max),
        other => return unsupported(format!("reduction '{}'", other.escape_debug())),
    })
}

/// Elements along an axis replaced, each by an index of its own.
pub(super) fn scatter_elements(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, indices, updates) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let shape = importer.ty(x).shape;
    let axis = axis(node.attributes.int("axis", 0)?, shape.rank())?;
    let numbers = importer.along(node, indices, &shape, axis)?;
    let count = importer.ty(numbers).shape.elements();
    let flat = importer.reshape(node, x, &[shape.elements()])?;
    let (numbers, updates) =
        (importer.reshape(node, numbers, &[count])?, importer.reshape(node, updates, &[count])?);
    let y = importer.add(node, Op::Scatter { join: joining(node)? }, &[flat, numbers, updates])?;
    Ok(vec![importer.reshape(node, y, shape.dims())?])
}

/// Rows replaced by tuples of indices.
pub(super) fn scatter_nd(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, indices, updates) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (shape, index_shape) = (importer.ty(x).shape, importer.ty(indices).shape);
    let width = index_shape.dims().last().copied().unwrap_or(0);
    if width > shape.rank() {
        return invalid(format!("indices {index_shape} of {shape}"));
    }
    let rows = importer.rows(node, indices, &shape.dims()[..width])?;
    let count = importer.ty(rows).shape.elements();
    let with_rows = |count: usize| -> Vec<usize> {
        let mut dims = vec![count];
        dims.extend(&shape.dims()[width..]);
        dims
    };
    let flat = importer.reshape(node, x, &with_rows(shape.dims()[..width].iter().product()))?;
    let rows = importer.reshape(node, rows, &[count])?;
    let updates = importer.reshape(node, updates, &with_rows(count))?;
    let y = importer.add(node, Op::Scatter { join: joining(node)? }, &[flat, rows, updates])?;
    Ok(vec![importer.reshape(node, y, shape.dims())?])
}
