//! The loop around the passes: what it reports, and what it does with a pass that fails.

use avocet_ir::op::{Binary, Unary};
use avocet_ir::{Graph, NodeId, Op, Value};

use crate::pipeline::{PipelineError, run_passes};
use crate::testing::Network;
use crate::{Context, Outcome, Pass, PassError, run_all};

/// `hard_swish(conv(x) + bias)` and a sum that can't be attached.
fn network() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 2, 4, 4]);
    let y = net.conv(x, 2, 3, 1, 1);
    let y = net.batch_norm(y);
    let gate = net.unary(Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, y);
    let y = net.binary(Binary::Mul, y, gate);
    let mean = net.mean(y, &[2, 3], true);
    let y = net.binary(Binary::Sub, y, mean);
    net.finish(y)
}

fn context() -> Context<'static> {
    Context { verify: true, ..Context::new(&avocet_reference::Reference) }
}

#[test]
fn the_observer_sees_every_pass() {
    let mut graph = network();
    let mut seen = Vec::new();
    let outcomes =
        run_all(&mut graph, &context(), &mut |name, _, outcome| seen.push(format!("{name}: {outcome}")));
    assert_eq!(outcomes.expect("the pipeline runs").len(), seen.len());
    insta::assert_snapshot!(format!("{}\n{graph}", seen.join("\n")), @r#"
    dead-code: no change
    regions: no change
    constant-folding: no change
    identity: no change
    channel-shuffle: no change
    activations: 1 change
    dead-code: 1 change
    padding: no change
    concat: no change
    constant-folding: no change
    affine: 1 change
    nhwc: 1 change
    region-layouts: no change
    transposes: 6 changes
    dead-code: 9 changes
    gates: no change
    matmul-operands: no change
    dead-code: no change
    constant-folding: 2 changes
    rearrangements: no change
    reshapes: no change
    identity: no change
    duplicates: no change
    dead-code: 2 changes
    normalization: no change
    attention: no change
    dead-code: no change
    epilogue: 2 changes
      'n10': sub not attached: 'n9' is f32[1,1,1,2], the result f32[1,4,4,2]; 'n2' is used elsewhere
    results: no change
    dead-code: no change
    graph test
      %0 = input : f32[1,2,4,4] ; x
      %1 = constant [-1.4361799, 0.23266387] : f32[1,1,1,2] ; n2.bias
      %2 = transpose %0 {perm=[0,2,3,1]} : f32[1,4,4,2] ; n2.nhwc
      %3 = constant : f32[2,2,3,3]
      %4 = conv %2, %3 {padding=[1,1,1,1], layout=nhwc} -> add(%1) -> hard_swish : f32[1,4,4,2] ; n2
      %5 = reduce_mean %4 {axes=[1,2], keep_dims=true} : f32[1,1,1,2] ; n9
      %6 = sub %4, %5 : f32[1,4,4,2] ; n10
      %7 = transpose %6 {perm=[0,3,1,2]} : f32[1,2,4,4] ; n10.transpose
      return %7 "y"
    "#);
}

/// Leaves a sum that uses itself.
fn make_cycle(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let is_sum = |id: &NodeId| matches!(graph.node(*id).op, Op::Binary(Binary::Sub));
    let sum = graph.ids().find(is_sum).expect("the network has one");
    graph.set_input(sum, 0, Value::from(sum))?;
    Ok(Outcome::default())
}

/// Removes what is used.
fn remove_input(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    graph.remove(graph.input_nodes()[0])?;
    Ok(Outcome::default())
}

#[test]
fn errors_name_the_pass() {
    let run = |pass: Pass| -> PipelineError {
        run_passes(&[pass], &mut network(), &context(), &mut |_, _, _| {}).expect_err("a bad pass")
    };
    let errors = [
        run(Pass { name: "make-cycle", run: make_cycle }),
        run(Pass { name: "remove-input", run: remove_input }),
    ];
    insta::assert_snapshot!(errors.map(|e| e.to_string()).join("\n"), @r#"
    pass 'make-cycle' broke the graph: the graph has a cycle through node 'n10'
    pass 'remove-input' failed: node 'x' can't be removed: its result is used
    "#);
}
