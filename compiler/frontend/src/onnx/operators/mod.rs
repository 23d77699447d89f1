//! The operators that are imported: a table from ONNX names to functions, a family a file.
//!
//! An operator is added as one function and one line here. Where versions of an operator differ, its function asks
//! `importer.opset`.

mod attention;
mod blocks;
mod building;
mod constants;
mod control;
mod convolution;
mod determinant;
mod einsum;
mod elementwise;
mod gather;
mod logic;
mod losses;
mod movement;
mod normalization;
mod positions;
mod products;
mod quantization;
mod recurrent;
mod reductions;
mod resampling;
mod resize;
mod sampling;
mod shapes;
mod signals;
mod spatial;
mod states;
mod suppression;
mod unpooling;
mod volumes;

use std::ops::RangeInclusive;

use avocet_ir::Value;

use super::attributes::Problem;
use super::import::{Importer, Node, OPSETS};

/// Adds a node's operators to the graph and gives the values of its outputs; fewer than it has when the others are of no
/// use in inference.
pub(super) type Function = for<'a> fn(&mut Importer<'a>, &Node<'a>) -> Result<Vec<Value>, Problem>;

/// Operator sets that have an operator.
type Versions = RangeInclusive<i64>;

const ALL: Versions = OPSETS;

const fn since(first: i64) -> Versions {
    RangeInclusive::new(first, *OPSETS.end())
}

