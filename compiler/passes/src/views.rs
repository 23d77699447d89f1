//! Views: concatenations and slices of channels without copies.
//!
//! Where channels come last a concatenation of them is a tensor whose columns its inputs are, and a slice is columns of its
//! input. What produces an input can write it there, and what reads a slice can read it there, if its kernels take rows that
//! are apart ([`Schedules::views`]). That is decided here, after the schedules: a concatenation whose inputs can all be
//! written in place, and a slice whose users can all read it in place, have no code. Nor has the transposition of a picture
//! before its first convolution, which reads planes as well as pixels.

use avocet_ir::op::{Layout, Op, SliceAxis};
use avocet_ir::schedule::{Lie, Schedule, Schedules, View};
use avocet_ir::{DType, Graph, GraphError, NodeId, Value};

use crate::strides;

/// Decides which results are columns of others.
pub(crate) fn assign(graph: &Graph, schedules: &mut Schedules) -> Result<(), GraphError> {
    strides::assign(graph, schedules)?;
    for id in graph.topological()? {
        let node = graph.node(id);
        let scheduled = matches!(schedules.nodes.get(&id), Some(Schedule::Vector { .. }));
        // Views are named by nodes, so what several results come from is none.
        let single = graph.inputs(id).iter().all(|value| graph.node(value.node).outputs.len() == 1);
        if !scheduled || !single || !node.epilogue.is_empty() || node.outputs[0].dtype != DType::F32 {
            continue;
        }
        let views = match &node.op {
            Op::Concat { axis } if axis + 1 == node.outputs[0].shape.rank() => parts(graph, id, schedules),
            Op::Slice { axes } => {
                let view = run(graph, id, axes, schedules).or_else(|| columns(graph, id, axes, schedules));
                view.map(|view| vec![(id, view)])
            }
            Op::Transpose { perm } => planes(graph, id, perm, schedules).map(|view| vec![(id, view)]),
            _ => None,
        };
        if let Some(views) = views {
            schedules.views.extend(views);
            schedules.nodes.insert(id, Schedule::Alias);
        }
    }
    Ok(())
}

/// The inputs of a concatenation as columns of it, when all can be.
fn parts(graph: &Graph, id: NodeId, schedules: &Schedules) -> Option<Vec<(NodeId, View)>> {
    let mut first = 0;
    let mut views: Vec<(NodeId, View)> = Vec::new();
    for part in graph.inputs(id) {
        let producer = part.node;
        let is_new =
            !schedules.views.contains_key(&producer) && views.iter().all(|(known, _)| *known != producer);
        let others_read = graph
            .users(part)
            .into_iter()
            .all(|(user, input)| user == id || reads_columns(graph, user, input, schedules));
        if !is_new || !writes_columns(graph, producer, schedules) || !others_read || graph.is_output(part) {
            return None;
        }
        views.push((producer, View::columns(id, first)));
        first += graph.ty(part).dims().last()?;
    }
    Some(views)
}

/// A slice as a run of elements of its input: a range of the first dimension that is not one, and all of the others. Anything
/// can read that.
fn run(graph: &Graph, id: NodeId, axes: &[SliceAxis], schedules: &Schedules) -> Option<View> {
    let source = *graph.inputs(id).first()?;
    let shape = &graph.ty(source).shape;
    let cut = shape.dims().iter().position(|&extent| extent != 1)?;
    let whole = |axis: usize| axes[axis] == SliceAxis { start: 0, count: shape[axis], step: 1 };
    let is_run = axes[cut].step == 1 && (cut + 1..axes.len()).all(whole);
    let dense = !schedules.views.contains_key(&source.node);
    let fits = is_run && dense && !graph.is_output(id.into()) && graph.as_constant(source).is_none();
    fits.then(|| View::run(source.node, axes[cut].start * shape.strides()[cut]))
}

/// A slice as columns of its input, when it takes some columns of all rows and its users can read it so.
fn columns(graph: &Graph, id: NodeId, axes: &[SliceAxis], schedules: &Schedules) -> Option<View> {
    let source = *graph.inputs(id).first()?;
    let (last, rows) = axes.split_last()?;
    let extents = graph.ty(source).dims().iter();
    let whole = rows
        .iter()
        .zip(extents)
        .all(|(axis, &extent)| *axis == SliceAxis { start: 0, count: extent, step: 1 });
    let value = Value::from(id);
    let read =
        graph.users(value).into_iter().all(|(user, input)| reads_columns(graph, user, input, schedules));
    let in_columns = schedules.views.get(&source.node).is_none_or(|view| view.lie == Lie::Columns);
    let fits = whole && last.step == 1 && read && in_columns;
    let fits = fits && !graph.is_output(value) && graph.as_constant(source).is_none();
    fits.then_some(View::columns(source.node, last.start))
}

