//! The interpreter of the graph: what each operator means, and what a whole network gives.
//!
//! In come an operator or a [`avocet_ir::Graph`] and tensors; out come tensors. Every operator computes in f64 on values read as
//! f32 and rounds once, to f32, when it stores an element; an epilogue step counts as an operator of its own. Sums of
//! products are therefore exact to far below f32's precision, and the order of summation is of no account. Integer and
//! boolean tensors are understood where models compute shapes with them: all data movement, casts, and wrapping
//! arithmetic.
//!
//! Shapes and attributes are checked by [`avocet_ir::infer`] before anything is computed, so the operators' files (a
//! family each) take valid attributes for granted. NaN: every maximum and minimum (elementwise, reduction, pooling)
//! gives NaN when an element it covers is NaN, whatever the order of the elements.

mod arithmetic;
mod attention;
mod cast;
mod control;
mod conv;
mod elementwise;
mod gather;
mod indices;
mod matmul;
mod movement;
mod normalize;
mod parallel;
mod pool;
mod reduce;
mod resize;
mod run;
#[cfg(test)]
mod tests;

use avocet_ir::infer::{self, InferError};
use avocet_ir::{DType, Evaluate, Op, Shape, Tensor, TensorType};
use thiserror::Error;

pub use run::{RunError, run};

/// Why an operator could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvaluateError {
    /// The operator can't be applied to inputs of these types.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The operator is not defined here for this element type.
    #[error("{op} is not evaluated on elements of type {dtype}")]
    Unsupported {
        /// Name of the operator.
        op: &'static str,
        /// The element type.
        dtype: DType,
    },
    /// The result is larger than the interpreter is willing to allocate.
    #[error("the result of {op}, of shape {shape}, is too large to be evaluated")]
    TooLarge {
        /// Name of the operator.
        op: &'static str,
        /// Shape of the result.
        shape: Shape,
    },
    /// The operator has no value of its own: a network input is given, not computed.
    #[error("a network input has no value of its own")]
    Input,
}

/// Largest number of elements of a result. A hostile model can ask for far more than memory with one broadcast; the
/// weights of the largest layers of image networks (VGG-16's first dense layer) stay below 2^27.
const MAX_ELEMENTS: usize = 1 << 28;

/// The reference interpreter as the [`Evaluate`] that the driver hands to frontends and passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Evaluate for Reference {
    fn evaluate(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>, String> {
        evaluate(op, inputs).map(|output| vec![output]).map_err(|e| e.to_string())
    }
}

/// The result of one operator; every operator has exactly one.
pub fn evaluate(op: &Op, inputs: &[&Tensor]) -> Result<Tensor, EvaluateError> {
    let types: Vec<TensorType> = inputs.iter().map(|t| t.ty()).collect();
    let inferred = infer::infer(op, &types)?;
    let [output] = &inferred[..] else {
        return Err(InferError::Invalid(format!("{} has {} results", op.name(), inferred.len())).into());
    };
    if output.shape.elements() > MAX_ELEMENTS {
        return Err(EvaluateError::TooLarge { op: op.name(), shape: output.shape.clone() });
    }
    match (op, inputs) {
        (Op::Input(_), _) => Err(EvaluateError::Input),
        (Op::Constant(tensor), _) => Ok(tensor.clone()),
        (Op::Conv(conv), [x, w]) => f32_result(output, conv::conv(conv, op, x, w, output)?),
        (Op::MatMul { transpose_a, transpose_b }, [a, b]) => {
            let product = matmul::matmul(op, (a, *transpose_a), (b, *transpose_b), output)?;
            f32_result(output, product)
        }
        (Op::BatchNorm { epsilon, axis }, [x, scale, offset, mean, variance]) => {
            let parameters = [*scale, *offset, *mean, *variance];
            f32_result(output, normalize::batch_norm(op, x, parameters, *epsilon, *axis)?)
        }
        (Op::Pool(pool), [x]) => f32_result(output, pool::pool(pool, op, x, output)?),
        (Op::Reduce { kind, axes, .. }, [x]) => reduce::reduce(*kind, axes, op, x, output),
        (Op::Unary(unary), [x]) => elementwise::unary(*unary, x),
        (Op::Binary(binary), [a, b]) => elementwise::binary(*binary, a, b, &output.shape),
        (Op::Compare(comparison), [a, b]) => elementwise::compare(*comparison, a, b, &output.shape),
        (Op::Select, [condition, a, b]) => elementwise::select(op, condition, (a, b), &output.shape),
        (Op::ArgReduce { largest, axis, last }, [x]) => {
            indices::arg_reduce(x, *axis, *largest, *last, output)
        }
        (Op::Rank { largest, axis, count }, [x]) => indices::rank(x, *axis, *count, *largest, output),
        (Op::Cumulate { join, axis, exclusive, reverse }, [x]) => {
            indices::cumulate(op, x, *join, *axis, (*exclusive, *reverse))
        }
        (Op::Gather { axis }, [x, places]) => indices::gather(op, x, places, *axis, output),
        (Op::Scatter { join }, [x, places, rows]) => indices::scatter(op, x, places, rows, *join),
        (Op::Softmax { axis }, [x]) => f32_result(output, normalize::softmax(op, x, *axis)?),
        (Op::Normalize { epsilon, centered }, [x]) => {
            f32_result(output, normalize::normalize(op, x, *epsilon, *centered)?)
        }
        (Op::Attention { scale }, [q, k, v, masks @ ..]) => {
            let result = attention::attention(op, [q, k, v], masks, *scale, output)?;
            f32_result(output, result)
        }
        (Op::Transpose { perm }, [x]) => movement::transpose(x, perm, &output.shape),
        (Op::Reshape { shape }, [x]) => Ok(x.reshaped(shape.clone()).map_err(InferError::from)?),
        (Op::Broadcast { shape }, [x]) => movement::broadcast(x, shape),
        (Op::Concat { axis }, parts) => movement::concat(op, parts, *axis, output),
        (Op::Slice { axes }, [x]) => movement::slice(x, axes, &output.shape),
        (Op::Pad { amounts, mode }, [x]) => movement::pad(x, amounts, *mode, &output.shape),
        (Op::ChannelShuffle { groups, axis }, [x]) => movement::channel_shuffle(x, *groups, *axis),
        (Op::Resize(resize), [x]) => resize::resize(resize, op, x, output),
        (Op::Cast { to }, [x]) => cast::cast(x, *to),
        (Op::Bitcast { to }, [x]) => cast::bitcast(x, *to),
        (Op::Identity, [x]) => Ok((*x).clone()),
        // Inference has refused every other number of inputs; an error is still better than a panic.
        _ => Err(InferError::Invalid(format!("{} applied to {} inputs", op.name(), inputs.len())).into()),
    }
}

/// The elements of an f32 tensor, or the error that says which operator needs them.
fn f32_data<'a>(op: &Op, tensor: &'a Tensor) -> Result<&'a [f32], EvaluateError> {
    tensor.as_f32().ok_or(EvaluateError::Unsupported { op: op.name(), dtype: tensor.data().dtype() })
}

/// A tensor of the output's shape.
fn f32_result(output: &TensorType, data: Vec<f32>) -> Result<Tensor, EvaluateError> {
    Ok(Tensor::f32(output.dims(), data).map_err(InferError::from)?)
}
