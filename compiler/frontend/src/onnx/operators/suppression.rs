//! NonMaxSuppression: the best boxes of each class, without those that overlap a better one too much.
//!
//! ONNX's result has as many rows as boxes were selected, which only the boxes can tell. Shapes are static here, so that the number
//! of rows must be said: by the model, which declares the result's shape, or by whoever compiles it (`--dim RESULT.0=ROWS`). The
//! rows are then those that ONNX has, in its order; more of them are left out, and missing ones are filled with -1.
//!
//! A loop selects one box of each class of each image at a time, all of them at once in vectors: the best of those that are left,
//! which then takes off the list itself and whatever overlaps it. It ends when no class has boxes left.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Loop, Op, ReduceKind, Region, Unary};
use avocet_ir::tensor::{DType, TensorType};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};

/// A box that is not on the list any more.
const OFF: f32 = f32::NEG_INFINITY;

/// Sizes of the problem.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    classes: usize,
    boxes: usize,
}

/// Boxes by their corners: top, left, bottom, right, and the area, each `[batch, 1, boxes]`.
struct Boxes([Value; 5]);

impl Boxes {
    fn new(importer: &mut Importer, node: &Node, boxes: Value, sizes: Sizes) -> Result<Self, Problem> {
        let turned = importer.transposed(node, boxes, &[0, 2, 1])?;
        let column = |importer: &mut Importer, number: usize| importer.one(node, turned, 1, number);
        let [a, b, c, d] = [0, 1, 2, 3].map(|number| column(importer, number));
        let (a, b, c, d) = (a?, b?, c?, d?);
        let corners = match node.attributes.int("center_point_box", 0)? {
            // Two opposite corners, whichever they are.
            0 => [
                importer.binary(node, Binary::Min, a, c)?,
                importer.binary(node, Binary::Min, b, d)?,
                importer.binary(node, Binary::Max, a, c)?,
                importer.binary(node, Binary::Max, b, d)?,
            ],
            // The centre's column and row, width and height.
            1 => {
                let (wide, high) = (
                    importer.with_number(node, Binary::Div, c, 2.0)?,
                    importer.with_number(node, Binary::Div, d, 2.0)?,
                );
                [
                    importer.binary(node, Binary::Sub, b, high)?,
                    importer.binary(node, Binary::Sub, a, wide)?,
                    importer.binary(node, Binary::Add, b, high)?,
                    importer.binary(node, Binary::Add, a, wide)?,
                ]
            }
            other => return unsupported(format!("center_point_box {other}")),
        };
        let [top, left, bottom, right] = corners;
        let high = importer.binary(node, Binary::Sub, bottom, top)?;
        let wide = importer.binary(node, Binary::Sub, right, left)?;
        let area = importer.binary(node, Binary::Mul, high, wide)?;
        debug_assert_eq!(importer.ty(area).dims(), [sizes.batch, 1, sizes.boxes]);
        Ok(Boxes([top, left, bottom, right, area]))
    }

    /// Of each class the box of a number, `[batch, classes, 1]`.
    fn of(&self, importer: &mut Importer, node: &Node, number: Value, sizes: Sizes) -> Result<Self, Problem> {
        let first = importer.table(node, &[sizes.batch, 1, 1], |at| (at[0] * sizes.boxes) as i64)?;
        let number = importer.binary(node, Binary::Add, number, first)?;
        let mut taken = self.0;
        for value in &mut taken {
            *value = importer.take(node, *value, number)?;
        }
        Ok(Boxes(taken))
    }

    /// Whether boxes overlap others by more than a part of what both cover.
    fn overlap(
        &self,
        importer: &mut Importer,
        node: &Node,
        other: &Boxes,
        most: Value,
    ) -> Result<Value, Problem> {
        let mut lengths = Vec::new();
        for (low, high) in [(0, 2), (1, 3)] {
            let low = importer.binary(node, Binary::Max, self.0[low], other.0[low])?;
            let high = importer.binary(node, Binary::Min, self.0[high], other.0[high])?;
            let length = importer.binary(node, Binary::Sub, high, low)?;
            lengths.push(importer.unary(node, Unary::Relu, length)?);
        }
        let both = importer.binary(node, Binary::Mul, lengths[0], lengths[1])?;
        let sum = importer.binary(node, Binary::Add, self.0[4], other.0[4])?;
        let all = importer.binary(node, Binary::Sub, sum, both)?;
        // Nothing over nothing is NaN, which is above no limit.
        let share = importer.binary(node, Binary::Div, both, all)?;
        importer.compare(node, Comparison::Less, most, share)
    }
}

