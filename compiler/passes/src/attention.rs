//! Makes one operator of attention that is written out: two matrix products with a softmax between.
//!
//! `softmax(q k^T * scale + masks) v`. Exporters put the scale on the scores, on the queries, or as its root on queries and keys;
//! keys come transposed or not; masks may be added to the scores. The matrix of scores, which is the largest tensor of all,
//! is never stored then.

use avocet_ir::op::{Binary, Op};
use avocet_ir::{DType, Graph, NodeId, Shape, Value, infer};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{plain_binary, plain_reshape, scalar, substitute, with_scalar};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let Some(found) = find(graph, id) else { continue };
        match found.and_then(|attention| check(graph, attention)) {
            Ok(attention) => {
                replace(graph, id, attention)?;
                outcome.changes += 1;
            }
            Err(reason) => outcome.note(&graph.node(id).name, format!("no attention: {reason}")),
        }
    }
    Ok(outcome)
}

/// An operand of a product, and whether its last two dimensions are to be exchanged for it to be rows of queries, keys or
/// values.
#[derive(Clone, Copy)]
struct Rows {
    value: Value,
    swapped: bool,
}

struct Attention {
    q: Rows,
    k: Rows,
    v: Rows,
    scale: f32,
    masks: Vec<Mask>,
    /// Whether the result's last two dimensions are to be exchanged.
    turned: bool,
    /// Where queries get nothing, of a dimension for the keys that is one.
    blind: Option<Value>,
}

/// The two operands of a product without an epilogue, as rows.
fn product(graph: &Graph, id: NodeId) -> Option<[Rows; 2]> {
    let node = graph.node(id);
    let (Op::MatMul { transpose_a, transpose_b }, true) = (&node.op, node.epilogue.is_empty()) else {
        return None;
    };
    let inputs = graph.inputs(id);
    // The right operand's rows are what is summed over.
    Some([Rows { value: inputs[0], swapped: *transpose_a }, Rows { value: inputs[1], swapped: *transpose_b }])
}

/// The node that makes a value, if nothing but one node reads it.
fn single(graph: &Graph, value: Value) -> Option<NodeId> {
    (graph.only_user(value).is_some() && graph.node(value.node).epilogue.is_empty()).then_some(value.node)
}

/// Attention whose last product is this node: none where there is no softmax before it, and why it is none where there is.
fn find(graph: &Graph, id: NodeId) -> Option<Result<Attention, &'static str>> {
    let [left, right] = product(graph, id)?;
    // Where channels are rows the product is that of values and weights, `v w^T`.
    let is_weights = |rows: Rows, swapped: bool| {
        let op = &graph.node(rows.value.node).op;
        rows.swapped == swapped && matches!(op, Op::Softmax { .. } | Op::Select)
    };
    let (weights, v, turned) = match (is_weights(left, false), is_weights(right, true)) {
        (true, _) => (left, right, false),
        (false, true) => (right, Rows { swapped: !left.swapped, ..left }, true),
        (false, false) => return None,
    };
    let mut softmax = weights.value;
    // Weights of queries that may see no key are set to zero in ONNX's own attention.
    let mut blind = None;
    if let (Op::Select, Some(_)) = (&graph.node(softmax.node).op, single(graph, softmax)) {
        let inputs = graph.inputs(softmax.node);
        let fits = scalar(graph, inputs[1]) == Some(0.0) && graph.ty(inputs[0]).dims().last() == Some(&1);
        if !fits {
            return None;
        }
        (blind, softmax) = (Some(inputs[0]), inputs[2]);
    }
    let Op::Softmax { axis } = graph.node(softmax.node).op else { return None };
    if axis + 1 != graph.ty(softmax).shape.rank() {
        return None;
    }
    Some(scores(graph, softmax, v, blind).map(|attention| Attention { turned, ..attention }))
}

/// A mask, and the shape that it broadcasts to the scores with.
type Mask = (Value, Shape);

/// What becomes of the product of queries and keys.
#[derive(Clone)]
struct Scores {
    scale: f32,
    /// The last that is added comes first.
    masks: Vec<Mask>,
    /// Steps that were looked through.
    steps: usize,
}

