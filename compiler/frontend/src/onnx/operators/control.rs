//! Choices and repetitions: If, Loop and Scan.
//!
//! Shapes are static, so both branches of a choice have results of the same types, what a loop carries keeps its shape, and
//! what it stacks has a known number of rows. Where a condition or a number of iterations is known, what does not keep to
//! that can often be had all the same: the branch that is taken, or the body as often as it is run.

use avocet_ir::op::{Binary, Loop, Op, Region};
use avocet_ir::tensor::{DType, Shape, Tensor, TensorData, TensorType};
use avocet_ir::{Graph, Value};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::super::proto::GraphProto;
use super::super::regions::Given;
use super::axis;

/// Iterations that are written out where a loop can't be kept.
const MOST_WRITTEN: usize = 256;

/// The single element of a constant boolean.
fn known_flag(importer: &Importer, value: Value) -> Option<bool> {
    match importer.graph.as_constant(value)?.data() {
        TensorData::Bool(data) => data.first().copied(),
        _ => None,
    }
}

fn flag(value: bool) -> Tensor {
    let data = TensorData::Bool(vec![value].into());
    // One element for a shape of one.
    Tensor::new(Shape::scalar(), data).unwrap_or_else(|_| Tensor::scalar_f32(0.0))
}

pub(super) fn choice<'a>(importer: &mut Importer<'a>, node: &Node<'a>) -> Result<Vec<Value>, Problem> {
    let condition = node.input(0)?;
    let branches = [node.attributes.graph("then_branch")?, node.attributes.graph("else_branch")?];
    if let Some(holds) = known_flag(importer, condition) {
        let taken = branches[usize::from(!holds)];
        let captured = importer.captured(&[taken])?;
        let body = importer.body(node, taken, &[], &captured)?;
        return importer.splice(node, &body, &values(&captured));
    }
    let captured = importer.captured(&branches)?;
    let [then, otherwise] = branches.map(|branch| importer.body(node, branch, &[], &captured));
    let (then, otherwise) = (then?, otherwise?);
    let types = |graph: &Graph| graph.outputs().iter().map(|o| graph.ty(o.value).clone()).collect::<Vec<_>>();
    let (one, other) = (types(&then), types(&otherwise));
    if let Some((one, other)) = one.iter().zip(&other).find(|(one, other)| one != other) {
        return unsupported(format!("branches with results of different types, {one} and {other}"));
    }
    let operands: Vec<Value> = [condition].into_iter().chain(values(&captured)).collect();
    let op = Op::If { then: Region::new(then), otherwise: Region::new(otherwise) };
    importer.add_holder(node, op, &operands)
}

fn values(captured: &[(&str, Value)]) -> Vec<Value> {
    captured.iter().map(|&(_, value)| value).collect()
}

