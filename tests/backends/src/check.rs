//! Compiles a kernel with a back end, runs it, and compares what it leaves in memory with what the interpreter leaves.

use std::cell::Cell;

use avocet_ir::kernel::{
    Access, BinaryOp, Buffer, Element, Expression, Kernel, KernelBuilder, Statement, ValueId,
};
use avocet_ir::program::{Call, MemoryPlan, Port, Program, Step, Storage};
use avocet_ir::tensor::DType;
use avocet_ir::{Shape, TensorType};
use avocet_reference::kernel as interpreter;
use avocet_target_cranelift::jit::Code;

use crate::back_ends::{BackEnd, back_ends};
use crate::emulator::{Left, Memory, run_kernel};
use crate::memory::{Edge, Guarded, call};

/// Contents of a kernel's buffers, those that it writes included.
pub type Contents = Vec<Vec<u8>>;

/// Bytes of 32-bit words.
pub fn words(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Bytes of floats.
pub fn floats(floats: &[f32]) -> Vec<u8> {
    words(floats.iter().map(|f| f.to_bits()))
}

/// Bytes that look like nothing in particular, for buffers that a kernel is to write, and small numbers as floats.
pub fn unwritten(elements: usize) -> Vec<u8> {
    floats(&(0..elements).map(|i| i as f32 * 0.25 - 9.0).collect::<Vec<f32>>())
}

/// Calls of [`check_all`] in a test that check every emulated target. Many more are variations of these, of which each
/// takes its turn on one of those targets: emulation, and interpreting once more for each number of lanes, are slow.
const WHOLE: usize = 8;

/// Checks a kernel of each number of lanes on each back end. `make` gives the kernel with its buffers' contents.
pub fn check_all(element: Element, make: impl Fn(usize) -> (Kernel, Contents)) {
    thread_local! {
        static CALLS: Cell<usize> = const { Cell::new(0) };
    }
    let call = CALLS.replace(CALLS.get() + 1);
    let places = back_ends().iter().flat_map(|b| b.lanes(element).into_iter().map(move |lanes| (b, lanes)));
    let (emulated, here): (Vec<_>, Vec<_>) = places.partition(|(back_end, _)| back_end.emulator.is_some());
    let turn = (call < WHOLE).then_some(&emulated[..]);
    let turn = turn.unwrap_or_else(|| std::slice::from_ref(&emulated[call % emulated.len()]));
    for (back_end, lanes) in here.iter().chain(turn) {
        let (kernel, contents) = make(*lanes);
        check(back_end, &kernel, &contents);
    }
}

/// Checks a kernel on a back end that must take it.
pub fn check(back_end: &BackEnd, kernel: &Kernel, contents: &Contents) {
    let expected = interpret(back_end, kernel, contents);
    for edge in [Edge::End, Edge::Start] {
        let memories: Vec<_> = contents.iter().map(|c| Memory { first: c.clone(), second: None }).collect();
        let left = run(back_end, kernel, &memories, edge);
        for ((buffer, (contents, intact)), expected) in kernel.buffers.iter().zip(&left).zip(&expected) {
            let place = || format!("{}, {edge:?}, {}", back_end.name(), buffer.name);
            compare(buffer.element, contents, expected, &|problem| {
                panic!("{}: {problem}\n{kernel}", place());
            });
            assert!(*intact, "{}: writes around the buffer\n{kernel}", place());
        }
    }
}

/// What a kernel leaves in its buffers, which lie between guards.
pub fn run(back_end: &BackEnd, kernel: &Kernel, memories: &[Memory], edge: Edge) -> Vec<Left> {
    let code = back_end.backend.compile(kernel);
    let code = code.unwrap_or_else(|e| panic!("{}: {e}\n{kernel}", back_end.name()));
    if let Some(emulator) = &back_end.emulator {
        return run_kernel(emulator, &code.bytes, memories, edge == Edge::End);
    }
    let program = program(kernel);
    let code = Code::new(&program, &[code], &back_end.target);
    let code = code.unwrap_or_else(|e| panic!("{}: {e}", back_end.name()));
    let guarded = |access: Access| -> Vec<Guarded> {
        let memories = kernel.buffers.iter().zip(memories).filter(|(buffer, _)| buffer.access == access);
        let guard = |memory: &Memory| match &memory.second {
            None => Guarded::new(&memory.first, edge),
            Some((distance, second)) => Guarded::sparse(&memory.first, second, *distance),
        };
        memories.map(|(_, memory)| guard(memory)).collect()
    };
    let (mut inputs, mut outputs) = (guarded(Access::Read), guarded(Access::Write));
    assert_eq!(call(&code, &mut inputs, &mut outputs), 0);
    let (mut inputs, mut outputs) = (inputs.iter(), outputs.iter());
    let left = kernel.buffers.iter().map(|buffer| {
        let memory = match buffer.access {
            Access::Read => inputs.next(),
            Access::Write => outputs.next(),
        };
        let memory = memory.expect("as many as buffers");
        (memory.contents(), memory.margin_is_intact())
    });
    left.collect()
}

/// What the interpreter leaves in the buffers.
pub fn interpret(back_end: &BackEnd, kernel: &Kernel, contents: &Contents) -> Contents {
    kernel.verify().unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    let buffers: Vec<_> = (0..contents.len()).map(|number| (number, 0)).collect();
    let mut memories: Vec<_> = contents.iter().cloned().map(interpreter::Memory::filled).collect();
    let result = if back_end.target.vector.fma {
        interpreter::run_kernel(kernel, &mut memories, &buffers)
    } else {
        interpreter::run_kernel(&unfused(kernel), &mut memories, &buffers)
    };
    result.unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    memories.iter().map(|memory| memory.bytes().to_vec()).collect()
}

/// The first difference of two buffers, if any. A NaN is as good as another: which operand's payload survives depends on
/// the order of the operands, about which the kernel IR says nothing.
pub fn compare(element: Element, got: &[u8], expected: &[u8], differ: &dyn Fn(String)) {
    if got == expected {
        return;
    }
    let size = element.bytes();
    for (i, (got, expected)) in got.chunks(size).zip(expected.chunks(size)).enumerate() {
        let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
        match element {
            Element::F32 => {
                let (got, expected) = (float(got), float(expected));
                if got.to_bits() != expected.to_bits() && !(got.is_nan() && expected.is_nan()) {
                    differ(format!("element {i} is {got:e}, expected {expected:e}"));
                }
            }
            _ if got != expected => differ(format!("element {i} is {got:x?}, expected {expected:x?}")),
            _ => {}
        }
    }
}

/// A program that calls the kernel once: buffers that are read are its inputs, those that are written its outputs.
pub fn program(kernel: &Kernel) -> Program {
    let port = |buffer: &Buffer| {
        let dtype = match buffer.element {
            Element::F32 => DType::F32,
            Element::I32 => DType::I32,
            Element::I64 => DType::I64,
            Element::U8 => DType::U8,
            Element::I8 => DType::I8,
            Element::I16 => DType::I16,
            Element::U16 => DType::U16,
            Element::U32 => DType::U32,
        };
        let shape = Shape::new([buffer.length]).expect("a small shape");
        Port { name: buffer.name.clone(), ty: TensorType { dtype, shape } }
    };
    let ports = |access: Access| kernel.buffers.iter().filter(|b| b.access == access).map(port).collect();
    let (mut inputs, mut outputs) = (0.., 0..);
    let arguments = kernel.buffers.iter().map(|buffer| match buffer.access {
        Access::Read => Storage::Input(inputs.next().unwrap_or(0)).into(),
        Access::Write => Storage::Output(outputs.next().unwrap_or(0)).into(),
    });
    let call = Call { kernel: 0, arguments: arguments.collect(), in_place: vec![], node: "test".into() };
    Program {
        name: "test".into(),
        inputs: ports(Access::Read),
        outputs: ports(Access::Write),
        kernels: vec![kernel.clone()],
        steps: vec![Step::sequential(vec![call])],
        controls: Vec::new(),
        sizes: None,
        temporaries: vec![],
        constants: vec![],
        plan: Some(MemoryPlan { offsets: vec![], bytes: 0, lower_bound: 0 }),
    }
}

/// The kernel with each multiply-add as two operations: what it means on targets that have no fused one.
fn unfused(kernel: &Kernel) -> Kernel {
    fn block(kernel: &mut Kernel, statements: Vec<Statement>) -> Vec<Statement> {
        let mut out = Vec::with_capacity(statements.len());
        for statement in statements {
            match statement {
                Statement::Let(value, Expression::MulAdd(a, b, c)) => {
                    let product = ValueId(kernel.values.len());
                    kernel.values.push(kernel.ty(value));
                    out.push(Statement::Let(product, Expression::Binary(BinaryOp::Mul, a, b)));
                    out.push(Statement::Let(value, Expression::Binary(BinaryOp::Add, product, c)));
                }
                Statement::For { variable, count, carried, body } => {
                    let body = block(kernel, body);
                    out.push(Statement::For { variable, count, carried, body });
                }
                other => out.push(other),
            }
        }
        out
    }
    let mut kernel = kernel.clone();
    let body = std::mem::take(&mut kernel.body);
    kernel.body = block(&mut kernel, body);
    kernel
}

/// A builder with a buffer to read and one to write, of the same element and length.
pub fn builder(element: Element, length: usize) -> (KernelBuilder, [avocet_ir::kernel::BufferId; 2]) {
    let mut b = KernelBuilder::new("test");
    let x = b.buffer("x", element, length, Access::Read);
    let y = b.buffer("y", element, length, Access::Write);
    (b, [x, y])
}
