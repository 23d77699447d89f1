//! Attention and the embedding of positions, written out in products, masks and softmax.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op, PadMode, ReduceKind, SliceAxis, Unary};
use avocet_ir::tensor::{DType, Shape, Tensor};

use super::super::attributes::{Problem, invalid, size};
use super::super::import::{Importer, Node};
use super::movement::whole;

/// Queries, keys and values as `[batch, heads, positions, size]`; those of rank 3 have their heads side by side.
fn in_heads(importer: &mut Importer, node: &Node, x: Value, attribute: &str) -> Result<Value, Problem> {
    match *importer.ty(x).dims() {
        [_, _, _, _] => Ok(x),
        [batch, positions, wide] => {
            let heads = size(attribute, node.attributes.int(attribute, 0)?, 1)?;
            if !wide.is_multiple_of(heads) {
                return invalid(format!("{heads} heads of {wide} elements"));
            }
            let x = importer.reshape(node, x, &[batch, positions, heads, wide / heads])?;
            importer.add(node, Op::Transpose { perm: vec![0, 2, 1, 3] }, &[x])
        }
        _ => invalid(format!("attention on {}", importer.ty(x))),
    }
}

/// What is added to the scores: 0 where a key may be seen, minus infinity where not, or a mask's own numbers.
struct Bias<'a, 'b, 'c> {
    importer: &'a mut Importer<'c>,
    node: &'a Node<'b>,
    sum: Option<Value>,
}

impl Bias<'_, '_, '_> {
    fn add(&mut self, bias: Value) -> Result<(), Problem> {
        self.sum = Some(match self.sum {
            Some(sum) => self.importer.binary(self.node, Binary::Add, sum, bias)?,
            None => bias,
        });
        Ok(())
    }

    /// Keys that a condition allows.
    fn allow(&mut self, allowed: Value) -> Result<(), Problem> {
        let (open, closed) = self.open_and_closed()?;
        let bias = self.importer.choose(self.node, allowed, open, closed)?;
        self.add(bias)
    }

    fn open_and_closed(&mut self) -> Result<(Value, Value), Problem> {
        let open = self.importer.number(self.node, DType::F32, 0.0)?;
        Ok((open, self.importer.number(self.node, DType::F32, f32::NEG_INFINITY)?))
    }

    /// A mask of booleans or numbers; keys beyond it may not be seen.
    fn mask(&mut self, mask: Value, keys: usize) -> Result<(), Problem> {
        let (open, closed) = self.open_and_closed()?;
        let mut mask = match self.importer.ty(mask).dtype {
            DType::Bool => self.importer.choose(self.node, mask, open, closed)?,
            _ => mask,
        };
        let shape = self.importer.ty(mask).shape;
        let Some(&width) = shape.dims().last() else { return invalid("a mask without dimensions") };
        if width < keys {
            let mut amounts = vec![(0, 0); shape.rank()];
            amounts[shape.rank() - 1].1 = keys - width;
            let op = Op::Pad { amounts, mode: PadMode::Constant(f32::NEG_INFINITY) };
            mask = self.importer.add(self.node, op, &[mask])?;
        }
        self.add(mask)
    }

    /// Keys at distances from the query, the query's own place being `offset` further: none of them later, or no further than
    /// windows to the left and to the right.
    fn near(&mut self, distance: Value, low: Option<i64>, high: Option<i64>) -> Result<(), Problem> {
        let mut limit = |value: i64| -> Result<Value, Problem> {
            Ok(self.importer.constant(self.node, Tensor::i64([], [value].as_slice())?))
        };
        let (low, high) = (low.map(&mut limit).transpose()?, high.map(limit).transpose()?);
        if let Some(low) = low {
            let allowed = self.importer.compare(self.node, Comparison::LessEqual, low, distance)?;
            self.allow(allowed)?;
        }
        if let Some(high) = high {
            let allowed = self.importer.compare(self.node, Comparison::LessEqual, distance, high)?;
            self.allow(allowed)?;
        }
        Ok(())
    }
}