/// Inputs: most iterations, the first condition, what is carried. Inputs of the body: the iteration's number, the condition,
/// what is carried; its results: the next condition, what is carried, what is stacked.
pub(super) fn repetition<'a>(importer: &mut Importer<'a>, node: &Node<'a>) -> Result<Vec<Value>, Problem> {
    let proto = node.attributes.graph("body")?;
    let (limit, condition) = (node.optional(0), node.optional(1));
    let mut first = (2..node.inputs.len()).map(|number| node.input(number)).collect::<Result<Vec<_>, _>>()?;
    let Some(stacked) = proto.output.len().checked_sub(1 + first.len()) else {
        let (got, carried) = (proto.output.len(), first.len());
        return invalid(format!("its body has {got} results and carries {carried} tensors"));
    };
    let known = match limit {
        Some(limit) if importer.graph.as_constant(limit).is_some() => {
            match importer.integers(limit, "the number of iterations")?[..] {
                [count] => Some(usize::try_from(count).unwrap_or(0)),
                _ => return invalid("a number of iterations that is not one number"),
            }
        }
        _ => None,
    };
    let starts = condition.and_then(|condition| known_flag(importer, condition));
    let captured = importer.captured(&[proto])?;
    if starts == Some(false) || known == Some(0) {
        return nothing(importer, node, proto, &captured, (first, stacked));
    }
    // While the body runs, its condition is true.
    let yes = importer.constant(node, flag(true));
    let number = TensorType::new(DType::I64, Shape::scalar());
    let mut given = vec![Given::Tensor(number), Given::Constant(yes)];
    given.extend(first.iter().map(|&value| Given::Tensor(importer.ty(value))));
    let told = importer.unsupported.len();
    let body = match importer.body(node, proto, &given, &captured) {
        Ok(body) if keeps_shapes(&body, &given[2..]) => body,
        // Shapes may follow from the iteration's number, or grow.
        failed => {
            let Some(count) = known.filter(|&count| count <= MOST_WRITTEN) else {
                return failed.and_then(|_| {
                    unsupported("what is carried changes its shape from iteration to iteration")
                });
            };
            importer.unsupported.truncate(told);
            return written_out(importer, node, proto, count, (starts, first, stacked));
        }
    };
    let next = body.outputs()[0].value;
    let goes_on = match body.as_constant(next).map(Tensor::data) {
        Some(TensorData::Bool(data)) => data.first().copied().unwrap_or(true),
        Some(_) => return invalid("its body's condition is not a boolean"),
        None => false,
    };
    let depends = !goes_on || (condition.is_some() && starts.is_none());
    if stacked > 0 && (depends || known.is_none()) {
        return unsupported("results whose number of rows is known at run time only");
    }
    if limit.is_none() && !depends {
        return unsupported("a loop without end");
    }
    let body = counted(body, depends)?;
    let zero = importer.integer(node, 0)?;
    let mut operands = Vec::new();
    operands.extend(limit.filter(|_| known.is_none()));
    if depends {
        operands.push(condition.unwrap_or(yes));
    }
    let carried = 1 + first.len();
    operands.push(zero);
    operands.append(&mut first);
    operands.extend(values(&captured));
    let op = Loop {
        body: Region::new(body),
        // A loop of which nothing else is known ends some day.
        count: known.unwrap_or(i64::MAX as usize),
        limited: known.is_none() && limit.is_some(),
        conditional: depends,
        carried,
        scanned: Vec::new(),
        stacked: vec![false; stacked],
    };
    let mut results = importer.add_holder(node, Op::Loop(op), &operands)?;
    // The number of iterations, which is no result of ONNX's.
    results.remove(0);
    Ok(results)
}

/// Whether what a body carries on is what it was given.
fn keeps_shapes(body: &Graph, carried: &[Given]) -> bool {
    carried.iter().zip(&body.outputs()[1..]).all(|(given, output)| match given {
        Given::Tensor(ty) => ty == body.ty(output.value),
        Given::Constant(_) => false,
    })
}

/// A body that carries its iteration's number on itself; the condition only where it decides.
fn counted(body: Graph, conditional: bool) -> Result<Graph, Problem> {
    let broken = |e: avocet_ir::GraphError| Problem::Invalid(e.to_string());
    let mut counted = Graph::new(body.name());
    let mut inputs = Vec::new();
    for &id in body.input_nodes() {
        let node = body.node(id);
        inputs.push(counted.add(node.name.clone(), node.op.clone(), &[]).map_err(broken)?);
    }
    let results = counted.splice(&body, &inputs, "").map_err(broken)?;
    let one = counted.constant("one", Tensor::i64([], [1].as_slice())?);
    let next = counted.add("iteration", Op::Binary(Binary::Add), &[inputs[0], one]).map_err(broken)?;
    let mut outputs = body.outputs().iter().zip(results);
    let condition = outputs.next().filter(|_| conditional);
    if let Some((output, value)) = condition {
        counted.add_output(output.name.clone(), value);
    }
    counted.add_output("iteration", next);
    outputs.for_each(|(output, value)| counted.add_output(output.name.clone(), value));
    Ok(counted)
}

