//! Merges a padding with zeros into the convolution or average pooling that follows it.
//!
//! TensorFlow's `SAME` padding of strided windows is asymmetric and reaches models as an explicit Pad; our windows take
//! asymmetric padding, which costs nothing. A maximum pooling's own padding never wins, zeros may, so it is left alone.

use avocet_ir::op::{Conv, Layout, Op, PadMode, Padding, Pool, PoolKind};
use avocet_ir::{Graph, NodeId, Value};

use crate::pass::{Context, Outcome, PassError};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        match merged(graph, id) {
            None => {}
            Some(Err(reason)) => outcome.note(&graph.node(id).name, format!("padding not merged: {reason}")),
            Some(Ok((op, source))) => {
                let mut inputs = graph.inputs(id);
                inputs[0] = source;
                // Pooling refuses padding as large as its window; then the graph stays as it is.
                match graph.replace(id, op, &inputs) {
                    Ok(()) => outcome.changes += 1,
                    Err(error) => outcome.note(&graph.node(id).name, format!("padding not merged: {error}")),
                }
            }
        }
    }
    Ok(outcome)
}

/// The operator with the padding in it and the unpadded image; or why not; or nothing, where there is no padding.
fn merged(graph: &Graph, id: NodeId) -> Option<Result<(Op, Value), &'static str>> {
    let node = graph.node(id);
    let (layout, padding) = match &node.op {
        Op::Conv(Conv { layout, padding, .. }) | Op::Pool(Pool { layout, padding, .. }) => {
            (*layout, *padding)
        }
        _ => return None,
    };
    let padded = *graph.inputs(id).first()?;
    let Op::Pad { amounts, mode } = &graph.node(padded.node).op else { return None };
    let source = *graph.inputs(padded.node).first()?;
    if !node.epilogue.is_empty() || !graph.node(padded.node).epilogue.is_empty() {
        return Some(Err("an epilogue lies between"));
    }
    if !matches!(mode, PadMode::Constant(value) if *value == 0.0) {
        return Some(Err("it is not with zeros"));
    }
    let Some(sum) = sum(padding, layout, amounts) else {
        return Some(Err("it is not of height and width only"));
    };
    let op = match &node.op {
        Op::Conv(conv) => Op::Conv(Conv { padding: sum, ..conv.clone() }),
        Op::Pool(pool) => match pool.kind {
            PoolKind::Max => return Some(Err("zeros may be a window's maximum")),
            _ if pool.ceil_mode => return Some(Err("the windows' number depends on where the padding is")),
            PoolKind::Average { count_padding: false } if !padding.is_none() => {
                return Some(Err("only a part of the padding counts"));
            }
            PoolKind::Average { .. } => Op::Pool(Pool {
                padding: sum,
                kind: PoolKind::Average { count_padding: true },
                ..pool.clone()
            }),
        },
        _ => return None,
    };
    Some(Ok((op, source)))
}

/// Both paddings together, if the explicit one is of height and width.
fn sum(padding: Padding, layout: Layout, amounts: &[(usize, usize)]) -> Option<Padding> {
    let [row, column] = layout.spatial_axes();
    let elsewhere = amounts.iter().enumerate().any(|(i, &a)| i != row && i != column && a != (0, 0));
    let (rows, columns) = (amounts.get(row)?, amounts.get(column)?);
    let padding = Padding {
        top: padding.top.checked_add(rows.0)?,
        left: padding.left.checked_add(columns.0)?,
        bottom: padding.bottom.checked_add(rows.1)?,
        right: padding.right.checked_add(columns.1)?,
    };
    (!elsewhere).then_some(padding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    fn padded(mode: PadMode, channels: usize) -> (Network, Value) {
        let mut net = Network::new();
        let x = net.input("x", [1, 2, 5, 5]);
        let amounts = vec![(0, 0), (channels, 0), (0, 1), (0, 2)];
        let y = net.add(Op::Pad { amounts, mode }, &[x]);
        (net, y)
    }

    #[test]
    fn same_padding_of_a_strided_convolution() {
        let (mut net, x) = padded(PadMode::Constant(0.0), 0);
        let y = net.conv(x, 2, 3, 2, 1);
        let graph = net.finish(y);
        insta::assert_snapshot!(check(run, &graph).0.to_string(), @r#"
        graph test
          %0 = input : f32[1,2,5,5] ; x
          %1 = constant : f32[2,2,3,3]
          %2 = conv %0, %1 {strides=[2,2], padding=[1,1,2,3], layout=nchw} : f32[1,2,3,4] ; n3
          return %2 "y"
        "#);
    }

    #[test]
    fn average_pooling_counts_the_zeros() {
        let (mut net, x) = padded(PadMode::Constant(0.0), 0);
        let pool = Pool {
            kind: PoolKind::Average { count_padding: false },
            window: [3; 2],
            strides: [1; 2],
            dilations: [1; 2],
            padding: Padding::default(),
            ceil_mode: false,
            layout: Layout::Nchw,
        };
        let y = net.add(Op::Pool(pool), &[x]);
        let graph = net.finish(y);
        insta::assert_snapshot!(check(run, &graph).0.to_string(), @r#"
        graph test
          %0 = input : f32[1,2,5,5] ; x
          %1 = average_pool %0 {window=[3,3], padding=[0,0,1,2], count_padding=true, layout=nchw} : f32[1,2,4,5] ; n2
          return %1 "y"
        "#);
    }

    #[test]
    fn other_paddings_stay() {
        let mut notes = Vec::new();
        for (mode, channels) in
            [(PadMode::Constant(1.0), 0), (PadMode::Reflect, 0), (PadMode::Constant(0.0), 2)]
        {
            let (mut net, x) = padded(mode, channels);
            let y = net.conv(x, 2, 3, 1, 1);
            let graph = net.finish(y);
            let (_, outcome) = check(run, &graph);
            assert_eq!(outcome.changes, 0);
            notes.extend(outcome.notes);
        }
        let (mut net, x) = padded(PadMode::Constant(0.0), 0);
        let y = net.max_pool(x);
        let graph = net.finish(y);
        notes.extend(check(run, &graph).1.notes);
        insta::assert_snapshot!(notes.join("\n"), @r#"
        'n3': padding not merged: it is not with zeros
        'n3': padding not merged: it is not with zeros
        'n3': padding not merged: it is not of height and width only
        'n2': padding not merged: zeros may be a window's maximum
        "#);
    }
}