fn scores(graph: &Graph, softmax: Value, v: Rows, blind: Option<Value>) -> Result<Attention, &'static str> {
    single(graph, softmax).ok_or(ELSEWHERE)?;
    let plain = Scores { scale: 1.0, masks: Vec::new(), steps: 0 };
    let ([q, k], Scores { scale, mut masks, .. }) = walk(graph, graph.inputs(softmax.node)[0], plain)?;
    masks.reverse();
    // Rows of the right operand are elements of keys, but where it is transposed.
    let k = Rows { swapped: !k.swapped, ..k };
    let mut attention = Attention { q, k, v, scale, masks, turned: false, blind };
    for rows in [&mut attention.q, &mut attention.k] {
        while let Some((factor, inner)) = scaled(graph, rows.value) {
            (attention.scale, rows.value) = (attention.scale * factor, inner);
        }
    }
    Ok(attention)
}

const ELSEWHERE: &str = "what is between the products is used elsewhere";
const OTHER: &str = "the scores are not a product, scaled and masked";
/// Most masks that the operator takes, and most steps that are looked through.
const MASKS: usize = 2;
const STEPS: usize = 16;

/// From scores up to the product of queries and keys.
fn walk(graph: &Graph, value: Value, after: Scores) -> Result<([Rows; 2], Scores), &'static str> {
    let id = single(graph, value).ok_or(ELSEWHERE)?;
    let after = Scores { steps: after.steps + 1, ..after };
    if after.steps > STEPS {
        return Err(OTHER);
    }
    if let Some(product) = product(graph, id) {
        return Ok((product, after));
    }
    if let Some((factor, inner)) = scaled(graph, value) {
        return walk(graph, inner, Scores { scale: after.scale * factor, ..after });
    }
    let shape = &graph.ty(value).shape;
    if let Some(inner) = plain_reshape(graph, id) {
        let from = &graph.ty(inner).shape;
        let masks = after.masks.iter().map(|(mask, own)| Some((*mask, reshaped(own, shape, from)?)));
        let masks: Option<Vec<Mask>> = masks.collect();
        return walk(graph, inner, Scores { masks: masks.ok_or(OTHER)?, ..after });
    }
    // What the scores are multiplied by after a mask was added would have to be on the mask, too.
    if plain_binary(graph, id) != Some(Binary::Add) || after.masks.len() == MASKS || after.scale != 1.0 {
        return Err(OTHER);
    }
    let inputs = graph.inputs(id);
    let mut found = Err(OTHER);
    for (scores, mask) in [(inputs[0], inputs[1]), (inputs[1], inputs[0])] {
        let own = &graph.ty(mask).shape;
        if found.is_err() && graph.ty(scores).shape == *shape && infer::broadcasts_to(own, shape) {
            let mut after = after.clone();
            after.masks.push((mask, own.clone()));
            found = walk(graph, scores, after);
        }
    }
    found
}

/// The shape of a mask of scores `from` on the same scores as `to`, when they differ in dimensions of one only.
fn reshaped(mask: &Shape, from: &Shape, to: &Shape) -> Option<Shape> {
    let wide = |shape: &Shape| shape.dims().iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
    if wide(from) != wide(to) {
        return None;
    }
    let missing = from.rank() - mask.rank();
    let extent = |axis: usize| axis.checked_sub(missing).map_or(1, |own| mask[own]);
    let mut extents = (0..from.rank()).filter(|&axis| from[axis] != 1).map(extent);
    let dims: Option<Vec<usize>> =
        to.dims().iter().map(|&d| if d == 1 { Some(1) } else { extents.next() }).collect();
    Shape::new(dims?).ok()
}

/// A value as another one times a number.
fn scaled(graph: &Graph, value: Value) -> Option<(f32, Value)> {
    let product = with_scalar(graph, value.node)?;
    match (product.op, product.swapped) {
        (Binary::Mul, _) => Some((product.scalar, product.value)),
        (Binary::Div, false) => Some((1.0 / product.scalar, product.value)),
        _ => None,
    }
}

/// Whether the operator can say it.
fn check(graph: &Graph, attention: Attention) -> Result<Attention, &'static str> {
    let Attention { q, k, v, scale, .. } = attention;
    if !scale.is_finite() || scale <= 0.0 {
        return Err("the scale is not above 0");
    }
    let all = [q, k, v].map(|rows| graph.ty(rows.value));
    let lead = |shape: &Shape| shape.dims()[..shape.rank() - 2].to_vec();
    if all.iter().any(|ty| lead(&ty.shape) != lead(&all[0].shape)) {
        return Err("queries, keys and values have different leading dimensions");
    }
    if all.iter().any(|ty| ty.dtype != DType::F32 || ty.shape.elements() == 0) {
        return Err("it is of no f32 elements");
    }
    // Constant matrices are packed when the network is compiled, and attention would do that each time.
    if [k, v].iter().any(|rows| graph.as_constant(rows.value).is_some()) {
        return Err("keys or values are constant");
    }
    Ok(attention)
}

