//! Takes transpositions into the matrix products that follow.
//!
//! A dense layer after `transpose - flatten` (VGG, AlexNet: NHWC features flattened in NCHW order) gets the rows of its
//! constant weights permuted instead. A transposition of an operand's last two dimensions becomes the product's own
//! `transpose_a` or `transpose_b`.

use avocet_ir::op::Op;
use avocet_ir::{Graph, NodeId, Shape, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{inverse, plain_reshape, plain_transpose, swaps_last_two};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let node = graph.node(id);
        if !matches!(node.op, Op::MatMul { .. }) || !node.epilogue.is_empty() {
            continue;
        }
        let mut applied = permute_rows(graph, id, &mut outcome)?;
        for operand in 0..2 {
            applied |= absorb_swap(graph, id, operand)?;
        }
        outcome.changes += usize::from(applied);
    }
    Ok(outcome)
}

/// Permutes constant weights after a transposed and flattened first operand.
fn permute_rows(graph: &mut Graph, id: NodeId, outcome: &mut Outcome) -> Result<bool, PassError> {
    let inputs = graph.inputs(id);
    let Op::MatMul { transpose_a: false, transpose_b } = graph.node(id).op else { return Ok(false) };
    let Some(transposed) = plain_reshape(graph, inputs[0].node) else { return Ok(false) };
    let Some((perm, source)) = plain_transpose(graph, transposed.node) else { return Ok(false) };
    let weights = inputs[1];
    let name = graph.node(id).name.clone();
    let weights_dims = graph.ty(weights).dims().to_vec();
    if graph.as_constant(weights).is_none() || weights_dims.len() != 2 {
        outcome.note(&name, "rows not permuted: the weights are not a constant matrix");
        return Ok(false);
    }
    let (features, flat) = (graph.ty(transposed).dims().to_vec(), graph.ty(inputs[0]).clone());
    // Leading dimensions that neither the transposition nor the reshape touches, then one flat dimension.
    let lead = flat.shape.rank() - 1;
    let flattened = lead < features.len()
        && features[..lead] == flat.dims()[..lead]
        && perm[..lead].iter().copied().eq(0..lead);
    if !flattened {
        outcome.note(
            &name,
            format!("rows not permuted: {features:?} becomes {}, no plain flattening", flat.shape),
        );
        return Ok(false);
    }
    // Permutation of the flattened dimensions alone: the features' order in the model from that in the source.
    let within: Vec<usize> = perm[lead..].iter().map(|p| p - lead).collect();
    let rows = &features[lead..];
    let columns = weights_dims[usize::from(!transpose_b)];
    let (split, order) = match transpose_b {
        false => {
            let order = inverse(&within).into_iter().chain([rows.len()]).collect::<Vec<_>>();
            ([rows, &[columns]].concat(), order)
        }
        true => {
            let order = [0].into_iter().chain(inverse(&within).into_iter().map(|p| p + 1)).collect();
            ([&[columns], rows].concat(), order)
        }
    };
    let weights_name = graph.node(weights.node).name.clone();
    let add = |graph: &mut Graph, op: Op, value: Value| graph.add(weights_name.clone(), op, &[value]);
    let mut value = add(graph, Op::Reshape { shape: Shape::new(split)? }, weights)?;
    value = add(graph, Op::Transpose { perm: order }, value)?;
    value = add(graph, Op::Reshape { shape: Shape::new(weights_dims)? }, value)?;
    let flat_name = graph.node(inputs[0].node).name.clone();
    let flat = graph.add(flat_name, Op::Reshape { shape: flat.shape }, &[source])?;
    let op = graph.node(id).op.clone();
    graph.replace(id, op, &[flat, value])?;
    Ok(true)
}

/// Takes a transposition of an operand's last two dimensions into the product.
fn absorb_swap(graph: &mut Graph, id: NodeId, operand: usize) -> Result<bool, PassError> {
    let mut inputs = graph.inputs(id);
    let Op::MatMul { mut transpose_a, mut transpose_b } = graph.node(id).op else { return Ok(false) };
    let Some((perm, source)) = plain_transpose(graph, inputs[operand].node) else { return Ok(false) };
    // A transposed constant is folded.
    if !swaps_last_two(&perm) || graph.as_constant(source).is_some() {
        return Ok(false);
    }
    match operand {
        0 => transpose_a = !transpose_a,
        _ => transpose_b = !transpose_b,
    }
    inputs[operand] = source;
    graph.replace(id, Op::MatMul { transpose_a, transpose_b }, &inputs)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn features_flattened_in_the_models_order() {
        for transpose_b in [false, true] {
            let mut net = Network::new();
            let x = net.input("x", [2, 3, 4, 5]);
            let image = net.transpose(x, &[0, 3, 1, 2]);
            let flat = net.reshape(image, [2, 60]);
            let weights = net.random(if transpose_b { [7, 60] } else { [60, 7] });
            let y = net.add(Op::MatMul { transpose_a: false, transpose_b }, &[flat, weights]);
            let graph = net.finish(y);
            let (after, outcome) = check(run, &graph);
            assert_eq!(outcome.changes, 1);
            let result = after.outputs()[0].value.node;
            let source = after.inputs(after.inputs(result)[0].node)[0];
            assert!(matches!(after.node(source.node).op, Op::Input(_)), "{after}");
        }
    }

    #[test]
    fn attention_scores() {
        let mut net = Network::new();
        let (q, k) = (net.input("q", [2, 5, 8]), net.input("k", [2, 6, 8]));
        let k = net.transpose(k, &[0, 2, 1]);
        let scores = net.add(Op::MatMul { transpose_a: false, transpose_b: false }, &[q, k]);
        let graph = net.finish(scores);
        insta::assert_snapshot!(check(run, &graph).0.to_string(), @r#"
        graph test
          %0 = input : f32[2,5,8] ; q
          %1 = input : f32[2,6,8] ; k
          %2 = matmul %0, %1 {transpose_b=true} : f32[2,5,6] ; n2
          return %2 "y"
        "#);
    }

    #[test]
    fn scaled_attention_scores_through_the_pipeline() {
        let mut net = Network::new();
        let (q, k) = (net.input("q", [2, 5, 8]), net.input("k", [2, 6, 8]));
        let k = net.transpose(k, &[0, 2, 1]);
        let scale = net.scalar(0.125);
        let k = net.binary(avocet_ir::op::Binary::Mul, k, scale);
        let scores = net.add(Op::MatMul { transpose_a: false, transpose_b: false }, &[q, k]);
        let graph = net.finish(scores);
        insta::assert_snapshot!(crate::tests::compiled(&graph).to_string(), @r#"
        graph test
          %0 = input : f32[2,5,8] ; q
          %1 = input : f32[2,6,8] ; k
          %2 = constant [0.125] : f32[]
          %3 = mul %1, %2 : f32[2,6,8] ; n2
          %4 = matmul %0, %3 {transpose_b=true} : f32[2,5,6] ; n3
          return %4 "y"
        "#);
    }

    #[test]
    fn a_flattening_that_crosses_the_batch_stays() {
        let mut net = Network::new();
        let x = net.input("x", [2, 3, 4]);
        let swapped = net.transpose(x, &[1, 0, 2]);
        let flat = net.reshape(swapped, [3, 8]);
        let y = net.dense(flat, 2);
        let graph = net.finish(y);
        let (_, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 0);
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n4': rows not permuted: [3, 2, 4] becomes [3,8], no plain flattening
        "#);
    }
}
