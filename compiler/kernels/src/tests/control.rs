//! Branches and loops: programs against the reference interpreter, whatever is chosen and however often.

use avocet_ir::op::{Binary, Comparison, Loop, Op, Region, Unary};
use avocet_ir::program::Control;
use avocet_ir::schedule::{Schedule, Schedules};
use avocet_ir::{DType, Graph, Shape, Tensor, TensorData, TensorType, Value};
use avocet_reference::kernel::run_program;

use super::{Numbers, assert_close};
use crate::lower;

fn flag(value: bool) -> Tensor {
    Tensor::new(Shape::scalar(), TensorData::Bool(vec![value].into())).expect("one element")
}

fn integer(value: i64) -> Tensor {
    Tensor::new(Shape::scalar(), TensorData::I64(vec![value].into())).expect("one element")
}

fn input(graph: &mut Graph, name: &str, dims: &[usize]) -> Value {
    graph.add(name, Op::Input(TensorType::f32(dims).expect("small")), &[]).expect("an input")
}

fn input_of(graph: &mut Graph, name: &str, tensor: &Tensor) -> Value {
    graph.add(name, Op::Input(tensor.ty()), &[]).expect("an input")
}

fn binary(graph: &mut Graph, op: Binary, a: Value, b: Value) -> Value {
    graph.add(op.name(), Op::Binary(op), &[a, b]).expect("valid")
}

/// Everything in vectors of four; what changes nothing has no code.
fn schedules(graph: &Graph) -> Schedules {
    let mut schedules = Schedules::default();
    for id in graph.ids() {
        let node = graph.node(id);
        match &node.op {
            Op::Input(_) | Op::Constant(_) => {}
            op if !op.regions().is_empty() => {
                let inner = op.regions().iter().map(|region| self::schedules(region.graph())).collect();
                schedules.regions.insert(id, inner);
            }
            Op::Identity => {
                schedules.nodes.insert(id, Schedule::Alias);
            }
            _ => {
                schedules.nodes.insert(id, Schedule::Vector { lanes: 4 });
            }
        }
    }
    schedules
}

/// Lowers a network and compares it with the interpreter.
fn check(graph: &Graph, inputs: &[Tensor]) {
    graph.verify().unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let program = lower(graph, &schedules(graph)).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let got = run_program(&program, inputs).unwrap_or_else(|e| panic!("{e}\n{program}"));
    let expected = avocet_reference::run(graph, inputs).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    for (number, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_close(&format!("result {number} of\n{program}"), got, expected);
    }
}

/// `relu(a) + b`, and a result that is an input; or `a - b` and what it is.
fn choice() -> Graph {
    let mut then = Graph::new("then");
    let (a, b) = (input(&mut then, "a", &[2, 3]), input(&mut then, "b", &[3]));
    let relu = then.add("relu", Op::Unary(Unary::Relu), &[a]).expect("valid");
    let sum = binary(&mut then, Binary::Add, relu, b);
    then.add_output("y", sum);
    then.add_output("z", a);
    let mut otherwise = Graph::new("otherwise");
    let (a, b) = (input(&mut otherwise, "a", &[2, 3]), input(&mut otherwise, "b", &[3]));
    let difference = binary(&mut otherwise, Binary::Sub, a, b);
    let twice = binary(&mut otherwise, Binary::Add, difference, difference);
    otherwise.add_output("y", difference);
    otherwise.add_output("z", twice);
    let mut graph = Graph::new("choice");
    let condition = input_of(&mut graph, "condition", &flag(true));
    let (a, b) = (input(&mut graph, "a", &[2, 3]), input(&mut graph, "b", &[3]));
    let op = Op::If { then: Region::new(then), otherwise: Region::new(otherwise) };
    let chosen = graph.add("if", op, &[condition, a, b]).expect("valid");
    let second = Value { port: 1, ..chosen };
    let sum = binary(&mut graph, Binary::Mul, chosen, second);
    graph.add_output("product", sum);
    graph.add_output("second", second);
    graph
}

#[test]
fn one_branch_is_computed() {
    let graph = choice();
    let mut numbers = Numbers::new(1);
    for condition in [true, false] {
        check(&graph, &[flag(condition), numbers.tensor(&[2, 3]), numbers.tensor(&[3])]);
    }
    let program = lower(&graph, &schedules(&graph)).expect("supported");
    let [Control::Branch { then, otherwise, .. }] = &program.controls[..] else {
        panic!("{:?}", program.controls)
    };
    assert!(!then.is_empty() && !otherwise.is_empty());
}

