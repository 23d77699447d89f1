//! Operators of models that go on from what they saw before: a state comes in, and the next one goes out.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Conv, Layout, Op, Padding, Unary};
use avocet_ir::tensor::DType;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axis;

/// Steps of a recurrence that are written out.
const MOST_STEPS: usize = 128;

/// CausalConvWithState: a depthwise convolution along a sequence of which the last elements are kept for the next.
pub(super) fn causal_conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, w) = (node.input(0)?, node.input(1)?);
    let (ty, weights) = (importer.ty(x), importer.ty(w));
    let (&[batch, channels, length], &[outputs, 1, window]) = (ty.dims(), weights.dims()) else {
        return invalid(format!("weights {weights} for {ty}"));
    };
    if outputs != channels || window == 0 {
        return invalid(format!("weights {weights} for {ty}"));
    }
    let kept = window - 1;
    let padded = match node.optional(3) {
        Some(past) => importer.joined(node, &[past, x], 2)?,
        None => importer.padded(node, x, vec![(0, 0), (0, 0), (kept, 0)], 0.0)?,
    };
    if importer.ty(padded).dims() != [batch, channels, length + kept] {
        return invalid(format!("a state that is not the last {kept} elements of {ty}"));
    }
    let row = importer.reshape(node, padded, &[batch, channels, 1, length + kept])?;
    let kernel = importer.reshape(node, w, &[channels, 1, 1, window])?;
    let conv = Conv {
        strides: [1; 2],
        dilations: [1; 2],
        padding: Padding::default(),
        groups: channels,
        layout: Layout::Nchw,
    };
    let mut y = importer.add(node, Op::Conv(conv), &[row, kernel])?;
    if let Some(bias) = node.optional(2) {
        let bias = importer.reshape(node, bias, &[channels, 1, 1])?;
        y = importer.binary(node, Binary::Add, y, bias)?;
    }
    match node.attributes.text("activation", "none")?.as_str() {
        "none" => {}
        "silu" | "swish" => y = importer.unary(node, Unary::Silu, y)?,
        other => return unsupported(format!("activation '{}'", other.escape_debug())),
    }
    let y = importer.reshape(node, y, &[batch, channels, length])?;
    Ok(vec![y, importer.part(node, padded, 2, (length, kept))?])
}

/// TensorScatter: new elements of sequences written into caches of more, from a place of each batch on.
pub(super) fn tensor_scatter(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (cache, update) = (node.input(0)?, node.input(1)?);
    let (ty, new) = (importer.ty(cache).shape, importer.ty(update).shape);
    let axis = axis(node.attributes.int("axis", -2)?, ty.rank())?;
    let differ = (0..ty.rank()).any(|i| i != axis && new.dims().get(i) != Some(&ty[i]));
    if axis == 0 || differ || new.rank() != ty.rank() || new[axis] > ty[axis] {
        return invalid(format!("an update {new} of {ty} along axis {axis}"));
    }
    let circular = match node.attributes.text("mode", "linear")?.as_str() {
        "linear" => false,
        "circular" => true,
        other => return unsupported(format!("mode '{}'", other.escape_debug())),
    };
    let (batch, extent, count) = (ty[0], ty[axis], new[axis]);
    let each: usize = ty.dims()[1..axis].iter().product();
    let row: usize = ty.dims()[axis + 1..].iter().product();
    let steps = importer.table(node, &[1, 1, count], |at| at[2] as i64)?;
    let mut places = match node.optional(2) {
        Some(starts) => {
            let starts = importer.reshape(node, starts, &[batch, 1, 1])?;
            importer.binary(node, Binary::Add, starts, steps)?
        }
        None => steps,
    };
    places = match circular {
        true => importer.with_integer(node, Binary::Mod, places, extent)?,
        false => importer.within(node, places, extent)?,
    };
    let first = importer.table(node, &[batch, each, 1], |at| ((at[0] * each + at[1]) * extent) as i64)?;
    let numbers = importer.binary(node, Binary::Add, places, first)?;
    let numbers = importer.reshape(node, numbers, &[batch * each * count])?;
    let cache = importer.reshape(node, cache, &[batch * each * extent, row])?;
    let update = importer.reshape(node, update, &[batch * each * count, row])?;
    let y = importer.add(node, Op::Scatter { join: None }, &[cache, numbers, update])?;
    Ok(vec![importer.reshape(node, y, ty.dims())?])
}

