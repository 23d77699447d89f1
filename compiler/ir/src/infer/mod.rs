//! Shape inference: the result types of an operator from its input types, with every attribute checked.
//!
//! Nothing downstream checks attributes again: an operator that passes here has strides of at least one, axes in
//! range, groups that divide, windows that fit. All arithmetic is checked, since models are hostile input.

use thiserror::Error;

use crate::op::{Conv, Layout, Op, Padding, Pool, ReduceKind, SliceAxis, Unary};
use crate::tensor::{DType, Shape, TensorError, TensorType};

/// Why an operator can't be applied to its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InferError {
    /// Wrong number of inputs.
    #[error("{op} takes {expected} inputs, not {got}")]
    Arity {
        /// The operator.
        op: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        got: usize,
    },
    /// An attribute or an input's shape is impossible; the text says which and why.
    #[error("{0}")]
    Invalid(String),
    /// The result would be too large.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

macro_rules! invalid {
    ($($arg:tt)*) => { return Err(InferError::Invalid(format!($($arg)*))) };
}

macro_rules! require {
    ($condition:expr, $($arg:tt)*) => { if !$condition { invalid!($($arg)*) } };
}

mod control;

/// Number of positions of a window along one axis, or why there is none.
///
/// `extent` is the unpadded size. The formula is ONNX's: `floor((extent + before + after - span) / stride) + 1`, or
/// with `ceil` the ceiling, less a last window that would start in the trailing padding.
pub fn window_positions(
    extent: usize,
    window: usize,
    stride: usize,
    dilation: usize,
    (before, after): (usize, usize),
    ceil: bool,
) -> Result<usize, InferError> {
    require!(window > 0 && stride > 0 && dilation > 0, "window, stride and dilation must be at least 1");
    let overflow = || InferError::Invalid("window sizes overflow".into());
    let span = (window - 1).checked_mul(dilation).and_then(|s| s.checked_add(1)).ok_or_else(overflow)?;
    let padded = extent.checked_add(before).and_then(|s| s.checked_add(after)).ok_or_else(overflow)?;
    require!(
        padded >= span,
        "a window of {window} (dilation {dilation}) does not fit in {extent} elements padded by {before} and {after}"
    );
    let room = padded - span;
    if !ceil {
        return Ok(room / stride + 1);
    }
    let positions = room.div_ceil(stride) + 1;
    // The last window must start inside the image or its leading padding.
    let starts_outside = (positions - 1).checked_mul(stride).ok_or_else(overflow)? >= extent + before;
    Ok(if starts_outside { positions - 1 } else { positions })
}

/// NumPy's broadcasting of two shapes.
pub fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, InferError> {
    let rank = a.rank().max(b.rank());
    let at = |s: &Shape, i: usize| if i + s.rank() < rank { 1 } else { s[i + s.rank() - rank] };
    let mut dims = Vec::with_capacity(rank);
    for i in 0..rank {
        dims.push(match (at(a, i), at(b, i)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => invalid!("shapes {a} and {b} do not broadcast"),
        });
    }
    Ok(Shape::new(dims)?)
}

/// Whether `small` broadcasts to exactly `large`.
pub fn broadcasts_to(small: &Shape, large: &Shape) -> bool {
    broadcast(small, large).is_ok_and(|s| s == *large)
}

