//! Recurrent layers: RNN, GRU and LSTM, as loops over time.
//!
//! What depends on the input alone, its product with the weights, is one product for all steps before the loop. The loop
//! carries the state and adds the product of the state with the recurrent weights, which are packed once. Layouts and the
//! order of gates are those of the ONNX specification: sequences `[time, batch, input]`, weights `[directions, gates *
//! hidden, ..]`, results `[time, directions, batch, hidden]` and `[directions, batch, hidden]`.

mod cells;

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Loop, Op, Region};
use avocet_ir::tensor::{DType, Shape, Tensor, TensorType};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use cells::{Activation, Step};

/// What is computed from the gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Plain,
    Gru,
    Lstm,
}

impl Cell {
    const fn gates(self) -> usize {
        match self {
            Cell::Plain => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }

    /// Names of the activations of one direction.
    const fn activations(self) -> &'static [&'static str] {
        match self {
            Cell::Plain => &["Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

pub(super) fn plain(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    layer(importer, node, Cell::Plain)
}

pub(super) fn gru(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    layer(importer, node, Cell::Gru)
}

pub(super) fn lstm(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    layer(importer, node, Cell::Lstm)
}

/// One direction of a layer: its weights, one after the other.
struct Direction {
    /// `[gates * hidden, input]`.
    input: Value,
    /// `[gates * hidden, hidden]`.
    recurrent: Value,
    /// `[gates * hidden]` each, of the input and of the state.
    biases: Option<[Value; 2]>,
    /// `[3 * hidden]`: of the input, output and forget gates.
    peepholes: Option<Value>,
    activations: Vec<Activation>,
    backwards: bool,
}

/// What all directions have in common.
struct Layer {
    cell: Cell,
    time: usize,
    batch: usize,
    hidden: usize,
    clip: Option<f32>,
    linear_before_reset: bool,
    input_forget: bool,
    /// `[time, batch, 1]` booleans: which steps count, when sequences are of different lengths.
    counts: Option<Value>,
}

fn layer(importer: &mut Importer, node: &Node, cell: Cell) -> Result<Vec<Value>, Problem> {
    let batch_first = node.attributes.flag("layout", false)?;
    let mut x = node.input(0)?;
    if batch_first {
        x = swapped(importer, node, x, &[1, 0, 2])?;
    }
    let (ty, weights) = (importer.ty(x), importer.ty(node.input(1)?));
    let (&[time, batch, _], &[directions, rows, _]) = (ty.dims(), weights.dims()) else {
        return invalid(format!("sequences {ty} and weights {weights} are not of rank 3"));
    };
    let hidden = rows / cell.gates();
    if hidden == 0 || rows != hidden * cell.gates() || time == 0 {
        return invalid(format!("{rows} rows of weights for {} gates, {time} steps", cell.gates()));
    }
    let given = node.attributes.int("hidden_size", hidden as i64)?;
    if size("hidden_size", given, 1)? != hidden {
        return invalid(format!("a hidden size of {given}, but weights {weights}"));
    }
    let backwards = match (node.attributes.text("direction", "forward")?.as_str(), directions) {
        ("forward", 1) => vec![false],
        ("reverse", 1) => vec![true],
        ("bidirectional", 2) => vec![false, true],
        (direction, _) => {
            return invalid(format!("direction {} with weights {weights}", direction.escape_debug()));
        }
    };
    let clip = node.attributes.float("clip", 0.0)?;
    let layer = Layer {
        cell,
        time,
        batch,
        hidden,
        clip: (clip > 0.0).then_some(clip),
        linear_before_reset: node.attributes.flag("linear_before_reset", false)?,
        input_forget: node.attributes.flag("input_forget", false)?,
        counts: counts(importer, node, (time, batch), &backwards)?,
    };
    let activations = activations(node, cell, directions)?;
    let (mut all, mut last, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for (number, &backwards) in backwards.iter().enumerate() {
        let direction = Direction {
            input: part(importer, node, node.input(1)?, number)?,
            recurrent: part(importer, node, node.input(2)?, number)?,
            biases: match node.optional(3) {
                Some(biases) => {
                    let biases = part(importer, node, biases, number)?;
                    let half = cell.gates() * hidden;
                    Some([cut(importer, node, biases, 0, half)?, cut(importer, node, biases, half, half)?])
                }
                None => None,
            },
            peepholes: match node.optional(7).filter(|_| cell == Cell::Lstm) {
                Some(peepholes) => Some(part(importer, node, peepholes, number)?),
                None => None,
            },
            activations: activations[number].clone(),
            backwards,
        };
        let mut states = Vec::new();
        for input in [5, 6].into_iter().take(if cell == Cell::Lstm { 2 } else { 1 }) {
            states.push(first_state(importer, node, input, number, (&layer, batch_first))?);
        }
        let results = run(importer, node, &layer, &direction, (x, &states))?;
        // Each with a dimension of directions, which are put together.
        all.push(importer.reshape(node, results[states.len()], &[time, 1, batch, hidden])?);
        last.push(importer.reshape(node, results[0], &[1, batch, hidden])?);
        if cell == Cell::Lstm {
            cells.push(importer.reshape(node, results[1], &[1, batch, hidden])?);
        }
    }
    let mut results = vec![importer.joined(node, &all, 1)?, importer.joined(node, &last, 0)?];
    if cell == Cell::Lstm {
        results.push(importer.joined(node, &cells, 0)?);
    }
    if batch_first {
        results[0] = swapped(importer, node, results[0], &[2, 0, 1, 3])?;
        for result in &mut results[1..] {
            *result = swapped(importer, node, *result, &[1, 0, 2])?;
        }
    }
    Ok(results)
}

fn activations(node: &Node, cell: Cell, directions: usize) -> Result<Vec<Vec<Activation>>, Problem> {
    let usual = cell.activations();
    let names = node.attributes.texts("activations")?;
    let names = names.unwrap_or_else(|| {
        usual.iter().cycle().take(usual.len() * directions).map(|n| n.to_string()).collect()
    });
    if names.len() != usual.len() * directions {
        return invalid(format!("{} activations instead of {}", names.len(), usual.len() * directions));
    }
    let list =
        |name: &str| Ok::<_, Problem>(node.attributes.floats(name)?.unwrap_or(&[]).to_vec().into_iter());
    let (mut alphas, mut betas) = (list("activation_alpha")?, list("activation_beta")?);
    let all: Result<Vec<_>, _> =
        names.iter().map(|name| Activation::named(name, &mut alphas, &mut betas)).collect();
    Ok(all?.chunks(usual.len()).map(<[Activation]>::to_vec).collect())
}

/// Which steps of which sequences count; nothing when all do.
fn counts(
    importer: &mut Importer,
    node: &Node,
    (time, batch): (usize, usize),
    backwards: &[bool],
) -> Result<Option<Value>, Problem> {
    let Some(lengths) = node.optional(4) else { return Ok(None) };
    if importer.ty(lengths).dims() != [batch] {
        return invalid(format!("lengths {} of {batch} sequences", importer.ty(lengths)));
    }
    if importer.graph.as_constant(lengths).is_some() {
        let lengths = importer.integers(lengths, "lengths of sequences")?;
        if lengths.iter().all(|&length| usize::try_from(length) == Ok(time)) {
            return Ok(None);
        }
    }
    if backwards.contains(&true) {
        return unsupported("sequences of different lengths backwards");
    }
    let lengths = importer.cast(node, lengths, DType::I64)?;
    let lengths = importer.reshape(node, lengths, &[1, batch, 1])?;
    let steps = Tensor::i64(vec![time, 1, 1], (0..time as i64).collect::<Vec<_>>())?;
    let steps = importer.constant(node, steps);
    Ok(Some(importer.compare(node, Comparison::Less, steps, lengths)?))
}

/// The first state of a direction, `[batch, hidden]`.
fn first_state(
    importer: &mut Importer,
    node: &Node,
    input: usize,
    direction: usize,
    (layer, batch_first): (&Layer, bool),
) -> Result<Value, Problem> {
    let dims = [layer.batch, layer.hidden];
    let Some(mut state) = node.optional(input) else {
        // Asked before it is made: a batch may be of any size.
        importer.afford(layer.batch.saturating_mul(layer.hidden).saturating_mul(4))?;
        let zeros = Tensor::f32(dims, vec![0.0; layer.batch * layer.hidden])?;
        return Ok(importer.constant(node, zeros));
    };
    if batch_first {
        state = swapped(importer, node, state, &[1, 0, 2])?;
    }
    let state = part(importer, node, state, direction)?;
    match importer.ty(state).dims() == dims {
        true => Ok(state),
        false => invalid(format!("a first state {} instead of {dims:?}", importer.ty(state))),
    }
}

/// The loop of one direction: last states, then all outputs.
fn run(
    importer: &mut Importer,
    node: &Node,
    layer: &Layer,
    direction: &Direction,
    (x, states): (Value, &[Value]),
) -> Result<Vec<Value>, Problem> {
    let width = layer.cell.gates() * layer.hidden;
    let transposed = Op::MatMul { transpose_a: false, transpose_b: true };
    let mut gates = importer.add(node, transposed.clone(), &[x, direction.input])?;
    // A GRU that multiplies after the product keeps the recurrent bias of its last gate apart.
    let apart = layer.cell == Cell::Gru && layer.linear_before_reset;
    let mut apart_bias = None;
    if let Some([of_input, of_state]) = direction.biases {
        let mut of_state = of_state;
        if apart {
            apart_bias = Some(cut(importer, node, of_state, 2 * layer.hidden, layer.hidden)?);
            let rest = cut(importer, node, of_state, 0, 2 * layer.hidden)?;
            let none = importer.floats_of(node, &[layer.hidden], vec![0.0; layer.hidden])?;
            of_state = importer.joined(node, &[rest, none], 0)?;
        }
        let bias = importer.binary(node, Binary::Add, of_input, of_state)?;
        gates = importer.binary(node, Binary::Add, gates, bias)?;
    }
    let mut captured = vec![direction.recurrent];
    captured.extend(direction.peepholes);
    captured.extend(apart_bias);
    let mut scanned = vec![gates];
    scanned.extend(layer.counts);
    let types: Vec<TensorType> = captured.iter().map(|&value| importer.ty(value)).collect();
    let constants: Vec<Option<Tensor>> =
        captured.iter().map(|&value| importer.graph.as_constant(value).cloned()).collect();
    let body = importer.build(format!("{}.step", node.name), |importer| {
        let dims = [layer.batch, layer.hidden];
        let mut inputs = Vec::new();
        for number in 0..states.len() {
            inputs.push(input(importer, ["h", "c"][number], TensorType::f32(dims)?)?);
        }
        let gates = input(importer, "gates", TensorType::f32([layer.batch, width])?)?;
        let counts = match layer.counts {
            Some(_) => {
                let ty = TensorType::new(DType::Bool, Shape::new([layer.batch, 1])?);
                Some(input(importer, "counts", ty)?)
            }
            None => None,
        };
        let mut outside = Vec::new();
        for (number, (ty, constant)) in types.into_iter().zip(constants).enumerate() {
            let value = input(importer, ["recurrent", "second", "third"][number], ty)?;
            outside.push(match constant {
                Some(tensor) => importer.constant(node, tensor),
                None => value,
            });
        }
        let mut rest = outside[1..].iter().copied();
        let peepholes = direction.peepholes.and_then(|_| rest.next());
        let step = Step { node, layer, activations: &direction.activations, recurrent: outside[0] };
        let mut next = match layer.cell {
            Cell::Plain => step.plain(importer, inputs[0], gates)?,
            Cell::Gru => step.gru(importer, inputs[0], gates, rest.next())?,
            Cell::Lstm => step.lstm(importer, [inputs[0], inputs[1]], gates, peepholes)?,
        };
        let mut output = next[0];
        if let Some(counts) = counts {
            for (next, &before) in next.iter_mut().zip(&inputs) {
                *next = importer.choose(node, counts, *next, before)?;
            }
            let none = importer.number(node, DType::F32, 0.0)?;
            output = importer.choose(node, counts, output, none)?;
        }
        for (number, &value) in next.iter().enumerate() {
            importer.graph.add_output(["h", "c"][number], value);
        }
        importer.graph.add_output("y", output);
        Ok(())
    })?;
    let op = Loop {
        body: Region::new(body),
        count: layer.time,
        limited: false,
        conditional: false,
        carried: states.len(),
        scanned: vec![direction.backwards; scanned.len()],
        stacked: vec![direction.backwards],
    };
    let operands: Vec<Value> = states.iter().chain(&scanned).chain(&captured).copied().collect();
    importer.add_holder(node, Op::Loop(op), &operands)
}

fn input(importer: &mut Importer, name: &str, ty: TensorType) -> Result<Value, Problem> {
    importer.graph.add(name, Op::Input(ty), &[]).map_err(|e| Problem::Invalid(e.to_string()))
}

fn swapped(importer: &mut Importer, node: &Node, x: Value, perm: &[usize]) -> Result<Value, Problem> {
    match importer.ty(x).shape.rank() == perm.len() {
        true => importer.transposed(node, x, perm),
        false => invalid(format!("{} is not of rank {}", importer.ty(x), perm.len())),
    }
}

/// What a tensor has of one direction, its first dimension.
fn part(importer: &mut Importer, node: &Node, x: Value, direction: usize) -> Result<Value, Problem> {
    let dims = importer.ty(x).dims().to_vec();
    if direction >= dims.first().copied().unwrap_or(0) {
        return invalid(format!("{} has no direction {direction}", importer.ty(x)));
    }
    let one = importer.part(node, x, 0, (direction, 1))?;
    importer.reshape(node, one, &dims[1..])
}

/// Elements of the last dimension.
fn cut(importer: &mut Importer, node: &Node, x: Value, start: usize, count: usize) -> Result<Value, Problem> {
    let ty = importer.ty(x);
    let last = ty.shape.rank().saturating_sub(1);
    if start + count > ty.dims().last().copied().unwrap_or(0) {
        return invalid(format!("{ty} has no elements {start} to {}", start + count));
    }
    importer.part(node, x, last, (start, count))
}