/// `[batch, steps, heads * width]` as `[batch, heads, steps, width]`.
fn in_heads(importer: &mut Importer, node: &Node, x: Value, heads: usize) -> Result<Value, Problem> {
    let ty = importer.ty(x);
    match *ty.dims() {
        [batch, steps, width] if width.is_multiple_of(heads) => {
            let split = importer.reshape(node, x, &[batch, steps, heads, width / heads])?;
            importer.transposed(node, split, &[0, 2, 1, 3])
        }
        _ => invalid(format!("{ty} in {heads} heads")),
    }
}

/// What a step of the recurrence of LinearAttention does with its state.
#[derive(Clone, Copy)]
struct Rule {
    /// `[batch, heads, steps, width or 1]`: logarithms of what is kept of the state.
    decay: Option<Value>,
    /// `[batch, heads or 1, steps, 1]`: how much of a correction is written.
    beta: Option<Value>,
}

/// LinearAttention: a matrix for each head, to which each step adds the product of its key and value, and from which it reads by
/// its query. Without decay and corrections all steps are computed together; else they are written out.
pub(super) fn linear_attention(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let a = node.attributes;
    let heads = size("kv_num_heads", a.int("kv_num_heads", 0)?, 1)?;
    let queries = size("q_num_heads", a.int("q_num_heads", 0)?, 1)?;
    let q = in_heads(importer, node, node.input(0)?, queries)?;
    let k = in_heads(importer, node, node.input(1)?, heads)?;
    let v = in_heads(importer, node, node.input(2)?, heads)?;
    let [of_q, of_k, of_v] = [q, k, v].map(|value| importer.ty(value));
    let (&[batch, _, steps, width], &[_, _, _, out]) = (of_k.dims(), of_v.dims()) else {
        return invalid(format!("keys {of_k} and values {of_v}"));
    };
    let fits = of_q.dims() == [batch, queries, steps, width] && of_v.dims() == [batch, heads, steps, out];
    if !fits || !queries.is_multiple_of(heads) || steps == 0 || width == 0 {
        return invalid(format!("queries {of_q}, keys {of_k} and values {of_v}"));
    }
    let (gated, delta) = match a.text("update_rule", "gated_delta")?.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return unsupported(format!("update_rule '{}'", other.escape_debug())),
    };
    if gated != node.optional(4).is_some() || delta != node.optional(5).is_some() {
        return invalid("a decay or a correction that the update rule does not have, or lacks");
    }
    let rule = Rule {
        decay: node.optional(4).map(|decay| in_heads(importer, node, decay, heads)).transpose()?,
        beta: match node.optional(5) {
            Some(beta) => {
                let own = importer.ty(beta).dims().last().copied().unwrap_or(1).max(1);
                Some(in_heads(importer, node, beta, own)?)
            }
            None => None,
        },
    };
    // All queries of a head of the state side by side.
    let group = queries / heads;
    let q = importer.reshape(node, q, &[batch, heads, group, steps, width])?;
    let scale = match a.float("scale", 0.0)? {
        0.0 => 1.0 / (width as f32).sqrt(),
        given => given,
    };
    let q = importer.with_number(node, Binary::Mul, q, scale)?;
    let state = match node.optional(3) {
        Some(past) => importer.reshape(node, past, &[batch, heads, width, out])?,
        None => {
            let zero = importer.number(node, DType::F32, 0.0)?;
            importer.broadcast(node, zero, &[batch, heads, width, out])?
        }
    };
    let (y, state) = match gated || delta {
        false => together(importer, node, (q, k, v), state)?,
        true if steps <= MOST_STEPS => written_out(importer, node, (q, k, v), rule, state)?,
        true => {
            return unsupported(format!(
                "a recurrence of {steps} steps; at most {MOST_STEPS} are written out"
            ));
        }
    };
    let y = importer.reshape(node, y, &[batch, queries, steps, out])?;
    let y = importer.transposed(node, y, &[0, 2, 1, 3])?;
    Ok(vec![importer.reshape(node, y, &[batch, steps, queries * out])?, state])
}