/// Operators by name: those operator sets that have it in a form that is imported, and its function.
const TABLE: &[(&str, Versions, Function)] = &[
    ("Abs", ALL, elementwise::unary),
    ("Acos", ALL, elementwise::unary),
    ("Acosh", since(9), elementwise::unary),
    ("Add", ALL, elementwise::binary),
    ("AffineGrid", since(20), sampling::affine_grid),
    ("And", ALL, logic::bits),
    ("ArgMax", ALL, positions::arg_reduce),
    ("ArgMin", ALL, positions::arg_reduce),
    ("Asin", ALL, elementwise::unary),
    ("Asinh", since(9), elementwise::unary),
    ("Atan", ALL, elementwise::unary),
    ("Atanh", since(9), elementwise::unary),
    ("Attention", since(23), attention::attention),
    ("AveragePool", ALL, spatial::pool),
    ("BatchNormalization", ALL, normalization::batch),
    ("BitCast", since(26), shapes::bit_cast),
    ("BitShift", since(11), logic::bits),
    ("BitwiseAnd", since(18), logic::bits),
    ("BitwiseNot", since(18), logic::bits),
    ("BitwiseOr", since(18), logic::bits),
    ("BitwiseXor", since(18), logic::bits),
    ("BlackmanWindow", since(17), signals::window),
    ("Cast", ALL, shapes::cast),
    ("CastLike", since(15), shapes::cast_like),
    ("CausalConvWithState", since(26), states::causal_conv),
    ("Ceil", ALL, elementwise::unary),
    ("Celu", since(12), elementwise::celu),
    ("CenterCropPad", since(18), movement::center_crop_pad),
    ("Clip", ALL, elementwise::clip),
    ("Col2Im", since(18), unpooling::col2im),
    ("Concat", ALL, movement::concat),
    ("Constant", ALL, constants::constant),
    ("ConstantOfShape", since(9), constants::constant_of_shape),
    ("Conv", ALL, spatial::conv),
    ("ConvInteger", since(10), quantization::conv),
    ("ConvTranspose", ALL, spatial::transposed),
    ("Cos", ALL, elementwise::unary),
    ("Cosh", since(9), elementwise::unary),
    ("CumProd", since(26), positions::cumulate),
    ("CumSum", since(11), positions::cumulate),
    ("DFT", since(17), signals::dft),
    ("DeformConv", since(19), sampling::deformed),
    ("DepthToSpace", ALL, blocks::depth_to_space),
    ("DequantizeLinear", since(10), quantization::dequantize),
    ("Det", since(11), determinant::determinant),
    ("Div", ALL, elementwise::binary),
    ("Dropout", ALL, movement::dropout),
    ("DynamicQuantizeLinear", since(11), quantization::dynamic),
    ("Einsum", since(12), einsum::einsum),
    ("Elu", ALL, elementwise::unary),
    ("Equal", ALL, logic::compare),
    ("Erf", since(9), elementwise::unary),
    ("Exp", ALL, elementwise::unary),
    ("Expand", since(8), movement::expand),
    ("EyeLike", since(9), positions::eye_like),
    ("Flatten", ALL, shapes::flatten),
    ("Floor", ALL, elementwise::unary),
    ("GRU", ALL, recurrent::gru),
    ("Gather", ALL, gather::gather),
    ("GatherElements", since(11), positions::gather_elements),
    ("GatherND", since(11), positions::gather_nd),
    ("Gelu", since(20), elementwise::gelu),
    ("Gemm", ALL, products::gemm),
    ("GlobalAveragePool", ALL, reductions::global),
    ("GlobalMaxPool", ALL, reductions::global),
    ("Greater", ALL, logic::compare),
    ("GreaterOrEqual", since(12), logic::compare),
    ("GridSample", since(16), sampling::grid_sample),
    ("GroupNormalization", since(21), normalization::group),
    ("HammingWindow", since(17), signals::window),
    ("HannWindow", since(17), signals::window),
    ("HardSigmoid", ALL, elementwise::unary),
    ("HardSwish", since(14), elementwise::unary),
    ("Hardmax", ALL, positions::hardmax),
    ("Identity", ALL, movement::identity),
    ("If", ALL, control::choice),
    ("InstanceNormalization", ALL, normalization::instance),
    ("IsInf", since(10), logic::is_inf),
    ("IsNaN", since(9), logic::is_nan),
    ("LRN", ALL, normalization::local_response),
    ("LSTM", ALL, recurrent::lstm),
    ("LayerNormalization", since(17), normalization::layer),
    ("LeakyRelu", ALL, elementwise::unary),
    ("Less", ALL, logic::compare),
    ("LessOrEqual", since(12), logic::compare),
    ("LinearAttention", since(26), states::linear_attention),
    ("Log", ALL, elementwise::unary),
    ("LogSoftmax", ALL, reductions::softmax),
    ("Loop", ALL, control::repetition),
    ("LpNormalization", ALL, normalization::by_norm),
    ("LpPool", ALL, spatial::lp_pool),
    ("MatMul", ALL, products::matmul),
    ("MatMulInteger", since(10), quantization::matmul),
    ("Max", ALL, elementwise::variadic),
    ("MaxPool", ALL, spatial::pool),
    ("MaxUnpool", since(9), unpooling::unpool),
    ("Mean", ALL, elementwise::variadic),
    ("MeanVarianceNormalization", since(9), normalization::mean_variance),
    ("MelWeightMatrix", since(17), signals::mel_weights),
    ("Min", ALL, elementwise::variadic),
    ("Mish", since(18), elementwise::mish),
    ("Mod", since(10), logic::remainder),
    ("Mul", ALL, elementwise::binary),
    ("Neg", ALL, elementwise::unary),
    ("NegativeLogLikelihoodLoss", since(12), losses::negative_log_likelihood),
    ("NonMaxSuppression", since(10), suppression::select),
    ("Not", ALL, logic::bits),
    ("OneHot", since(9), positions::one_hot),
    ("OptionalGetElement", since(15), movement::identity),
    ("OptionalHasElement", since(15), constants::has_element),
    ("Or", ALL, logic::bits),
    ("PRelu", ALL, elementwise::prelu),
    ("Pad", ALL, movement::pad),
    ("Pow", ALL, elementwise::binary),
    ("QLinearConv", since(10), quantization::linear_conv),
    ("QLinearMatMul", since(10), quantization::linear_matmul),
    ("QuantizeLinear", since(10), quantization::quantize),
    ("RMSNormalization", since(23), normalization::root_mean_square),
    ("RNN", ALL, recurrent::plain),
    ("Range", since(11), constants::range),
    ("Reciprocal", ALL, elementwise::unary),
    ("ReduceL1", ALL, reductions::reduce),
    ("ReduceL2", ALL, reductions::reduce),
    ("ReduceLogSum", ALL, reductions::reduce),
    ("ReduceLogSumExp", ALL, reductions::reduce),
    ("ReduceMax", ALL, reductions::reduce),
    ("ReduceMean", ALL, reductions::reduce),
    ("ReduceMin", ALL, reductions::reduce),
    ("ReduceProd", ALL, reductions::reduce),
    ("ReduceSum", ALL, reductions::reduce),
    ("ReduceSumSquare", ALL, reductions::reduce),
    ("Relu", ALL, elementwise::unary),
    ("Reshape", ALL, shapes::reshape),
    ("Resize", since(10), resize::resize),
    ("ReverseSequence", since(10), positions::reverse_sequence),
    ("RoiAlign", since(10), sampling::roi_align),
    ("RotaryEmbedding", since(23), attention::rotary),
    ("Round", since(11), elementwise::unary),
    ("STFT", since(17), signals::stft),
    ("Scan", since(8), control::scan),
    ("Scatter", 9..=10, positions::scatter_elements),
    ("ScatterElements", since(11), positions::scatter_elements),
    ("ScatterND", since(11), positions::scatter_nd),
    ("Selu", ALL, elementwise::selu),
    ("Shape", ALL, shapes::shape),
    ("Shrink", since(9), logic::shrink),
    ("Sigmoid", ALL, elementwise::unary),
    ("Sign", since(9), elementwise::unary),
    ("Sin", ALL, elementwise::unary),
    ("Sinh", since(9), elementwise::unary),
    ("Size", ALL, shapes::size),
    ("Slice", ALL, movement::slice),
    ("Softmax", ALL, reductions::softmax),
    ("SoftmaxCrossEntropyLoss", since(12), losses::softmax_cross_entropy),
    ("Softplus", ALL, elementwise::unary),
    ("Softsign", ALL, elementwise::softsign),
    ("SpaceToDepth", ALL, blocks::space_to_depth),
    ("Split", ALL, movement::split),
    ("Sqrt", ALL, elementwise::unary),
    ("Squeeze", ALL, shapes::squeeze),
    ("Sub", ALL, elementwise::binary),
    ("Sum", ALL, elementwise::variadic),
    ("SwiGLU", since(26), elementwise::swiglu),
    ("Swish", since(24), elementwise::swish),
    ("Tan", ALL, elementwise::unary),
    ("Tanh", ALL, elementwise::unary),
    ("TensorScatter", since(24), states::tensor_scatter),
    ("ThresholdedRelu", since(10), logic::thresholded_relu),
    ("Tile", ALL, movement::tile),
    ("TopK", ALL, positions::top_k),
    ("Transpose", ALL, movement::transpose),
    ("Trilu", since(14), positions::trilu),
    ("Unsqueeze", ALL, shapes::unsqueeze),
    ("Upsample", 7..=9, resize::resize),
    ("Where", since(9), logic::select),
    ("Xor", ALL, logic::bits),
];

