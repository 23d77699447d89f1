//! Compiles a kernel with a back end, runs it, and compares what it leaves in memory with what the interpreter leaves.

use avocet_ir::kernel::{
    Access, BinaryOp, Buffer, Element, Expression, Kernel, KernelBuilder, Statement, ValueId,
};
use avocet_ir::program::{Call, MemoryPlan, Port, Program, Step, Storage};
use avocet_ir::tensor::DType;
use avocet_ir::{Shape, TensorType};
use avocet_reference::kernel::{Memory, run_kernel};
use avocet_target_cranelift::jit::Code;

use crate::back_ends::{BackEnd, back_ends};
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

/// Checks a kernel of each number of lanes on each back end. `make` gives the kernel with its buffers' contents.
pub fn check_all(element: Element, make: impl Fn(usize) -> (Kernel, Contents)) {
    for back_end in back_ends() {
        for lanes in back_end.lanes(element) {
            let (kernel, contents) = make(lanes);
            check(&back_end, &kernel, &contents);
        }
    }
}

/// Checks a kernel on a back end that must take it.
pub fn check(back_end: &BackEnd, kernel: &Kernel, contents: &Contents) {
    let expected = interpret(back_end, kernel, contents);
    let program = program(kernel);
    let code = compile(back_end, kernel, &program);
    for edge in [Edge::End, Edge::Start] {
        let guarded = |access: Access| -> Vec<Guarded> {
            let buffers = kernel.buffers.iter().zip(contents);
            buffers.filter(|(b, _)| b.access == access).map(|(_, c)| Guarded::new(c, edge)).collect()
        };
        let (mut inputs, mut outputs) = (guarded(Access::Read), guarded(Access::Write));
        assert_eq!(call(&code, &mut inputs, &mut outputs), 0);
        let (mut inputs, mut outputs) = (inputs.iter(), outputs.iter());
        for (buffer, expected) in kernel.buffers.iter().zip(&expected) {
            let memory = match buffer.access {
                Access::Read => inputs.next(),
                Access::Write => outputs.next(),
            };
            let memory = memory.expect("as many as buffers");
            let place = || format!("{}, {edge:?}, {}", back_end.name(), buffer.name);
            compare(buffer.element, &memory.contents(), expected, &|problem| {
                panic!("{}: {problem}\n{kernel}", place());
            });
            assert!(memory.margin_is_intact(), "{}: writes around the buffer\n{kernel}", place());
        }
    }
}

/// What the interpreter leaves in the buffers.
pub fn interpret(back_end: &BackEnd, kernel: &Kernel, contents: &Contents) -> Contents {
    kernel.verify().unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    let buffers: Vec<_> = (0..contents.len()).map(|number| (number, 0)).collect();
    let mut memories: Vec<Memory> = contents.iter().cloned().map(Memory::filled).collect();
    let result = if back_end.target.vector.fma {
        run_kernel(kernel, &mut memories, &buffers)
    } else {
        run_kernel(&unfused(kernel), &mut memories, &buffers)
    };
    result.unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    memories.iter().map(|memory| memory.bytes().to_vec()).collect()
}

/// The code of a kernel in this process.
pub fn compile(back_end: &BackEnd, kernel: &Kernel, program: &Program) -> Code {
    let code = back_end.backend.compile(kernel);
    let code = code.unwrap_or_else(|e| panic!("{}: {e}\n{kernel}", back_end.name()));
    Code::new(program, &[code], &back_end.target).unwrap_or_else(|e| panic!("{}: {e}", back_end.name()))
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