/// `softmax(Q K^T scale + bias) V`, in groups of heads that share keys and values.
pub(super) fn attention(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let a = node.attributes;
    let rank = importer.ty(node.input(0)?).shape.rank();
    let queries = in_heads(importer, node, node.input(0)?, "q_num_heads")?;
    let mut keys = in_heads(importer, node, node.input(1)?, "kv_num_heads")?;
    let mut values = in_heads(importer, node, node.input(2)?, "kv_num_heads")?;
    let mut past = 0;
    if let (Some(past_keys), Some(past_values)) = (node.optional(4), node.optional(5)) {
        past = importer.ty(past_keys).dims().get(2).copied().unwrap_or(0);
        keys = importer.add(node, Op::Concat { axis: 2 }, &[past_keys, keys])?;
        values = importer.add(node, Op::Concat { axis: 2 }, &[past_values, values])?;
    }
    let present = (keys, values);
    let (&[batch, heads, length, width], &[_, groups, count, _]) =
        (importer.ty(queries).dims(), importer.ty(keys).dims())
    else {
        return invalid("queries and keys of different ranks");
    };
    if groups == 0 || !heads.is_multiple_of(groups) || importer.ty(values).dims().get(1) != Some(&groups) {
        return invalid(format!("{heads} heads of queries for {groups} of keys"));
    }
    for shared in [&mut keys, &mut values] {
        *shared = repeated(importer, node, *shared, heads / groups)?;
    }
    let scale = a.float("scale", 1.0 / (width as f32).sqrt())?;
    let scale = importer.number(node, DType::F32, scale)?;
    let scaled = importer.binary(node, Binary::Mul, queries, scale)?;
    let product = Op::MatMul { transpose_a: false, transpose_b: true };
    let raw = importer.add(node, product, &[scaled, keys])?;
    let mut scores = raw;
    let cap = a.float("softcap", 0.0)?;
    if cap > 0.0 {
        let cap = importer.number(node, DType::F32, cap)?;
        scores = importer.binary(node, Binary::Div, scores, cap)?;
        scores = importer.unary(node, Unary::Tanh, scores)?;
        scores = importer.binary(node, Binary::Mul, scores, cap)?;
    }
    let capped = scores;
    let bias = bias(importer, node, (batch, length, count), past)?;
    if let Some(bias) = bias {
        scores = importer.binary(node, Binary::Add, scores, bias)?;
    }
    let biased = scores;
    let mut weights = importer.add(node, Op::Softmax { axis: 3 }, &[scores])?;
    if let Some(bias) = bias {
        // A query that may see no key gets nothing.
        let axis = importer.ty(bias).shape.rank() - 1;
        let op = Op::Reduce { kind: ReduceKind::Max, axes: vec![axis], keep_dims: true };
        let most = importer.add(node, op, &[bias])?;
        let closed = importer.number(node, DType::F32, f32::NEG_INFINITY)?;
        let blind = importer.compare(node, Comparison::Equal, most, closed)?;
        let zero = importer.number(node, DType::F32, 0.0)?;
        weights = importer.choose(node, blind, zero, weights)?;
    }
    let mut y =
        importer.add(node, Op::MatMul { transpose_a: false, transpose_b: false }, &[weights, values])?;
    if rank == 3 {
        y = importer.add(node, Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y])?;
        let wide = importer.ty(y).dims()[2..].iter().product();
        y = importer.reshape(node, y, &[batch, length, wide])?;
    }
    let shown = match a.int("qk_matmul_output_mode", 0)? {
        0 => raw,
        1 => capped,
        2 => biased,
        _ => weights,
    };
    Ok(vec![y, present.0, present.1, shown])
}

/// Each head of keys or values as often as queries share it.
fn repeated(importer: &mut Importer, node: &Node, x: Value, times: usize) -> Result<Value, Problem> {
    let &[batch, heads, positions, width] = importer.ty(x).dims() else {
        return invalid("values of another rank");
    };
    if times == 1 {
        return Ok(x);
    }
    let y = importer.reshape(node, x, &[batch, heads, 1, positions, width])?;
    let shape = Shape::new([batch, heads, times, positions, width])?;
    let y = importer.add(node, Op::Broadcast { shape }, &[y])?;
    importer.reshape(node, y, &[batch, heads * times, positions, width])
}

