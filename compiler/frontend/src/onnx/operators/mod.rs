//! The operators that are imported: a table from ONNX names to functions, a family a file.
//!
//! An operator is added as one function and one line here. Where versions of an operator differ, its function asks
//! `importer.opset`.

mod constants;
mod elementwise;
mod movement;
mod products;
mod reductions;
mod shapes;
mod spatial;

use avocet_ir::Value;

use super::attributes::Problem;
use super::import::{Importer, Node};

/// Adds a node's operators to the graph and gives the values of its outputs; fewer than it has when the others are of no
/// use in inference.
type Function = fn(&mut Importer, &Node) -> Result<Vec<Value>, Problem>;

const TABLE: &[(&str, Function)] = &[
    ("Abs", elementwise::unary),
    ("Add", elementwise::binary),
    ("And", constants::fold),
    ("AveragePool", spatial::pool),
    ("BatchNormalization", spatial::batch_norm),
    ("Cast", shapes::cast),
    ("Ceil", elementwise::unary),
    ("Clip", elementwise::clip),
    ("Concat", movement::concat),
    ("Constant", constants::constant),
    ("ConstantOfShape", constants::constant_of_shape),
    ("Conv", spatial::conv),
    ("DepthToSpace", movement::depth_to_space),
    ("Div", elementwise::binary),
    ("Dropout", movement::identity),
    ("Elu", elementwise::unary),
    ("Equal", constants::fold),
    ("Erf", elementwise::unary),
    ("Exp", elementwise::unary),
    ("Expand", movement::expand),
    ("Flatten", shapes::flatten),
    ("Floor", elementwise::unary),
    ("Gather", movement::gather),
    ("Gelu", elementwise::gelu),
    ("Gemm", products::gemm),
    ("GlobalAveragePool", reductions::global),
    ("GlobalMaxPool", reductions::global),
    ("Greater", constants::fold),
    ("HardSigmoid", elementwise::unary),
    ("HardSwish", elementwise::unary),
    ("Identity", movement::identity),
    ("LeakyRelu", elementwise::unary),
    ("Less", constants::fold),
    ("Log", elementwise::unary),
    ("LogSoftmax", reductions::softmax),
    ("MatMul", products::matmul),
    ("Max", elementwise::variadic),
    ("MaxPool", spatial::pool),
    ("Mean", elementwise::variadic),
    ("Min", elementwise::variadic),
    ("Mish", elementwise::mish),
    ("Mod", constants::fold),
    ("Mul", elementwise::binary),
    ("Neg", elementwise::unary),
    ("Not", constants::fold),
    ("Or", constants::fold),
    ("PRelu", elementwise::prelu),
    ("Pad", movement::pad),
    ("Pow", elementwise::binary),
    ("Range", constants::range),
    ("Reciprocal", elementwise::unary),
    ("ReduceMax", reductions::reduce),
    ("ReduceMean", reductions::reduce),
    ("ReduceMin", reductions::reduce),
    ("ReduceProd", constants::reduce_prod),
    ("ReduceSum", reductions::reduce),
    ("Relu", elementwise::unary),
    ("Reshape", shapes::reshape),
    ("Resize", spatial::resize),
    ("Selu", elementwise::selu),
    ("Shape", shapes::shape),
    ("Sigmoid", elementwise::unary),
    ("Size", shapes::size),
    ("Slice", movement::slice),
    ("Softmax", reductions::softmax),
    ("Softplus", elementwise::unary),
    ("Softsign", elementwise::softsign),
    ("SpaceToDepth", movement::space_to_depth),
    ("Split", movement::split),
    ("Sqrt", elementwise::unary),
    ("Squeeze", shapes::squeeze),
    ("Sub", elementwise::binary),
    ("Sum", elementwise::variadic),
    ("Tanh", elementwise::unary),
    ("Tile", movement::tile),
    ("Transpose", movement::transpose),
    ("Unsqueeze", shapes::unsqueeze),
    ("Upsample", spatial::resize),
    ("Where", constants::fold),
];

/// The function of an operator.
pub(super) fn find(operator: &str) -> Option<Function> {
    TABLE.iter().find(|(name, _)| *name == operator).map(|(_, function)| *function)
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
    fn axes_count_from_either_end() {
        assert_eq!(axes(&[-1, 0], 3), Ok(vec![0, 2]));
        assert!(axes(&[0, -3], 3).is_err());
        assert!(axis(3, 3).is_err() && axis(i64::MIN, 3).is_err());
    }
}