/// All steps at once: `Q S + tril(Q K') V`, and `S + K' V`.
fn together(
    importer: &mut Importer,
    node: &Node,
    (q, k, v): (Value, Value, Value),
    state: Value,
) -> Result<(Value, Value), Problem> {
    let &[batch, heads, _, steps, width] = importer.ty(q).dims() else {
        return invalid("queries without heads");
    };
    let out = importer.ty(v).shape[3];
    let turned = importer.transposed(node, k, &[0, 1, 3, 2])?;
    let keys = importer.reshape(node, turned, &[batch, heads, 1, width, steps])?;
    let values = importer.reshape(node, v, &[batch, heads, 1, steps, out])?;
    let scores = importer.product(node, q, keys)?;
    importer.afford(steps.saturating_mul(steps).saturating_mul(4))?;
    let past = (0..steps * steps).map(|i| f32::from(u8::from(i % steps <= i / steps))).collect();
    let past = importer.floats_of(node, &[steps, steps], past)?;
    let scores = importer.binary(node, Binary::Mul, scores, past)?;
    let new = importer.product(node, scores, values)?;
    let old = importer.reshape(node, state, &[batch, heads, 1, width, out])?;
    let old = importer.product(node, q, old)?;
    let y = importer.binary(node, Binary::Add, old, new)?;
    let written = importer.product(node, turned, v)?;
    Ok((y, importer.binary(node, Binary::Add, state, written)?))
}

/// Step by step.
fn written_out(
    importer: &mut Importer,
    node: &Node,
    (q, k, v): (Value, Value, Value),
    rule: Rule,
    state: Value,
) -> Result<(Value, Value), Problem> {
    let &[batch, heads, group, steps, width] = importer.ty(q).dims() else {
        return invalid("queries without heads");
    };
    let mut state = state;
    let mut results = Vec::new();
    for step in 0..steps {
        let key = importer.one(node, k, 2, step)?;
        let mut value = importer.one(node, v, 2, step)?;
        if let Some(decay) = rule.decay {
            let decay = importer.one(node, decay, 2, step)?;
            let decay = importer.unary(node, Unary::Exp, decay)?;
            let decay = importer.transposed(node, decay, &[0, 1, 3, 2])?;
            state = importer.binary(node, Binary::Mul, state, decay)?;
        }
        if let Some(beta) = rule.beta {
            let there = importer.product(node, key, state)?;
            let missing = importer.binary(node, Binary::Sub, value, there)?;
            let beta = importer.one(node, beta, 2, step)?;
            value = importer.binary(node, Binary::Mul, missing, beta)?;
        }
        let column = importer.reshape(node, key, &[batch, heads, width, 1])?;
        let written = importer.binary(node, Binary::Mul, column, value)?;
        state = importer.binary(node, Binary::Add, state, written)?;
        let query = importer.one(node, q, 3, step)?;
        let query = importer.reshape(node, query, &[batch, heads, group, width])?;
        let result = importer.product(node, query, state)?;
        let out = importer.ty(result).shape[3];
        results.push(importer.reshape(node, result, &[batch, heads, group, 1, out])?);
    }
    Ok((importer.joined(node, &results, 3)?, state))
}