fn bias(
    importer: &mut Importer,
    node: &Node,
    (batch, length, count): (usize, usize, usize),
    past: usize,
) -> Result<Option<Value>, Problem> {
    let a = node.attributes;
    let window = |name| a.int(name, -1).map(|size| Some(size).filter(|&size| size >= 0));
    let (left, right) = (window("left_window_size")?, window("right_window_size")?);
    let causal = a.flag("is_causal", false)?;
    let filled = match node.optional(6) {
        Some(filled) => {
            let filled = importer.cast(node, filled, DType::I64)?;
            Some(importer.reshape(node, filled, &[batch, 1, 1, 1])?)
        }
        None => None,
    };
    // How far each key is before each query.
    let mut distance = None;
    if causal || left.is_some() || right.is_some() {
        let table = importer.table(node, &[length, count], |at| (at[0] + past) as i64 - at[1] as i64)?;
        distance = Some(match filled {
            Some(filled) => {
                let own = importer.constant(node, Tensor::i64([], [length as i64].as_slice())?);
                let offset = importer.binary(node, Binary::Sub, filled, own)?;
                importer.binary(node, Binary::Add, table, offset)?
            }
            None => table,
        });
    }
    let mut bias = Bias { importer, node, sum: None };
    if let Some(mask) = node.optional(3) {
        bias.mask(mask, count)?;
    }
    if let Some(distance) = distance {
        let low = [causal.then_some(0), right.map(|size| -size)].into_iter().flatten().max();
        bias.near(distance, low, left)?;
    }
    if let Some(filled) = filled {
        let places = bias.importer.table(node, &[1, 1, 1, count], |at| at[3] as i64)?;
        let allowed = bias.importer.compare(node, Comparison::Less, places, filled)?;
        bias.allow(allowed)?;
    }
    Ok(bias.sum)
}

/// Pairs of elements turned by angles that depend on the position.
pub(super) fn rotary(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let (a, rank) = (node.attributes, importer.ty(x).shape.rank());
    let heads = in_heads(importer, node, x, "num_heads")?;
    let shape = importer.ty(heads).shape;
    let &[batch, count, length, width] = shape.dims() else {
        return invalid(format!("positions in {shape}"));
    };
    let turned = match size("rotary_embedding_dim", a.int("rotary_embedding_dim", 0)?, 0)? {
        0 => width,
        given => given,
    };
    if turned > width || !turned.is_multiple_of(2) {
        return invalid(format!("{turned} of {width} elements can't be turned in pairs"));
    }
    let half = turned / 2;
    let mut angles = Vec::new();
    for number in [1, 2] {
        let mut cache = node.input(number)?;
        if let Some(positions) = node.optional(3) {
            let positions = importer.cast(node, positions, DType::I64)?;
            cache = importer.add(node, Op::Gather { axis: 0 }, &[cache, positions])?;
        }
        let cache_batch = importer.ty(cache).shape.elements() / (length * half).max(1);
        angles.push(importer.reshape(node, cache, &[cache_batch, 1, length, half])?);
    }
    let (cosine, sine) = (angles[0], angles[1]);
    let interleaved = a.flag("interleaved", false)?;
    let part = |importer: &mut Importer, start: usize, count: usize, step: isize| {
        let mut axes = whole(&shape);
        axes[3] = SliceAxis { start, count, step };
        importer.add(node, Op::Slice { axes }, &[heads])
    };
    let (first, second) = match interleaved {
        true => (part(importer, 0, half, 2)?, part(importer, 1, half, 2)?),
        false => (part(importer, 0, half, 1)?, part(importer, half, half, 1)?),
    };
    let mut sum = |op: Binary, (p, q): (Value, Value), (r, s): (Value, Value)| {
        let (left, right) =
            (importer.binary(node, Binary::Mul, p, q)?, importer.binary(node, Binary::Mul, r, s)?);
        importer.binary(node, op, left, right)
    };
    let real = sum(Binary::Sub, (cosine, first), (sine, second))?;
    let imaginary = sum(Binary::Add, (sine, first), (cosine, second))?;
    let mut y = if interleaved {
        let pair = [
            importer.reshape(node, real, &[batch, count, length, half, 1])?,
            importer.reshape(node, imaginary, &[batch, count, length, half, 1])?,
        ];
        let pairs = importer.add(node, Op::Concat { axis: 4 }, &pair)?;
        importer.reshape(node, pairs, &[batch, count, length, turned])?
    } else {
        importer.add(node, Op::Concat { axis: 3 }, &[real, imaginary])?
    };
    if turned < width {
        let rest = part(importer, turned, width - turned, 1)?;
        y = importer.add(node, Op::Concat { axis: 3 }, &[y, rest])?;
    }
    if rank == 3 {
        y = importer.add(node, Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y])?;
        y = importer.reshape(node, y, &[batch, length, count * width])?;
    }
    Ok(vec![y])
}