/// `state = state * 0.5 + x[i] + captured`, stacked too; forwards or backwards.
fn recurrence(count: usize, backwards: bool, conditional: bool, limited: bool) -> (Graph, Vec<Tensor>) {
    let mut body = Graph::new("body");
    let state = input(&mut body, "state", &[5]);
    let other = input(&mut body, "other", &[5]);
    let x = input(&mut body, "x", &[5]);
    let captured = input(&mut body, "captured", &[1]);
    let half = body.constant("half", Tensor::scalar_f32(0.5));
    let next = binary(&mut body, Binary::Mul, state, half);
    let next = binary(&mut body, Binary::Add, next, x);
    let next = binary(&mut body, Binary::Add, next, captured);
    let copy = body.add("copy", Op::Identity, &[next]).expect("valid");
    // The two change places, so neither can be written before both are read.
    let swapped = binary(&mut body, Binary::Add, state, other);
    if conditional {
        let first = body.add("max", reduce_all(), &[next]).expect("valid");
        let most = body.constant("most", Tensor::scalar_f32(2.0));
        let on = body.add("on", Op::Compare(Comparison::Less), &[first, most]).expect("valid");
        body.add_output("on", on);
    }
    body.add_output("state", next);
    body.add_output("other", swapped);
    body.add_output("row", copy);

    let mut graph = Graph::new("recurrence");
    let mut operands = Vec::new();
    let mut numbers = Numbers::new(7);
    let mut tensors = Vec::new();
    if limited {
        tensors.push(integer(count as i64 - 2));
        operands.push(input_of(&mut graph, "limit", &tensors[0]));
    }
    if conditional {
        tensors.push(flag(true));
        operands.push(input_of(&mut graph, "condition", &flag(true)));
    }
    for (name, dims) in [("state", vec![5]), ("other", vec![5]), ("x", vec![count, 5]), ("captured", vec![1])]
    {
        tensors.push(numbers.tensor(&dims));
        operands.push(input(&mut graph, name, &dims));
    }
    let op = Loop {
        body: Region::new(body),
        count,
        limited,
        conditional,
        carried: 2,
        scanned: vec![backwards],
        stacked: vec![!backwards],
    };
    let last = graph.add("loop", Op::Loop(op), &operands).expect("valid");
    for port in 0..3 {
        graph.add_output(format!("y{port}"), Value { port, ..last });
    }
    (graph, tensors)
}

fn reduce_all() -> Op {
    Op::Reduce { kind: avocet_ir::op::ReduceKind::Max, axes: vec![0], keep_dims: false }
}

#[test]
fn loops_carry_slice_and_stack() {
    for count in [1, 2, 7] {
        for backwards in [false, true] {
            for (conditional, limited) in [(false, false), (true, false), (false, true), (true, true)] {
                let (graph, inputs) = recurrence(count, backwards, conditional, limited);
                check(&graph, &inputs);
            }
        }
    }
}

#[test]
fn a_limit_may_be_anything() {
    let (graph, mut inputs) = recurrence(4, false, true, true);
    for limit in [i64::MIN, -1, 0, 1, 4, 5, i64::MAX] {
        inputs[0] = integer(limit);
        check(&graph, &inputs);
    }
    inputs[0] = integer(4);
    inputs[1] = flag(false);
    check(&graph, &inputs);
}

#[test]
fn loops_and_branches_nest() {
    // Within each iteration the rows of a slice are added up by a loop of their own, or the slice is taken as it is.
    let mut inner = Graph::new("inner");
    let sum = input(&mut inner, "sum", &[3]);
    let row = input(&mut inner, "row", &[3]);
    let next = binary(&mut inner, Binary::Add, sum, row);
    inner.add_output("sum", next);
    let copy = inner.add("copy", Op::Identity, &[next]).expect("valid");
    inner.add_output("so far", copy);
    let inner = Loop {
        body: Region::new(inner),
        count: 4,
        limited: false,
        conditional: false,
        carried: 1,
        scanned: vec![false],
        stacked: vec![true],
    };
    let mut then = Graph::new("then");
    let start = input(&mut then, "start", &[3]);
    let slice = input(&mut then, "slice", &[4, 3]);
    let last = then.add("inner", Op::Loop(inner), &[start, slice]).expect("valid");
    then.add_output("last", last);
    then.add_output("rows", Value { port: 1, ..last });
    let mut otherwise = Graph::new("otherwise");
    let start = input(&mut otherwise, "start", &[3]);
    let slice = input(&mut otherwise, "slice", &[4, 3]);
    otherwise.add_output("last", start);
    otherwise.add_output("rows", slice);
    let mut body = Graph::new("body");
    let state = input(&mut body, "state", &[3]);
    let slice = input(&mut body, "slice", &[4, 3]);
    let choose = input_of(&mut body, "choose", &flag(true));
    let op = Op::If { then: Region::new(then), otherwise: Region::new(otherwise) };
    let chosen = body.add("if", op, &[choose, state, slice]).expect("valid");
    body.add_output("state", chosen);
    body.add_output("rows", Value { port: 1, ..chosen });
    let outer = Loop {
        body: Region::new(body),
        count: 3,
        limited: false,
        conditional: false,
        carried: 1,
        scanned: vec![true, false],
        stacked: vec![false],
    };
    let mut graph = Graph::new("nested");
    let start = input(&mut graph, "start", &[3]);
    let slices = input(&mut graph, "slices", &[3, 4, 3]);
    let choices =
        Tensor::new(Shape::new([3]).expect("small"), TensorData::Bool(vec![true, false, true].into()));
    let choices = choices.expect("three");
    let chosen = graph.add("choices", Op::Input(choices.ty()), &[]).expect("valid");
    let last = graph.add("outer", Op::Loop(outer), &[start, slices, chosen]).expect("valid");
    graph.add_output("last", last);
    graph.add_output("rows", Value { port: 1, ..last });
    let mut numbers = Numbers::new(3);
    check(&graph, &[numbers.tensor(&[3]), numbers.tensor(&[3, 4, 3]), choices]);
    assert_eq!(graph.ty(last).dtype, DType::F32);
}