/// What a loop of no iterations gives: what is carried as it is, and stacks of no rows.
fn nothing<'a>(
    importer: &mut Importer<'a>,
    node: &Node<'a>,
    proto: &'a GraphProto,
    captured: &[(&'a str, Value)],
    (first, stacked): (Vec<Value>, usize),
) -> Result<Vec<Value>, Problem> {
    let mut results = first.clone();
    if stacked > 0 {
        let number = importer.integer(node, 0)?;
        let yes = importer.constant(node, flag(true));
        let mut given = vec![Given::Constant(number), Given::Constant(yes)];
        given.extend(first.iter().map(|&value| Given::Tensor(importer.ty(value))));
        let body = importer.body(node, proto, &given, captured)?;
        for output in &body.outputs()[1 + first.len()..] {
            let ty = body.ty(output.value);
            let dims: Vec<usize> = [0].iter().chain(ty.dims()).copied().collect();
            let empty = importer.constant(node, Tensor::f32(dims, Vec::new())?);
            results.push(importer.cast(node, empty, ty.dtype)?);
        }
    }
    Ok(results)
}

/// The body as often as it is run, one after the other.
fn written_out<'a>(
    importer: &mut Importer<'a>,
    node: &Node<'a>,
    proto: &'a GraphProto,
    count: usize,
    (starts, first, stacked): (Option<bool>, Vec<Value>, usize),
) -> Result<Vec<Value>, Problem> {
    if node.optional(1).is_some() && starts.is_none() {
        return unsupported("a loop whose shapes change and whose end is known at run time only");
    }
    let carried = first.len();
    let mut values = first;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); stacked];
    let captured = importer.captured(&[proto])?;
    let outer: Vec<Value> = self::values(&captured);
    for number in 0..count {
        let number = importer.integer(node, number as i64)?;
        let yes = importer.constant(node, flag(true));
        let mut given = vec![Given::Constant(number), Given::Constant(yes)];
        for &value in &values {
            given.push(match importer.graph.as_constant(value) {
                Some(_) => Given::Constant(value),
                None => Given::Tensor(importer.ty(value)),
            });
        }
        let body = importer.body(node, proto, &given, &captured)?;
        let computed = values.iter().copied().filter(|&value| importer.graph.as_constant(value).is_none());
        let operands: Vec<Value> = computed.chain(outer.iter().copied()).collect();
        let mut results = importer.splice(node, &body, &operands)?.into_iter();
        let next = results.next();
        values = results.by_ref().take(carried).collect();
        for (rows, row) in rows.iter_mut().zip(results) {
            let dims: Vec<usize> = [1].iter().chain(importer.ty(row).dims()).copied().collect();
            rows.push(importer.reshape(node, row, &dims)?);
        }
        match next.and_then(|next| known_flag(importer, next)) {
            Some(true) => {}
            Some(false) => break,
            None => return unsupported("a loop whose shapes change and whose end is known at run time only"),
        }
    }
    for rows in rows {
        let all = rows.iter().map(|&row| importer.ty(row)).collect::<Vec<_>>();
        if all.windows(2).any(|pair| pair[0] != pair[1]) {
            return unsupported("stacked results of different shapes");
        }
        values.push(importer.add(node, Op::Concat { axis: 0 }, &rows)?);
    }
    Ok(values)
}