/// A transposed image that direct convolutions read with its channels first, as planes. Only while pixels have few
/// channels: more planes than that are read from too many places at a time.
fn planes(graph: &Graph, id: NodeId, perm: &[usize], schedules: &Schedules) -> Option<View> {
    const MOST_CHANNELS: usize = 4;
    let source = *graph.inputs(id).first()?;
    let value = Value::from(id);
    let users = graph.users(value);
    let convolved = users.iter().all(|(user, input)| {
        let direct = matches!(schedules.nodes.get(user), Some(Schedule::Direct(_)));
        direct && *input == 0
    });
    let few = graph.ty(value).dims().last().is_some_and(|&channels| channels <= MOST_CHANNELS);
    let place = schedules.place(source.node);
    let fits = perm == [0, 2, 3, 1] && few && convolved && place.of == source.node;
    (fits && !graph.is_output(value) && graph.as_constant(source).is_none())
        .then_some(View::planes(source.node))
}

/// Whether the kernels of a node can write a result whose rows are apart.
fn writes_columns(graph: &Graph, id: NodeId, schedules: &Schedules) -> bool {
    let node = graph.node(id);
    let computed = !matches!(schedules.nodes.get(&id), None | Some(Schedule::Alias));
    computed
        && match &node.op {
            Op::Conv(conv) => conv.layout == Layout::Nhwc,
            Op::Pool(pool) => pool.layout == Layout::Nhwc,
            Op::MatMul { .. } | Op::Unary(_) | Op::Binary(_) => true,
            Op::Identity => !node.epilogue.is_empty(),
            _ => false,
        }
}