/// The result types of `op` on inputs of these types.
pub fn infer(op: &Op, inputs: &[TensorType]) -> Result<Vec<TensorType>, InferError> {
    let (low, high) = op.arity();
    if inputs.len() < low || inputs.len() > high {
        let expected = match (low, high) {
            (l, h) if l == h => l.to_string(),
            (l, usize::MAX) => format!("{l} or more"),
            (l, h) => format!("{l} to {h}"),
        };
        return Err(InferError::Arity { op: op.name(), expected, got: inputs.len() });
    }
    let first = inputs.first();
    let same = |shape: Shape| -> Result<TensorType, InferError> {
        let dtype = first.map_or(DType::F32, |t| t.dtype);
        Ok(TensorType::new(dtype, shape))
    };
    let rank_ok = |axis: usize| first.is_some_and(|t| axis < t.shape.rank());
    let result = match (op, inputs) {
        (Op::Input(ty), _) => ty.clone(),
        (Op::Constant(tensor), _) => tensor.ty(),
        (Op::Conv(conv), [x, w]) => infer_conv(conv, x, w)?,
        (Op::MatMul { transpose_a, transpose_b }, [a, b]) => infer_matmul(*transpose_a, *transpose_b, a, b)?,
        (Op::BatchNorm { axis, .. }, [x, parameters @ ..]) => {
            require!(rank_ok(*axis), "batch_norm over axis {axis} of {x}");
            for p in parameters {
                require!(
                    p.dims() == [x.shape[*axis]] && p.dtype == x.dtype,
                    "batch_norm parameter {p} for {} channels",
                    x.shape[*axis]
                );
            }
            x.clone()
        }
        (Op::Pool(pool), [x]) => infer_pool(pool, x)?,
        (Op::Reduce { kind, axes, keep_dims }, [x]) => {
            require!(axes.is_sorted_by(|a, b| a < b), "reduction axes {axes:?} are not sorted and unique");
            require!(axes.iter().all(|&a| rank_ok(a)), "reduction axes {axes:?} of {x}");
            let empty = axes.iter().any(|&a| x.shape[a] == 0);
            require!(!empty || *kind != ReduceKind::Mean, "{} over no elements of {x}", op.name());
            let dims = x.dims().iter().enumerate();
            let dims: Vec<usize> = dims
                .filter_map(|(i, &d)| match axes.contains(&i) {
                    true => keep_dims.then_some(1),
                    false => Some(d),
                })
                .collect();
            same(Shape::new(dims)?)?
        }
        (Op::Unary(unary), [x]) => {
            require!(x.dtype != DType::F32 || *unary != Unary::Not, "{} of {x}", op.name());
            x.clone()
        }
        (Op::Identity, [x]) => x.clone(),
        (Op::Compare(_), [a, b]) => {
            require!(a.dtype == b.dtype, "{} of {a} and {b}: element types differ", op.name());
            TensorType::new(DType::Bool, broadcast(&a.shape, &b.shape)?)
        }
        (Op::Select, [condition, a, b]) => {
            require!(condition.dtype == DType::Bool, "selection by {condition}, which is not of booleans");
            require!(a.dtype == b.dtype, "selection from {a} and {b}: element types differ");
            let shape = broadcast(&broadcast(&condition.shape, &a.shape)?, &b.shape)?;
            TensorType::new(a.dtype, shape)
        }
        (Op::ArgReduce { axis, .. }, [x]) => {
            require!(rank_ok(*axis) && x.shape[*axis] > 0, "{} over axis {axis} of {x}", op.name());
            along(x, *axis, 1, DType::I64)?
        }
        (Op::Rank { axis, count, .. }, [x]) => {
            require!(rank_ok(*axis) && *count <= x.shape[*axis], "{count} of axis {axis} of {x}");
            along(x, *axis, *count, DType::I64)?
        }
        (Op::Cumulate { axis, .. }, [x]) => {
            require!(rank_ok(*axis), "cumulation over axis {axis} of {x}");
            x.clone()
        }
        (Op::Gather { axis }, [x, indices]) => {
            require!(
                rank_ok(*axis) && indices.dtype == DType::I64,
                "gather of axis {axis} of {x} by {indices}"
            );
            require!(
                x.shape[*axis] > 0 || indices.shape.elements() == 0,
                "gather of nothing: axis {axis} of {x}"
            );
            let mut dims = x.dims().to_vec();
            dims.splice(axis..=axis, indices.dims().iter().copied());
            same(Shape::new(dims)?)?
        }
        (Op::Scatter { .. }, [x, indices, rows]) => {
            let fits = rows.dtype == x.dtype && indices.dtype == DType::I64 && indices.shape.rank() == 1;
            let fits = fits && x.shape.rank() > 0 && rows.shape.rank() == x.shape.rank();
            let fits = fits && rows.shape[0] == indices.shape[0] && rows.dims()[1..] == x.dims()[1..];
            require!(
                fits && (x.shape[0] > 0 || rows.shape[0] == 0),
                "scatter of {rows} by {indices} into {x}"
            );
            x.clone()
        }
        (Op::Binary(binary), [a, b]) => {
            require!(a.dtype == b.dtype, "{} of {a} and {b}: element types differ", op.name());
            let defined = a.dtype != DType::F32 || binary.takes_floats();
            require!(defined, "{} of {a}", op.name());
            same(broadcast(&a.shape, &b.shape)?)?
        }
        (Op::Softmax { axis }, [x]) => {
            require!(rank_ok(*axis), "softmax over axis {axis} of {x}");
            x.clone()
        }
        (Op::Normalize { epsilon, .. }, [x]) => {
            require!(x.dtype == DType::F32 && x.shape.rank() > 0, "normalize of {x}");
            require!(*epsilon >= 0.0 && epsilon.is_finite(), "normalize with an epsilon of {epsilon}");
            x.clone()
        }
        (Op::Attention { scale }, [q, k, v, mask @ ..]) => infer_attention(*scale, [q, k, v], mask)?,
        (Op::Transpose { perm }, [x]) => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            let identity = sorted.iter().copied().eq(0..x.shape.rank());
            require!(identity, "{perm:?} is not a permutation of the dimensions of {x}");
            same(Shape::new(perm.iter().map(|&p| x.shape[p]).collect::<Vec<_>>())?)?
        }
        (Op::Reshape { shape }, [x]) => {
            require!(shape.elements() == x.shape.elements(), "{x} can't be reshaped to {shape}");
            same(shape.clone())?
        }
        (Op::Broadcast { shape }, [x]) => {
            require!(broadcasts_to(&x.shape, shape), "{x} does not broadcast to {shape}");
            same(shape.clone())?
        }
        (Op::Concat { axis }, [x, rest @ ..]) => infer_concat(*axis, x, rest)?,
        (Op::Slice { axes }, [x]) => infer_slice(axes, x)?,
        (Op::Pad { amounts, mode }, [x]) => infer_pad(amounts, *mode, x)?,
        (Op::ChannelShuffle { groups, axis }, [x]) => {
            require!(rank_ok(*axis), "channel shuffle of axis {axis} of {x}");
            let extent = x.shape[*axis];
            require!(
                *groups > 0 && extent.is_multiple_of(*groups),
                "{groups} groups do not divide {extent} channels"
            );
            x.clone()
        }
        (Op::Resize(resize), [x]) => {
            require!(x.shape.rank() == 4, "resize of {x}, which is not an image");
            require!(
                resize.scales.iter().all(|s| s.is_finite() && *s > 0.0),
                "resize by {:?}",
                resize.scales
            );
            let mut dims = x.dims().to_vec();
            for (axis, size) in resize.layout.spatial_axes().into_iter().zip(resize.size) {
                require!(dims[axis] > 0 || size == 0, "resize of the empty image {x}");
                dims[axis] = size;
            }
            same(Shape::new(dims)?)?
        }
        (Op::Cast { to }, [x]) => TensorType::new(*to, x.shape.clone()),
        (Op::If { then, otherwise }, [condition, rest @ ..]) => {
            return control::choice(then, otherwise, condition, rest);
        }
        (Op::Loop(repeated), given) => return control::repetition(repeated, given),
        (Op::Bitcast { to }, [x]) => {
            let fits = to.bytes() == x.dtype.bytes() && (*to != DType::Bool || x.dtype == DType::Bool);
            require!(fits, "the bits of {x} as {to}");
            TensorType::new(*to, x.shape.clone())
        }
        // The arity check above leaves nothing else; an error is still better than a panic.
        _ => invalid!("{} applied to {} inputs", op.name(), inputs.len()),
    };
    Ok(vec![result])
}