/// Inputs: what is carried, then what is cut into slices; before version 9 lengths of sequences first, and a batch dimension.
pub(super) fn scan<'a>(importer: &mut Importer<'a>, node: &Node<'a>) -> Result<Vec<Value>, Problem> {
    let proto = node.attributes.graph("body")?;
    let batched = importer.opset < 9;
    let lengths = usize::from(batched);
    if batched && node.optional(0).is_some() {
        return unsupported("sequences of different lengths");
    }
    let inputs =
        (lengths..node.inputs.len()).map(|number| node.input(number)).collect::<Result<Vec<_>, _>>()?;
    let scans = size("num_scan_inputs", node.attributes.int("num_scan_inputs", 0)?, 1)?;
    let Some(carried) = inputs.len().checked_sub(scans) else {
        return invalid(format!("{scans} scanned of {} inputs", inputs.len()));
    };
    let Some(stacked) = proto.output.len().checked_sub(carried) else {
        return invalid(format!("its body has {} results and carries {carried} tensors", proto.output.len()));
    };
    let ways = |name: &str, count: usize| -> Result<Vec<bool>, Problem> {
        let ways = node.attributes.ints(name)?.map_or_else(|| vec![0; count], <[i64]>::to_vec);
        if ways.len() != count {
            return invalid(format!("{} of {name} for {count} tensors", ways.len()));
        }
        Ok(ways.into_iter().map(|way| way != 0).collect())
    };
    let (directions, out_directions) = match batched {
        true => (ways("directions", scans)?, vec![false; stacked]),
        false => (ways("scan_input_directions", scans)?, ways("scan_output_directions", stacked)?),
    };
    let mut operands = Vec::new();
    for (number, &value) in inputs.iter().enumerate() {
        let value = if batched { without_batch(importer, node, value)? } else { value };
        let along = number.checked_sub(carried).filter(|_| !batched);
        operands.push(match along {
            Some(scan) => along_first(importer, node, value, axes(node, "scan_input_axes", scan)?)?,
            None => value,
        });
    }
    let extents: Vec<Option<usize>> =
        operands[carried..].iter().map(|&v| importer.ty(v).dims().first().copied()).collect();
    let count = match extents[..] {
        [Some(count), ref rest @ ..] if rest.iter().all(|&other| other == Some(count)) => count,
        _ => return invalid("what is scanned is of different lengths"),
    };
    if count == 0 {
        return unsupported("a scan of nothing");
    }
    let mut given = Vec::new();
    for (number, &value) in operands.iter().enumerate() {
        let ty = importer.ty(value);
        let dims = if number < carried { ty.dims() } else { &ty.dims()[1..] };
        given.push(Given::Tensor(TensorType::new(ty.dtype, Shape::new(dims)?)));
    }
    let captured = importer.captured(&[proto])?;
    let body = importer.body(node, proto, &given, &captured)?;
    operands.extend(values(&captured));
    let op = Loop {
        body: Region::new(body),
        count,
        limited: false,
        conditional: false,
        carried,
        scanned: directions,
        stacked: out_directions,
    };
    let mut results = importer.add_holder(node, Op::Loop(op), &operands)?;
    for (number, result) in results.iter_mut().enumerate() {
        if batched {
            let dims: Vec<usize> = [1].iter().chain(importer.ty(*result).dims()).copied().collect();
            *result = importer.reshape(node, *result, &dims)?;
        } else if let Some(scan) = number.checked_sub(carried) {
            *result = along_axis(importer, node, *result, axes(node, "scan_output_axes", scan)?)?;
        }
    }
    Ok(results)
}

fn axes(node: &Node, name: &str, number: usize) -> Result<i64, Problem> {
    Ok(node.attributes.ints(name)?.and_then(|axes| axes.get(number).copied()).unwrap_or(0))
}

/// The tensor of a batch of one.
fn without_batch(importer: &mut Importer, node: &Node, value: Value) -> Result<Value, Problem> {
    match importer.ty(value).dims() {
        [1, rest @ ..] => importer.reshape(node, value, rest),
        _ => unsupported("a batch of several sequences before operator set 9"),
    }
}

/// The tensor with an axis moved to the front.
fn along_first(importer: &mut Importer, node: &Node, value: Value, along: i64) -> Result<Value, Problem> {
    let rank = importer.ty(value).shape.rank();
    let along = axis(along, rank)?;
    let perm: Vec<usize> = [along].into_iter().chain((0..rank).filter(|&other| other != along)).collect();
    importer.transposed(node, value, &perm)
}

/// The tensor with its first dimension moved to an axis.
fn along_axis(importer: &mut Importer, node: &Node, value: Value, along: i64) -> Result<Value, Problem> {
    let rank = importer.ty(value).shape.rank();
    let along = axis(along, rank)?;
    let mut perm: Vec<usize> = (1..rank).collect();
    perm.insert(along, 0);
    importer.transposed(node, value, &perm)
}