/// Whether boxes are left on any list.
fn any_left(importer: &mut Importer, node: &Node, left: Value) -> Result<Value, Problem> {
    let best = Op::Reduce { kind: ReduceKind::Max, axes: vec![0, 1, 2], keep_dims: false };
    let best = importer.add(node, best, &[left])?;
    let off = importer.number(node, DType::F32, OFF)?;
    importer.compare(node, Comparison::Less, off, best)
}

/// One step: the next list, and of each class the number of the box that was taken plus one, or 0.
fn step(
    importer: &mut Importer,
    node: &Node,
    left: Value,
    (boxes, most): (&Boxes, Value),
    sizes: Sizes,
) -> Result<(Value, Value), Problem> {
    let best = importer.add(node, Op::ArgReduce { largest: true, axis: 2, last: false }, &[left])?;
    let score = importer.reduced(node, ReduceKind::Max, left, &[2])?;
    let off = importer.number(node, DType::F32, OFF)?;
    let there = importer.compare(node, Comparison::Less, off, score)?;
    let taken = boxes.of(importer, node, best, sizes)?;
    let overlap = taken.overlap(importer, node, boxes, most)?;
    let numbers = importer.places(node, 2, 3, sizes.boxes)?;
    let itself = importer.compare(node, Comparison::Equal, numbers, best)?;
    let goes = importer.binary(node, Binary::Or, overlap, itself)?;
    let next = importer.choose(node, goes, off, left)?;
    let number = importer.with_integer(node, Binary::Add, best, 1)?;
    let none = importer.integer(node, 0)?;
    let number = importer.choose(node, there, number, none)?;
    Ok((next, importer.reshape(node, number, &[sizes.batch, sizes.classes])?))
}

pub(super) fn select(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (boxes, scores) = (node.input(0)?, node.input(1)?);
    let (ty, of_scores) = (importer.ty(boxes), importer.ty(scores));
    let (&[batch, count, 4], &[images, classes, scored]) = (ty.dims(), of_scores.dims()) else {
        return invalid(format!("boxes {ty} and scores {of_scores}"));
    };
    if images != batch || scored != count || of_scores.shape.elements() == 0 {
        return invalid(format!("boxes {ty} and scores {of_scores}"));
    }
    let sizes = Sizes { batch, classes, boxes: count };
    let name = node.proto.output.first().map_or("", String::as_str);
    let Some(&rows) = importer.selections.get(name) else {
        return unsupported(format!(
            "how many boxes are selected depends on them; bind it with --dim {}.0=ROWS",
            name.escape_debug()
        ));
    };
    if rows > of_scores.shape.elements() {
        return invalid(format!("{rows} boxes selected by scores {of_scores}"));
    }
    let number = |importer: &mut Importer, input: usize| match node.optional(input) {
        Some(value) => importer.reshape(node, value, &[]).map(Some),
        None => Ok(None),
    };
    let most = match number(importer, 3)? {
        Some(most) => most,
        None => importer.number(node, DType::F32, 0.0)?,
    };
    let limit = match number(importer, 2)? {
        Some(limit) => importer.cast(node, limit, DType::I64)?,
        None => importer.integer(node, 0)?,
    };
    let known = match importer.graph.as_constant(limit) {
        Some(_) => importer.integers(limit, "a number of boxes")?.first().copied(),
        None => None,
    };
    let steps = known.map_or(count, |known| usize::try_from(known).unwrap_or(0).min(count));
    // Those on the list: of a score above the threshold; NaN is above none.
    let off = importer.number(node, DType::F32, OFF)?;
    let least = number(importer, 4)?.unwrap_or(off);
    let listed = importer.compare(node, Comparison::Less, least, scores)?;
    let left = importer.choose(node, listed, scores, off)?;
    let picked = match steps {
        0 => {
            let none = importer.integer(node, 0)?;
            importer.broadcast(node, none, &[1, batch, classes])?
        }
        _ => repeated(importer, node, (left, boxes, most), (steps, limit, known.is_none()), sizes)?,
    };
    Ok(vec![rows_of(importer, node, picked, rows)?])
}