/// The type with another extent of an axis.
fn along(x: &TensorType, axis: usize, extent: usize, dtype: DType) -> Result<TensorType, InferError> {
    let mut dims = x.dims().to_vec();
    dims[axis] = extent;
    Ok(TensorType::new(dtype, Shape::new(dims)?))
}

fn infer_conv(conv: &Conv, x: &TensorType, w: &TensorType) -> Result<TensorType, InferError> {
    require!(x.shape.rank() == 4, "convolution of {x}, which is not an image of rank 4");
    require!(w.shape.rank() == 4, "convolution weights {w} are not of rank 4");
    require!(x.dtype == w.dtype, "convolution of {x} by {w}: element types differ");
    let channels = x.shape[conv.layout.channel_axis()];
    let (out, per_group) = (w.shape[0], w.shape[1]);
    require!(
        conv.groups > 0 && channels.is_multiple_of(conv.groups) && out.is_multiple_of(conv.groups),
        "{} groups do not divide {channels} input and {out} output channels",
        conv.groups
    );
    require!(
        channels / conv.groups == per_group,
        "weights {w} take {per_group} channels a group, but the input has {}",
        channels / conv.groups
    );
    let [height, width] = conv.layout.spatial_axes().map(|a| x.shape[a]);
    let Padding { top, left, bottom, right } = conv.padding;
    let rows =
        window_positions(height, w.shape[2], conv.strides[0], conv.dilations[0], (top, bottom), false)?;
    let columns =
        window_positions(width, w.shape[3], conv.strides[1], conv.dilations[1], (left, right), false)?;
    image(x.dtype, conv.layout, x.shape[0], out, rows, columns)
}

