//! Blocks within blocks, which the image itself turns on: a body that is skipped, experts of which a few are asked.

use avocet_ir::Graph;
use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op, Region, SliceAxis};
use avocet_ir::tensor::{DType, Shape, Tensor, TensorType};

use super::builder::{BuildError, Builder, check_range};
use super::regions::{Branch, prune};
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
    prune(&mut branches)?;
    let given = branches.first().map(|branch| branch.given.clone()).unwrap_or_default();
    let types: Vec<TensorType> = given.iter().map(|&value| b.graph.ty(value).clone()).collect();
    let place = TensorType::new(DType::I64, shape(&[1, 1])?);
    let experts = branches.into_iter().map(|branch| leaf(branch, &place)).collect::<Result<Vec<_>, _>>()?;
    let mut sum = None;
    for number in 0..chosen {
        let part = format!("{name}.{number}");
        let one = |start| SliceAxis { start, count: 1, step: 1 };
        let place = Op::Slice { axes: vec![one(0), one(number)] };
        let place = b.add(&format!("{part}.place"), place, &[places])?;
        let operands: Vec<Value> = given.iter().copied().chain([place]).collect();
        let mut y = pick(&mut b.graph, &part, &experts, 0, &types, &operands)?;
        if chosen > 1 {
            let share = Op::Slice { axes: vec![one(0), one(0), one(number)] };
            let share = b.add(&format!("{part}.share"), share, &[shares])?;
            let share = b.add(&format!("{part}.scalar"), Op::Reshape { shape: Shape::scalar() }, &[share])?;
            y = b.add(&format!("{part}.weighted"), Op::Binary(Binary::Mul), &[y, share])?;
        }
        sum = Some(match sum {
            None => y,
            Some(sum) => b.sum(&format!("{part}.sum"), sum, y)?,
        });
    }
    sum.ok_or_else(|| "no expert is chosen".into())
}

fn shape(dims: &[usize]) -> Result<Shape, BuildError> {
    Ok(Shape::new(dims).map_err(|e| e.to_string())?)
}

/// An expert as a leaf of the tree: it is given the place too, which it does not look at.
fn leaf(branch: Branch, place: &TensorType) -> Result<Region, BuildError> {
    let mut graph = branch.graph;
    graph.add("place", Op::Input(place.clone()), &[])?;
    Ok(Region::new(graph))
}

/// The result of the expert at a place, by halves: the last operand is the place, counted from the first expert of all.
fn pick(
    graph: &mut Graph,
    name: &str,
    experts: &[Region],
    first: usize,
    types: &[TensorType],
    operands: &[Value],
) -> Result<Value, BuildError> {
    if let [expert] = experts {
        let results = graph.splice(expert.graph(), operands, &format!("{name}."))?;
        return self::first(results);
    }
    let half = experts.len() / 2;
    let (low, high) = experts.split_at(half);
    let place = *operands.last().ok_or("a choice without a place")?;
    let border = Tensor::i64([1, 1], vec![(first + half) as i64]).map_err(|e| e.to_string())?;
    let border = graph.constant(format!("{name}.border"), border);
    let is_low = graph.add(format!("{name}.is_low"), Op::Compare(Comparison::Less), &[place, border])?;
    let side = |experts: &[Region], first: usize| -> Result<Region, BuildError> {
        if let [expert] = experts {
            return Ok(expert.clone());
        }
        let mut inner = Graph::new(format!("{name}.{first}"));
        let place = graph.ty(place).clone();
        let inputs = types.iter().chain([&place]).enumerate();
        let inputs = inputs
            .map(|(number, ty)| inner.add(format!("given.{number}"), Op::Input(ty.clone()), &[]))
            .collect::<Result<Vec<_>, _>>()?;
        let y = pick(&mut inner, &format!("{name}.{first}"), experts, first, types, &inputs)?;
        inner.add_output("result", y);
        Ok(Region::new(inner))
    };
    let op = Op::If { then: side(low, first)?, otherwise: side(high, first + half)? };
    let operands: Vec<Value> = [is_low].into_iter().chain(operands.iter().copied()).collect();
    Ok(graph.add(name, op, &operands)?)
}
