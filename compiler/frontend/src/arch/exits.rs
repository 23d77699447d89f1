//! Early exits: heads whose confidence ends the computation.
//!
//! A network with exits has an input more, `exit_thresholds`, and a result more, `exit`. All that follows an exit is built in
//! the branch for images that go on; [`close`] ends these branches from the last to the first.

use avocet_ir::Value;
use avocet_ir::op::{Comparison, Op, ReduceKind, SliceAxis};
use avocet_ir::tensor::{Tensor, TensorType};

use super::builder::{BuildError, Builder};
use super::regions::{Branch, Outside};
use super::schema::{Activation, Block, Kind};

/// Most exits: each is a branch within the one before.
const MOST_EXITS: usize = 16;

/// An exit whose other branch is being built.
pub(super) struct Exit {
    name: String,
    condition: Value,
    /// What is returned when the head is sure.
    taken: Branch,
    outside: Outside,
}

fn count(builder: &Builder) -> usize {
    builder.file.blocks.iter().filter(|block| block.kind == Kind::EarlyExit).count()
}

/// The input for thresholds, if there are exits.
pub(super) fn prepare(builder: &mut Builder) -> Result<(), BuildError> {
    let count = count(builder);
    if count == 0 {
        return Ok(());
    }
    if count > MOST_EXITS {
        return Err(format!("there are {count} exits, expected up to {MOST_EXITS}").into());
    }
    let ty = TensorType::f32([count]).map_err(|e| e.to_string())?;
    builder.sight.thresholds = Some(builder.add("exit_thresholds", Op::Input(ty), &[])?);
    Ok(())
}

fn number(builder: &mut Builder, name: &str, exit: usize) -> Result<Value, BuildError> {
    let tensor = Tensor::i64([1], vec![exit as i64]).map_err(|e| e.to_string())?;
    Ok(builder.graph.constant(format!("{name}.exit"), tensor))
}

/// Teerapittayanon et al., BranchyNet, 2016, with the confidence of Huang et al., MSDNet, 2018: the largest probability.
pub(super) fn open(b: &mut Builder, block: &Block, name: &str) -> Result<(), BuildError> {
    if b.depth > 0 {
        return Err("an exit stands among the network's own blocks, not within another".into());
    }
    if block.repeat.is_some() {
        return Err("an exit can't be repeated".into());
    }
    b.check_single()?;
    let classes = block.classes.ok_or("it needs a key 'classes'")?;
    let thresholds = b.sight.thresholds.ok_or("the network has no input for thresholds")?;
    let exit = b.exits.len();
    let sight = b.sight.clone();
    b.body(name, block.body.as_deref().unwrap_or_default())?;
    let pooled = b.pooled(name, b.sight.value)?;
    let scores = b.dense(name, pooled, classes, Activation::None)?;
    b.sight = sight;
    let probabilities = b.add(&format!("{name}.softmax"), Op::Softmax { axis: 1 }, &[scores])?;
    let largest = Op::Reduce { kind: ReduceKind::Max, axes: vec![1], keep_dims: false };
    let confidence = b.add(&format!("{name}.confidence"), largest, &[probabilities])?;
    let slice = Op::Slice { axes: vec![SliceAxis { start: exit, count: 1, step: 1 }] };
    let threshold = b.add(&format!("{name}.threshold"), slice, &[thresholds])?;
    let sure = Op::Compare(Comparison::LessEqual);
    let condition = b.add(&format!("{name}.sure"), sure, &[threshold, confidence])?;

    b.sight.head = Some(scores);
    let outside = b.enter(&format!("{name}.taken"))?;
    let scores = b.sight.head.ok_or("a head without scores")?;
    let taken = number(b, name, exit)?;
    b.graph.add_output("output", scores);
    b.graph.add_output("exit", taken);
    let taken = b.leave(outside);
    let outside = b.enter(&format!("{name}.passed"))?;
    b.sight.head = None;
    b.exits.push(Exit { name: name.into(), condition, taken, outside });
    Ok(())
}

/// The network's results: what its last block gives and, with exits, which was taken.
pub(super) fn close(b: &mut Builder) -> Result<Vec<(&'static str, Value)>, BuildError> {
    let count = b.exits.len();
    let mut results = vec![("output", b.sight.value)];
    if count > 0 {
        results.push(("exit", number(b, "output", count)?));
    }
    while let Some(Exit { name, condition, taken, outside }) = b.exits.pop() {
        let of_head = taken.graph.outputs().first().map(|output| taken.graph.ty(output.value).clone());
        let (of_head, of_network) =
            (of_head.ok_or("a head without a result")?, b.graph.ty(results[0].1).clone());
        if of_head != of_network {
            let problem = format!("exit '{name}' gives {of_head}, but the whole network {of_network}");
            return Err(problem.into());
        }
        for (name, value) in results {
            b.graph.add_output(name, value);
        }
        let passed = b.leave(outside);
        let values = b.choose(&name, condition, [taken, passed])?;
        results = ["output", "exit"].into_iter().zip(values).collect();
    }
    Ok(results)
}