fn infer_pool(pool: &Pool, x: &TensorType) -> Result<TensorType, InferError> {
    require!(x.shape.rank() == 4, "pooling of {x}, which is not an image of rank 4");
    let [height, width] = pool.layout.spatial_axes().map(|a| x.shape[a]);
    let Padding { top, left, bottom, right } = pool.padding;
    let mut positions = [0; 2];
    for (i, (extent, around)) in [(height, (top, bottom)), (width, (left, right))].into_iter().enumerate() {
        let (window, dilation) = (pool.window[i], pool.dilations[i]);
        positions[i] = window_positions(extent, window, pool.strides[i], dilation, around, pool.ceil_mode)?;
        let span = (window - 1).saturating_mul(dilation).saturating_add(1);
        require!(
            around.0 < span && around.1 < span,
            "pooling padding {} is as large as the window of {window}",
            pool.padding
        );
    }
    image(x.dtype, pool.layout, x.shape[0], x.shape[pool.layout.channel_axis()], positions[0], positions[1])
}

fn image(
    dtype: DType,
    layout: Layout,
    batch: usize,
    channels: usize,
    rows: usize,
    columns: usize,
) -> Result<TensorType, InferError> {
    let dims = match layout {
        Layout::Nchw => [batch, channels, rows, columns],
        Layout::Nhwc => [batch, rows, columns, channels],
    };
    Ok(TensorType::new(dtype, Shape::new(dims)?))
}

fn infer_matmul(
    transpose_a: bool,
    transpose_b: bool,
    a: &TensorType,
    b: &TensorType,
) -> Result<TensorType, InferError> {
    require!(a.dtype == b.dtype, "matmul of {a} and {b}: element types differ");
    require!(a.shape.rank() >= 2 && b.shape.rank() >= 2, "matmul of {a} and {b}: ranks below 2");
    let split = |t: &TensorType, transpose: bool| {
        let (lead, tail) = t.dims().split_at(t.shape.rank() - 2);
        let (r, c) = if transpose { (tail[1], tail[0]) } else { (tail[0], tail[1]) };
        (lead.to_vec(), r, c)
    };
    let (lead_a, m, k) = split(a, transpose_a);
    let (lead_b, k_b, n) = split(b, transpose_b);
    require!(k == k_b, "matmul of {a} and {b}: inner dimensions {k} and {k_b} differ");
    let mut dims = broadcast(&Shape::new(lead_a)?, &Shape::new(lead_b)?)?.dims().to_vec();
    dims.extend([m, n]);
    Ok(TensorType::new(a.dtype, Shape::new(dims)?))
}