#[test]
fn what_is_carried_stays_in_place_where_it_can() {
    let mut body = Graph::new("body");
    let state = input(&mut body, "state", &[5]);
    let x = input(&mut body, "x", &[5]);
    let half = body.constant("half", Tensor::scalar_f32(0.5));
    let next = binary(&mut body, Binary::Mul, state, half);
    let next = binary(&mut body, Binary::Add, next, x);
    body.add_output("state", next);
    let op = Loop {
        body: Region::new(body),
        count: 9,
        limited: false,
        conditional: false,
        carried: 1,
        scanned: vec![false],
        stacked: Vec::new(),
    };
    let mut graph = Graph::new("in place");
    let operands = [input(&mut graph, "state", &[5]), input(&mut graph, "x", &[9, 5])];
    let last = graph.add("loop", Op::Loop(op), &operands).expect("valid");
    graph.add_output("y", last);
    let program = lower(&graph, &schedules(&graph)).expect("supported");
    // One copy of what it is at first, and the two operators of the body.
    assert_eq!(program.steps.len(), 3, "{program}");
    assert_eq!(program.controls[0].steps(), 1..3);
    assert_eq!([0, 1, 2].map(|step| program.runs(step)), [1, 9, 9]);
}

/// `relu(x)`, then what `then` makes of it or itself, then its double.
fn skipped(then: Graph) -> Graph {
    let mut otherwise = Graph::new("otherwise");
    let x = input(&mut otherwise, "x", &[2, 6]);
    let copy = otherwise.add("copy", Op::Identity, &[x]).expect("valid");
    otherwise.add_output("y", copy);
    let mut graph = Graph::new("skipped");
    let condition = input_of(&mut graph, "condition", &flag(true));
    let x = input(&mut graph, "x", &[2, 6]);
    let x = graph.add("relu", Op::Unary(Unary::Relu), &[x]).expect("valid");
    let op = Op::If { then: Region::new(then), otherwise: Region::new(otherwise) };
    let chosen = graph.add("if", op, &[condition, x]).expect("valid");
    let y = binary(&mut graph, Binary::Add, chosen, chosen);
    graph.add_output("y", y);
    graph
}

#[test]
fn what_is_passed_through_is_not_copied() {
    let mut numbers = Numbers::new(5);
    // `x + sqrt(x)`: the sum is written where x is read for the last time.
    let mut then = Graph::new("then");
    let x = input(&mut then, "x", &[2, 6]);
    let root = then.add("sqrt", Op::Unary(Unary::Sqrt), &[x]).expect("valid");
    let sum = binary(&mut then, Binary::Add, x, root);
    then.add_output("y", sum);
    // `x - max(x)` with a row of maxima that is written before x is read again: x has to stay.
    let mut other = Graph::new("then");
    let x = input(&mut other, "x", &[2, 6]);
    let max = Op::Reduce { kind: avocet_ir::op::ReduceKind::Max, axes: vec![0], keep_dims: true };
    let row = other.add("max", max, &[x]).expect("valid");
    let wide = other.add("wide", Op::Broadcast { shape: Shape::new([2, 6]).expect("small") }, &[row]);
    let wide = wide.expect("valid");
    let difference = binary(&mut other, Binary::Sub, x, wide);
    other.add_output("y", difference);
    for (then, steps) in [(then, 4), (other, 5)] {
        let graph = skipped(then);
        for condition in [true, false] {
            check(&graph, &[flag(condition), numbers.tensor(&[2, 6])]);
        }
        let program = lower(&graph, &schedules(&graph)).expect("supported");
        assert_eq!(program.steps.len(), steps, "{program}");
        let [Control::Branch { otherwise, .. }] = &program.controls[..] else { panic!("{program}") };
        assert!(otherwise.is_empty(), "{program}");
    }
}
