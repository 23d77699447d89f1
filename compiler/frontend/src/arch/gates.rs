//! Blocks within blocks, which the image itself turns on: a body that is skipped, experts of which a few are asked.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op, SliceAxis};
use avocet_ir::tensor::{DType, Shape, Tensor, TensorType};

use super::builder::{BuildError, Builder, ConvSpec, check_range};
use super::schema::{Activation, Block};

/// Most experts: their choice is a tree of six levels.
const MOST_EXPERTS: usize = 64;
/// Most experts for one image: each is a tree over all of them.
const MOST_CHOSEN: usize = 8;

/// The blocks within a block, at least one.
fn body(block: &Block) -> Result<&[Block], BuildError> {
    match block.body.as_deref() {
        None | Some([]) => Err("it needs a key 'body', a list of blocks".into()),
        Some(body) => Ok(body),
    }
}

/// Wang et al., SkipNet, 2018; with `hidden`, Veit and Belongie, ConvNet-AIG, 2018.
pub(super) fn skip(b: &mut Builder, block: &Block, name: &str) -> Result<Value, BuildError> {
    let (x, body) = (b.sight.value, body(block)?);
    b.check_single()?;
    let threshold = block.threshold.unwrap_or(0.5);
    if !(0.0..=2.0).contains(&threshold) {
        return Err(format!("threshold is {threshold}, expected 0 to 2").into());
    }
    let mut y = b.pooled(&format!("{name}.gate"), x)?;
    if let Some(hidden) = block.hidden {
        y = b.dense(&format!("{name}.gate.hidden"), y, hidden, Activation::Relu)?;
    }
    let gate = b.dense(&format!("{name}.gate"), y, 1, Activation::Sigmoid)?;
    let threshold = Tensor::f32([1, 1], vec![threshold as f32]).map_err(|e| e.to_string())?;
    let threshold = b.graph.constant(format!("{name}.threshold"), threshold);
    let open = b.add(&format!("{name}.open"), Op::Compare(Comparison::LessEqual), &[threshold, gate])?;

    let outside = b.enter(&format!("{name}.taken"))?;
    let before = b.sight.value;
    b.body(name, body)?;
    let mut result = b.sight.value;
    let (kept, given) = (b.graph.ty(result).clone(), b.graph.ty(before).clone());
    if kept != given {
        return Err(
            format!("its body makes {kept} of {given}: a body that is skipped keeps the shape").into()
        );
    }
    if block.residual == Some(true) {
        result = b.sum(&format!("{name}.residual"), result, before)?;
    }
    b.graph.add_output("result", result);
    let taken = b.leave(outside);
    let outside = b.enter(&format!("{name}.skipped"))?;
    b.graph.add_output("result", b.sight.value);
    let skipped = b.leave(outside);
    first(b.choose(name, open, [taken, skipped])?)
}

fn first(results: Vec<Value>) -> Result<Value, BuildError> {
    results.first().copied().ok_or_else(|| "it has no result".into())
}

/// Shazeer et al., Outrageously Large Neural Networks, 2017, without noise: it is for training only.
pub(super) fn experts(b: &mut Builder, block: &Block, name: &str) -> Result<Value, BuildError> {
    let (x, body) = (b.sight.value, body(block)?);
    b.check_single()?;
    let count = block.experts.ok_or("it needs a key 'experts'")?;
    check_range("experts", count, MOST_EXPERTS)?;
    let chosen = block.top_k.unwrap_or(1);
    check_range("top_k", chosen, count.min(MOST_CHOSEN))?;
    let pooled = b.pooled(&format!("{name}.gate"), x)?;
    let scores = b.dense(&format!("{name}.gate"), pooled, count, Activation::None)?;
    let rank = Op::Rank { largest: true, axis: 1, count: chosen };
    let places = b.add(&format!("{name}.chosen"), rank, &[scores])?;
    let best = b.add(&format!("{name}.best"), Op::Gather { axis: 1 }, &[scores, places])?;
    let shares = b.add(&format!("{name}.shares"), Op::Softmax { axis: 2 }, &[best])?;

    let mut branches = Vec::with_capacity(count);
    for expert in 0..count {
        let expert = format!("{name}.experts.{expert}");
        let outside = b.enter(&expert)?;
        b.body(&expert, body)?;
        b.graph.add_output("result", b.sight.value);
        branches.push(b.leave(outside));
    }
    let experts = b.table(name, branches, &TensorType::new(DType::I64, shape(&[1, 1])?))?;
    let mut sum = None;
    for number in 0..chosen {
        let part = format!("{name}.{number}");
        let one = |start| SliceAxis { start, count: 1, step: 1 };
        let place = Op::Slice { axes: vec![one(0), one(number)] };
        let place = b.add(&format!("{part}.place"), place, &[places])?;
        let mut y = first(b.pick(&part, &experts, place)?)?;
        if chosen > 1 {
            let share = Op::Slice { axes: vec![one(0), one(0), one(number)] };
            let share = b.add(&format!("{part}.share"), share, &[shares])?;
            let scalar = Op::Reshape { shape: Shape::scalar() };
            let share = b.add(&format!("{part}.scalar"), scalar, &[share])?;
            y = b.add(&format!("{part}.weighted"), Op::Binary(Binary::Mul), &[y, share])?;
        }
        sum = Some(match sum {
            None => y,
            Some(sum) => b.sum(&format!("{part}.sum"), sum, y)?,
        });
    }
    sum.ok_or_else(|| "no expert is chosen".into())
}

/// Yang et al., CondConv, 2019: the weights are the sum of the experts' weights, each times the sigmoid of its score.
pub(super) fn mixed_conv(
    b: &mut Builder,
    name: &str,
    experts: Option<usize>,
    spec: ConvSpec,
) -> Result<Value, BuildError> {
    let x = b.sight.value;
    b.check_single()?;
    let experts = experts.ok_or("it needs a key 'experts'")?;
    check_range("experts", experts, MOST_EXPERTS)?;
    let pooled = b.global_pool(&format!("{name}.routing"), x, false)?;
    let routing = b.dense(&format!("{name}.routing"), pooled, experts, Activation::Sigmoid)?;
    b.conv_by(name, x, spec, |b, dims, role| {
        let tensor = format!("{name}.conv.weight");
        let all = [&[experts], &dims[..]].concat();
        let flat = [experts, dims.iter().product()];
        let weights = b.tensor_as(&tensor, &all, &flat, role)?;
        let product = Op::MatMul { transpose_a: false, transpose_b: false };
        let mixed = b.add(&format!("{name}.mixed"), product, &[routing, weights])?;
        b.add(&format!("{name}.weights"), Op::Reshape { shape: shape(&dims)? }, &[mixed])
    })
}

fn shape(dims: &[usize]) -> Result<Shape, BuildError> {
    Ok(Shape::new(dims).map_err(|e| e.to_string())?)
}