fn infer_attention(
    scale: f32,
    [q, k, v]: [&TensorType; 3],
    mask: &[TensorType],
) -> Result<TensorType, InferError> {
    require!(scale.is_finite() && scale > 0.0, "attention with a scale of {scale}");
    let types = [q, k, v].into_iter().chain(mask);
    require!(types.clone().all(|ty| ty.dtype == DType::F32), "attention of other elements than f32");
    let (
        Some((lead_q, &[queries, width_q])),
        Some((lead_k, &[keys, width_k])),
        Some((lead_v, &[count, width])),
    ) = (q.dims().split_last_chunk(), k.dims().split_last_chunk(), v.dims().split_last_chunk())
    else {
        invalid!("attention of {q}, {k} and {v}: ranks below 2")
    };
    let fits = lead_q == lead_k && lead_q == lead_v && width_q == width_k && keys == count;
    require!(fits, "attention of queries {q}, keys {k} and values {v}");
    let scores = Shape::new([lead_q, &[queries, keys]].concat())?;
    for mask in mask {
        require!(broadcasts_to(&mask.shape, &scores), "attention with mask {mask} on scores of {scores}");
    }
    Ok(TensorType::new(q.dtype, Shape::new([lead_q, &[queries, width]].concat())?))
}

fn infer_concat(axis: usize, x: &TensorType, rest: &[TensorType]) -> Result<TensorType, InferError> {
    require!(axis < x.shape.rank(), "concatenation along axis {axis} of {x}");
    let mut dims = x.dims().to_vec();
    for other in rest {
        let fits = other.dtype == x.dtype
            && other.shape.rank() == dims.len()
            && other.dims().iter().zip(&dims).enumerate().all(|(i, (a, b))| i == axis || a == b);
        require!(fits, "{other} can't be concatenated to {x} along axis {axis}");
        let Some(sum) = dims[axis].checked_add(other.shape[axis]) else {
            invalid!("concatenation along axis {axis} overflows")
        };
        dims[axis] = sum;
    }
    Ok(TensorType::new(x.dtype, Shape::new(dims)?))
}

fn infer_slice(axes: &[SliceAxis], x: &TensorType) -> Result<TensorType, InferError> {
    require!(axes.len() == x.shape.rank(), "slice of {} axes of {x}", axes.len());
    for (axis, &extent) in axes.iter().zip(x.dims()) {
        require!(axis.step != 0, "slice with step 0");
        if axis.count == 0 {
            continue;
        }
        let last = (axis.count - 1).checked_mul(axis.step.unsigned_abs()).and_then(|d| match axis.step > 0 {
            true => axis.start.checked_add(d),
            false => axis.start.checked_sub(d),
        });
        let inside = axis.start < extent && last.is_some_and(|l| l < extent);
        require!(inside, "slice {axis:?} leaves a dimension of {extent}");
    }
    Ok(TensorType::new(x.dtype, Shape::new(axes.iter().map(|a| a.count).collect::<Vec<_>>())?))
}

fn infer_pad(
    amounts: &[(usize, usize)],
    mode: crate::op::PadMode,
    x: &TensorType,
) -> Result<TensorType, InferError> {
    use crate::op::PadMode;
    require!(amounts.len() == x.shape.rank(), "padding of {} axes of {x}", amounts.len());
    let mut dims = Vec::with_capacity(amounts.len());
    for (&(before, after), &extent) in amounts.iter().zip(x.dims()) {
        let possible = match mode {
            PadMode::Constant(_) => true,
            PadMode::Edge => extent > 0 || before + after == 0,
            PadMode::Reflect => before < extent.max(1) && after < extent.max(1),
        };
        require!(possible, "padding of {extent} elements by {before} and {after} in mode {mode:?}");
        let Some(dim) = extent.checked_add(before).and_then(|d| d.checked_add(after)) else {
            invalid!("padding by {before} and {after} overflows")
        };
        dims.push(dim);
    }
    Ok(TensorType::new(x.dtype, Shape::new(dims)?))
}