fn replace(graph: &mut Graph, id: NodeId, attention: Attention) -> Result<(), PassError> {
    let Attention { q, k, v, scale, masks, turned, blind } = attention;
    let name = graph.node(id).name.clone();
    let mut inputs = Vec::new();
    let rank = graph.ty(q.value).shape.rank();
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    for Rows { value, swapped } in [q, k, v] {
        let perm = perm.clone();
        inputs.push(match swapped {
            true => graph.add(format!("{name}.rows"), Op::Transpose { perm }, &[value])?,
            false => value,
        });
    }
    for (mask, shape) in masks {
        inputs.push(match graph.ty(mask).shape == shape {
            true => mask,
            false => graph.add(format!("{name}.mask"), Op::Reshape { shape }, &[mask])?,
        });
    }
    let mut result = graph.add(name.clone(), Op::Attention { scale }, &inputs)?;
    if let Some(blind) = blind {
        let zero = graph.constant(format!("{name}.nothing"), avocet_ir::Tensor::scalar_f32(0.0));
        result = graph.add(format!("{name}.blind"), Op::Select, &[blind, zero, result])?;
    }
    if turned {
        result = graph.add(format!("{name}.turned"), Op::Transpose { perm }, &[result])?;
    }
    substitute(graph, id, result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    const PRODUCT: Op = Op::MatMul { transpose_a: false, transpose_b: false };
    const BY_ROWS: Op = Op::MatMul { transpose_a: false, transpose_b: true };

    /// The forms of exporters: the root of the scale on queries and keys; the scale on the scores, a mask, keys in columns.
    #[test]
    fn attention_as_exporters_write_it() {
        let mut net = Network::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| net.input(name, [2, 5, 4]));
        let root = net.scalar(0.5);
        let [q, k] = [q, k].map(|value| net.binary(Binary::Mul, value, root));
        let scores = net.add(BY_ROWS, &[q, k]);
        let weights = net.add(Op::Softmax { axis: 2 }, &[scores]);
        let y = net.add(PRODUCT, &[weights, v]);
        let (after, _) = check(run, &net.finish(y));
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,5,4] ; q
          %1 = input : f32[2,5,4] ; k
          %2 = input : f32[2,5,4] ; v
          %3 = attention %0, %1, %2 {scale=0.25} : f32[2,5,4] ; n5
          return %3 "y"
        "#);
        let mut net = Network::new();
        let (q, k, v) = (net.input("q", [2, 5, 4]), net.input("k", [2, 4, 6]), net.input("v", [2, 6, 3]));
        let (scale, mask) = (net.scalar(2.0), net.input("mask", [5, 6]));
        let scores = net.add(PRODUCT, &[q, k]);
        let scores = net.binary(Binary::Div, scores, scale);
        let scores = net.binary(Binary::Add, mask, scores);
        let weights = net.add(Op::Softmax { axis: 2 }, &[scores]);
        let y = net.add(PRODUCT, &[weights, v]);
        let (after, _) = check(run, &net.finish(y));
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,5,4] ; q
          %1 = input : f32[2,4,6] ; k
          %2 = input : f32[2,6,3] ; v
          %3 = input : f32[5,6] ; mask
          %4 = transpose %1 {perm=[0,2,1]} : f32[2,6,4] ; n5.rows
          %5 = attention %0, %4, %2, %3 {scale=0.5} : f32[2,5,3] ; n5
          return %5 "y"
        "#);
    }

    /// ONNX's own attention: queries that may see no key get zeros.
    #[test]
    fn queries_that_see_nothing() {
        let mut net = Network::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| net.input(name, [2, 5, 4]));
        let scores = net.add(BY_ROWS, &[q, k]);
        let weights = net.add(Op::Softmax { axis: 2 }, &[scores]);
        let (zero, limit) = (net.scalar(0.0), net.input("limit", [5, 1]));
        let blind = net.add(Op::Compare(avocet_ir::op::Comparison::Less), &[limit, zero]);
        let weights = net.add(Op::Select, &[blind, zero, weights]);
        let y = net.add(PRODUCT, &[weights, v]);
        let (after, _) = check(run, &net.finish(y));
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,5,4] ; q
          %1 = input : f32[2,5,4] ; k
          %2 = input : f32[2,5,4] ; v
          %3 = constant [0.0] : f32[]
          %4 = input : f32[5,1] ; limit
          %5 = less %4, %3 : bool[5,1] ; n3
          %6 = attention %0, %1, %2 {scale=1} : f32[2,5,4] ; n5
          %7 = constant [0.0] : f32[] ; n5.nothing
          %8 = select %5, %7, %6 : f32[2,5,4] ; n5.blind
          return %8 "y"
        "#);
    }

    /// Two masks, one of them on scores of another shape, as attention in windows has them.
    #[test]
    fn two_masks() {
        let mut net = Network::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| net.input(name, [4, 2, 3, 8]));
        let bias = net.input("bias", [2, 3, 3]);
        let windows = net.input("windows", [1, 4, 1, 3, 3]);
        let scores = net.add(BY_ROWS, &[q, k]);
        let scores = net.binary(Binary::Add, scores, bias);
        let scores = net.reshape(scores, [1, 4, 2, 3, 3]);
        let scores = net.binary(Binary::Add, windows, scores);
        let scores = net.reshape(scores, [4, 2, 3, 3]);
        let weights = net.add(Op::Softmax { axis: 3 }, &[scores]);
        let y = net.add(PRODUCT, &[weights, v]);
        let (after, _) = check(run, &net.finish(y));
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[4,2,3,8] ; q
          %1 = input : f32[4,2,3,8] ; k
          %2 = input : f32[4,2,3,8] ; v
          %3 = input : f32[2,3,3] ; bias
          %4 = input : f32[1,4,1,3,3] ; windows
          %5 = reshape %4 {shape=[4,1,3,3]} : f32[4,1,3,3] ; n7.mask
          %6 = attention %0, %1, %2, %3, %5 {scale=1} : f32[4,2,3,8] ; n7
          return %6 "y"
        "#);
    }

    /// Channels as rows: queries and keys are columns, and the result is `v w^T`.
    #[test]
    fn channels_as_rows() {
        let mut net = Network::new();
        let (q, k, v) = (net.input("q", [2, 4, 5]), net.input("k", [2, 4, 6]), net.input("v", [2, 3, 6]));
        let scores = net.add(Op::MatMul { transpose_a: true, transpose_b: false }, &[q, k]);
        let weights = net.add(Op::Softmax { axis: 2 }, &[scores]);
        let y = net.add(BY_ROWS, &[v, weights]);
        let (after, _) = check(run, &net.finish(y));
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,4,5] ; q
          %1 = input : f32[2,4,6] ; k
          %2 = input : f32[2,3,6] ; v
          %3 = transpose %0 {perm=[0,2,1]} : f32[2,5,4] ; n3.rows
          %4 = transpose %1 {perm=[0,2,1]} : f32[2,6,4] ; n3.rows
          %5 = transpose %2 {perm=[0,2,1]} : f32[2,6,3] ; n3.rows
          %6 = attention %3, %4, %5 {scale=1} : f32[2,5,3] ; n3
          %7 = transpose %6 {perm=[0,2,1]} : f32[2,3,5] ; n3.turned
          return %7 "y"
        "#);
    }

    #[test]
    fn what_stays() {
        // A scale after the mask; scores that something else reads; constant keys.
        let mut net = Network::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| net.input(name, [5, 5]));
        let scale = net.scalar(2.0);
        let scores = net.add(BY_ROWS, &[q, k]);
        let masked = net.binary(Binary::Add, scores, k);
        let masked = net.binary(Binary::Mul, masked, scale);
        let weights = net.add(Op::Softmax { axis: 1 }, &[masked]);
        let a = net.add(PRODUCT, &[weights, v]);
        let weights = net.add(Op::Softmax { axis: 1 }, &[a]);
        let b = net.add(PRODUCT, &[weights, a]);
        let keys = net.random([5, 5]);
        let scores = net.add(PRODUCT, &[b, keys]);
        let weights = net.add(Op::Softmax { axis: 1 }, &[scores]);
        let y = net.add(PRODUCT, &[weights, b]);
        let (_, outcome) = check(run, &net.finish(y));
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n5': no attention: the scores are not a product, scaled and masked
          'n7': no attention: what is between the products is used elsewhere
          'n11': no attention: keys or values are constant
        "#);
    }
}