/// The loop: what each step took, `[steps, batch, classes]`.
fn repeated(
    importer: &mut Importer,
    node: &Node,
    (left, boxes, most): (Value, Value, Value),
    (steps, limit, limited): (usize, Value, bool),
    sizes: Sizes,
) -> Result<Value, Problem> {
    let boxes = Boxes::new(importer, node, boxes, sizes)?;
    let goes_on = any_left(importer, node, left)?;
    let body = importer.build(format!("{}.step", node.name), |importer| {
        let input = |importer: &mut Importer, name: &str, ty: TensorType| {
            importer.graph.add(name, Op::Input(ty), &[]).map_err(|e| Problem::Invalid(e.to_string()))
        };
        let left = input(importer, "left", TensorType::f32([sizes.batch, sizes.classes, sizes.boxes])?)?;
        let corner = TensorType::f32([sizes.batch, 1, sizes.boxes])?;
        let mut outer = [left; 5];
        for (name, value) in ["top", "left_edge", "bottom", "right", "area"].into_iter().zip(&mut outer) {
            *value = input(importer, name, corner.clone())?;
        }
        let most = input(importer, "most", TensorType::f32([])?)?;
        let (next, number) = step(importer, node, left, (&Boxes(outer), most), sizes)?;
        let goes_on = any_left(importer, node, next)?;
        importer.graph.add_output("goes_on", goes_on);
        importer.graph.add_output("next", next);
        importer.graph.add_output("number", number);
        Ok(())
    })?;
    let op = Loop {
        body: Region::new(body),
        count: steps,
        limited,
        conditional: true,
        carried: 1,
        scanned: Vec::new(),
        stacked: vec![false],
    };
    let mut operands = if limited { vec![limit] } else { Vec::new() };
    operands.extend([goes_on, left]);
    operands.extend(boxes.0);
    operands.push(most);
    match importer.add_holder(node, Op::Loop(op), &operands)?[..] {
        [_, picked] => Ok(picked),
        _ => invalid("a loop without results"),
    }
}

/// What was taken, as rows of image, class and box in ONNX's order: by image, by class, then as they were taken.
fn rows_of(importer: &mut Importer, node: &Node, picked: Value, rows: usize) -> Result<Value, Problem> {
    let &[steps, batch, classes] = importer.ty(picked).dims() else { return invalid("nothing was taken") };
    let all = steps * batch * classes;
    let picked = importer.transposed(node, picked, &[1, 2, 0])?;
    let picked = importer.reshape(node, picked, &[all, 1])?;
    let zero = importer.integer(node, 0)?;
    let taken = importer.compare(node, Comparison::Less, zero, picked)?;
    let taken = importer.reshape(node, taken, &[all])?;
    // Where each of them goes; the last place is for what is left out.
    let ones = importer.cast(node, taken, DType::I64)?;
    let sums = Op::Cumulate { join: Binary::Add, axis: 0, exclusive: true, reverse: false };
    let place = importer.add(node, sums, &[ones])?;
    let place = importer.with_integer(node, Binary::Min, place, rows)?;
    let last = importer.integer(node, rows as i64)?;
    let place = importer.choose(node, taken, place, last)?;
    let image = importer.table(node, &[all, 1], |at| (at[0] / (steps * classes)) as i64)?;
    let class = importer.table(node, &[all, 1], |at| (at[0] / steps % classes) as i64)?;
    let number = importer.with_integer(node, Binary::Sub, picked, 1)?;
    let entries = importer.joined(node, &[image, class, number], 1)?;
    let none = importer.integer(node, -1)?;
    let none = importer.broadcast(node, none, &[rows + 1, 3])?;
    let filled = importer.add(node, Op::Scatter { join: None }, &[none, place, entries])?;
    importer.part(node, filled, 0, (0, rows))
}