/// The function of an operator, or why there is none; an empty text when nobody knows the operator.
pub(super) fn find(operator: &str, opset: i64) -> Result<Function, String> {
    let Ok(row) = TABLE.binary_search_by(|(name, ..)| (*name).cmp(operator)) else {
        return Err(String::new());
    };
    let (_, versions, function) = &TABLE[row];
    match versions.contains(&opset) {
        true => Ok(*function),
        false => {
            let (first, last) = (versions.start(), versions.end());
            Err(format!("supported in operator sets {first} to {last}, but the model is of {opset}"))
        }
    }
}

/// An axis counted from the end when negative.
fn axis(value: i64, rank: usize) -> Result<usize, Problem> {
    let wrapped = if value < 0 { value.checked_add(rank as i64) } else { Some(value) };
    match wrapped.and_then(|v| usize::try_from(v).ok()).filter(|&v| v < rank) {
        Some(axis) => Ok(axis),
        None => super::attributes::invalid(format!("axis {value} of a tensor of rank {rank}")),
    }
}

/// Sorted axes, each once.
fn axes(values: &[i64], rank: usize) -> Result<Vec<usize>, Problem> {
    let mut axes = values.iter().map(|&v| axis(v, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    if axes.len() != values.len() {
        return super::attributes::invalid(format!("axes {values:?} repeat"));
    }
    Ok(axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_operator_once() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn operators_are_found_in_their_versions() {
        assert!(find("Relu", 7).is_ok() && find("Upsample", 9).is_ok() && find("Gelu", 20).is_ok());
        assert_eq!(find("Nonsense", 13).err(), Some(String::new()));
        assert!(find("Upsample", 10).is_err_and(|e| e.contains("7 to 9")));
        assert!(find("Gelu", 19).is_err_and(|e| e.contains("20 to 28")));
    }

    #[test]
    fn axes_count_from_either_end() {
        assert_eq!(axes(&[-1, 0], 3), Ok(vec![0, 2]));
        assert!(axes(&[0, -3], 3).is_err());
        assert!(axis(3, 3).is_err() && axis(i64::MIN, 3).is_err());
    }
}