/// Whether they can read an input whose rows are apart.
fn reads_columns(graph: &Graph, id: NodeId, input: usize, schedules: &Schedules) -> bool {
    let node = graph.node(id);
    let computed = !matches!(schedules.nodes.get(&id), None | Some(Schedule::Alias));
    computed
        && match &node.op {
            // Not the weights.
            Op::Conv(conv) => conv.layout == Layout::Nhwc && input != 1,
            Op::Pool(pool) => pool.layout == Layout::Nhwc,
            Op::MatMul { .. } => input != 1,
            Op::Unary(_) | Op::Binary(_) => true,
            Op::Concat { .. } | Op::ChannelShuffle { .. } | Op::Transpose { .. } | Op::Slice { .. } => true,
            Op::Identity => !node.epilogue.is_empty(),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{ScheduleOptions, schedule};
    use crate::testing::{AVX2, Network};
    use crate::tests::compiled;

    fn text(net: Network, result: Value) -> String {
        let graph = compiled(&net.finish(result));
        schedule(&graph, &AVX2, ScheduleOptions { exact: true }).expect("acyclic").to_text(&graph)
    }

    fn channels(count: usize, start: usize) -> Op {
        let whole = [1, 5, 5].map(|count| SliceAxis { start: 0, count, step: 1 });
        let [n, h, w] = whole;
        Op::Slice { axes: vec![n, SliceAxis { start, count, step: 1 }, h, w] }
    }

    /// GhostNet's module, of which the first half is read where it lies, and a convolution after it.
    #[test]
    fn parts_are_written_in_place() {
        let mut net = Network::new();
        let x = net.input("x", [1, 4, 5, 5]);
        let first = net.conv(x, 6, 1, 1, 1);
        let second = net.conv(first, 6, 3, 1, 6);
        let both = net.add(Op::Concat { axis: 1 }, &[first, second]);
        let y = net.conv(both, 3, 1, 1, 1);
        insta::assert_snapshot!(text(net, y), @r#"
        schedule test
          transpose        vector 8 f32[1,5,5,4] ; n2.nhwc
          conv             gemm 14x1x8 positions f32[1,5,5,6] at column 0 of n5 ; n2
          conv             depthwise 3x1x8 channels f32[1,5,5,6] at column 6 of n5 ; n4
          concat           alias f32[1,5,5,12] ; n5
          conv             gemm 14x1x8 positions f32[1,5,5,3] ; n7
          transpose        vector 8 f32[1,3,5,5] ; n7.nchw
        "#);
    }

    /// Mixed convolutions on slices.
    #[test]
    fn slices_are_read_in_place() {
        let mut net = Network::new();
        let x = net.input("x", [1, 4, 5, 5]);
        let x = net.conv(x, 9, 1, 1, 1);
        let parts = [net.add(channels(4, 0), &[x]), net.add(channels(5, 4), &[x])];
        let [a, b] = [net.conv(parts[0], 4, 3, 1, 4), net.conv(parts[1], 5, 5, 1, 5)];
        let y = net.add(Op::Concat { axis: 1 }, &[a, b]);
        insta::assert_snapshot!(text(net, y), @r#"
        schedule test
          transpose        vector 8 f32[1,5,5,4] ; n2.nhwc
          conv             gemm 5x2x8 positions f32[1,5,5,9] ; n2
          slice            alias f32[1,5,5,5] at column 4 of n2 ; n4
          slice            alias f32[1,5,5,4] at column 0 of n2 ; n3
          conv             depthwise 3x1x8 channels f32[1,5,5,4] at column 0 of n9 ; n6
          conv             depthwise 3x1x8 channels f32[1,5,5,5] at column 4 of n9 ; n8
          concat           alias f32[1,5,5,9] ; n9
          transpose        vector 8 f32[1,9,5,5] ; n9.transpose
        "#);
    }

    /// Queries, keys and values of an attention, which lie one after the other.
    #[test]
    fn runs_of_elements() {
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 4, 5]);
        let x = net.relu(x);
        let part = |start: usize| {
            let range = |start, count| SliceAxis { start, count, step: 1 };
            Op::Slice { axes: vec![range(0, 1), range(start, 1), range(0, 4), range(0, 5)] }
        };
        let [q, k] = [0, 2].map(|start| net.add(part(start), &[x]));
        let [q, k] = [q, k].map(|value| net.reshape(value, [4, 5]));
        let y = net.add(Op::MatMul { transpose_a: false, transpose_b: true }, &[q, k]);
        insta::assert_snapshot!(text(net, y), @r#"
        schedule test
          relu             vector 8 f32[1,3,4,5] ; n1
          slice            alias f32[1,1,4,5] at element 0 of n1 ; n2
          slice            alias f32[1,1,4,5] at element 40 of n1 ; n3
          reshape          alias f32[4,5] ; n4
          reshape          alias f32[4,5] ; n5
          matmul           gemm 4x1x8 positions f32[4,4] ; n6
        "#);
    }

    /// The transposition before a picture's first convolution, but not one that something else reads, too.
    #[test]
    fn pictures_are_read_as_planes() {
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 8, 8]);
        let y = net.conv(x, 4, 3, 2, 1);
        insta::assert_snapshot!(text(net, y), @r#"
        schedule test
          transpose        alias f32[1,8,8,3] as planes of x ; n2.nhwc
          conv             direct 4x1x8 positions f32[1,4,4,4] ; n2
          transpose        vector 8 f32[1,4,4,4] ; n2.nchw
        "#);
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 8, 8]);
        let (a, b) = (net.conv(x, 3, 3, 2, 1), net.max_pool(x));
        let y = net.add(Op::Concat { axis: 1 }, &[a, b]);
        insta::assert_snapshot!(text(net, y), @r#"
        schedule test
          transpose        vector 8 f32[1,8,8,3] ; n3.nhwc
          conv             direct 4x1x8 positions f32[1,4,4,3] at column 0 of n4 ; n2
          max_pool         vector 8 f32[1,4,4,3] at column 3 of n4 ; n3
          concat           alias f32[1,4,4,6] ; n4
          transpose        vector 8 f32[1,6,4,4] ; n4.transpose
        "#);
    }

    /// A tensor that is concatenated twice.
    #[test]
    fn what_cannot_be_in_place_is_copied() {
        let mut net = Network::new();
        let x = net.input("x", [1, 4, 5, 5]);
        let a = net.conv(x, 4, 1, 1, 1);
        let twice = net.add(Op::Concat { axis: 1 }, &[a, a]);
        let b = net.conv(twice, 4, 1, 1, 1);
        let flat = net.add(Op::Reshape { shape: avocet_ir::Shape::new([4, 25]).expect("small") }, &[b]);
        let flat = net.add(
            Op::Reduce { kind: avocet_ir::op::ReduceKind::Max, axes: vec![0, 1], keep_dims: true },
            &[flat],
        );
        let joined = net.add(Op::Concat { axis: 1 }, &[b, a]);
        let y = net.binary(avocet_ir::op::Binary::Add, joined, flat);
        insta::assert_snapshot!(text(net, y), @r#"
        schedule test
          transpose        vector 8 f32[1,5,5,4] ; n2.nhwc
          conv             gemm 14x1x8 positions f32[1,5,5,4] at column 4 of n8 ; n2
          concat           vector 8 f32[1,5,5,8] ; n3
          conv             gemm 14x1x8 positions f32[1,5,5,4] at column 0 of n8 ; n5
          concat           alias f32[1,5,5,8] ; n8
          transpose        vector 8 f32[1,4,5,5] ; n5.nchw
          reshape          alias f32[4,25] ; n6
          reduce_max       vector 8 f32[1,1] ; n7
          add              vector 8 f32[1,5,5,8] ; n9
          transpose        vector 8 f32[1,8,5,5] ; n9.transpose
        "#);
    }
}
