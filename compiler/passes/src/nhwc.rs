//! Switches every operator on images to NHWC, the layout that the kernels work in.
//!
//! Each convolution, pooling and resizing gets a transposition before and one after; the pass [`crate::transposes`]
//! then moves and cancels them. Channels are innermost in NHWC, so a vector of them is one load, the window's taps
//! share addresses, and a pointwise convolution is a plain matrix product.

use avocet_ir::op::{Conv, Layout, Op, Pool, Resize};
use avocet_ir::{Graph, NodeId};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::substitute;

/// From NCHW to NHWC.
pub(crate) const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
/// From NHWC to NCHW.
pub(crate) const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let Some(op) = switched(&graph.node(id).op) else { continue };
        if !graph.node(id).epilogue.is_empty() {
            outcome.note(&graph.node(id).name, "layout not changed: the epilogue's operands are in NCHW");
            continue;
        }
        switch(graph, id, op)?;
        outcome.changes += 1;
    }
    Ok(outcome)
}

/// The operator in NHWC, if it is one on NCHW images.
fn switched(op: &Op) -> Option<Op> {
    let layout = Layout::Nhwc;
    match op {
        Op::Conv(conv) if conv.layout != layout => Some(Op::Conv(Conv { layout, ..conv.clone() })),
        Op::Pool(pool) if pool.layout != layout => Some(Op::Pool(Pool { layout, ..pool.clone() })),
        Op::Resize(resize) if resize.layout != layout => {
            Some(Op::Resize(Resize { layout, ..resize.clone() }))
        }
        _ => None,
    }
}

fn switch(graph: &mut Graph, id: NodeId, op: Op) -> Result<(), PassError> {
    let name = graph.node(id).name.clone();
    let mut inputs = graph.inputs(id);
    let to_nhwc = Op::Transpose { perm: TO_NHWC.to_vec() };
    inputs[0] = graph.add(format!("{name}.nhwc"), to_nhwc, &inputs[..1])?;
    let image = graph.add(name.clone(), op, &inputs)?;
    let back = graph.add(format!("{name}.nchw"), Op::Transpose { perm: TO_NCHW.to_vec() }, &[image])?;
    substitute(graph, id, back)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn convolution_and_pooling() {
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 8, 6]);
        let y = net.conv(x, 4, 3, 2, 1);
        let y = net.max_pool(y);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,3,8,6] ; x
          %1 = constant : f32[4,3,3,3]
          %2 = transpose %0 {perm=[0,2,3,1]} : f32[1,8,6,3] ; n2.nhwc
          %3 = conv %2, %1 {strides=[2,2], padding=[1,1,1,1], layout=nhwc} : f32[1,4,3,4] ; n2
          %4 = transpose %3 {perm=[0,3,1,2]} : f32[1,4,4,3] ; n2.nchw
          %5 = transpose %4 {perm=[0,2,3,1]} : f32[1,4,3,4] ; n3.nhwc
          %6 = max_pool %5 {window=[3,3], strides=[2,2], padding=[1,1,1,1], layout=nhwc} : f32[1,2,2,4] ; n3
          %7 = transpose %6 {perm=[0,3,1,2]} : f32[1,4,2,2] ; n3.nchw
          return %7 "y"
        "#);
    }
}
