//! Every operation of the kernel IR, compiled and run, against the interpreter of the kernel IR.

use avocet_ir::TensorType;
use avocet_ir::backend::Backend;
use avocet_ir::kernel::{
    Access, BinaryOp, BufferId, Element, Horizontal, KernelBuilder, Predicate, UnaryOp, ValueId,
};
use avocet_ir::program::{Call, MemoryPlan, Port, Program, Step, Storage};
use avocet_ir::tensor::{Tensor, TensorData};
use avocet_reference::kernel::run_program;
use avocet_runtime::Context;
use avocet_target_cranelift::Cranelift;
use avocet_target_cranelift::emit::compile_kernels;
use avocet_target_cranelift::jit::Code;
use avocet_target_spec::Target;

/// A program of one kernel with one input and one output.
fn program(
    inputs: usize,
    outputs: usize,
    body: impl FnOnce(&mut KernelBuilder, BufferId, BufferId),
) -> Program {
    let mut b = KernelBuilder::new("test");
    let x = b.buffer("x", Element::F32, inputs, Access::Read);
    let y = b.buffer("y", Element::F32, outputs, Access::Write);
    body(&mut b, x, y);
    let port = |name: &str, elements: usize| Port {
        name: name.into(),
        ty: TensorType::f32([elements]).expect("a small shape"),
    };
    Program {
        name: "test".into(),
        inputs: vec![port("x", inputs)],
        outputs: vec![port("y", outputs)],
        kernels: vec![b.finish()],
        steps: vec![Step::sequential(vec![Call {
            kernel: 0,
            arguments: vec![Storage::Input(0).into(), Storage::Output(0).into()],
            in_place: vec![],
            node: "test".into(),
        }])],
        temporaries: vec![],
        constants: vec![],
        plan: Some(MemoryPlan { offsets: vec![], bytes: 0, lower_bound: 0 }),
    }
}

/// Targets that this machine can run, the poorest first.
fn targets() -> Vec<Target> {
    let names = ["x86-64", "x86-64-v3", "x86-64-v4", "host"];
    let host = Target::host();
    let all = names.iter().map(|name| Target::by_name(name).expect("built in"));
    all.filter(|t| t.triple.architecture == host.triple.architecture)
        .filter(|t| t.features.iter().all(|f| host.has_feature(f)))
        .collect()
}

fn run(program: &Program, target: &Target, input: &[f32]) -> Vec<f32> {
    let backend = Cranelift::new(target).expect("supported");
    let code = compile_kernels(program, &backend, &|_| {}).expect("compiles");
    let jit = Code::new(program, &code, target).expect("the host");
    let mut output = vec![0.0f32; program.outputs[0].ty.shape.elements()];
    let context = Context::new(std::ptr::null_mut(), std::ptr::null());
    // SAFETY: one input and one output of the sizes that the program says, neither arena nor weights are used.
    let status = unsafe { jit.invoke(&[input.as_ptr().cast()], &[output.as_mut_ptr().cast()], &context) };
    assert_eq!(status, 0);
    output
}

/// Compiles for every target and compares bits with the interpreter (NaN with NaN).
fn check(program: &Program, input: &[f32]) {
    program.verify().expect("valid");
    let tensor = Tensor::f32([input.len()], input).expect("small");
    let expected = run_program(program, &[tensor]).expect("runs");
    let TensorData::F32(expected) = expected[0].data() else { panic!("not f32") };
    for target in targets() {
        let got = run(program, &target, input);
        for (i, (g, e)) in got.iter().zip(expected.iter()).enumerate() {
            let same = g.to_bits() == e.to_bits() || (g.is_nan() && e.is_nan());
            assert!(same, "{}: element {i} is {g:e}, expected {e:e}\n{program}", target.name);
        }
    }
}

const VALUES: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    2.5,
    -2.5,
    3.5,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    1e-40,
    8_388_607.5,
    -0.3,
    3e9,
    -3e9,
    16_777_217.0,
];

/// Applies a function to all values by vectors and by scalars.
fn each(function: impl Fn(&mut KernelBuilder, ValueId, ValueId) -> ValueId) {
    let program = program(32, 32, |b, x, y| {
        for lanes in [4, 1] {
            b.repeat(16 / lanes, |b, i| {
                let index = i * lanes;
                let (left, right) = (b.load(lanes, x, index.clone()), b.load(lanes, x, &index + 16usize));
                let value = function(b, left, right);
                b.store(y, index + if lanes == 4 { 0usize } else { 16 }, value);
            });
        }
    });
    for rotation in 0..16 {
        let mut input = VALUES.to_vec();
        input.extend((0..16).map(|i| VALUES[(i + rotation) % 16]));
        check(&program, &input);
    }
}

#[test]
fn unary_operations() {
    use UnaryOp::{Abs, Ceil, Floor, Neg, Round, Sqrt};
    for op in [Abs, Ceil, Floor, Neg, Round, Sqrt] {
        each(|b, x, _| b.unary(op, x));
    }
}

#[test]
fn binary_operations() {
    use BinaryOp::{Add, Div, Max, Min, Mul, Sub};
    for op in [Add, Sub, Mul, Div, Max, Min] {
        each(|b, x, y| b.binary(op, x, y));
    }
}

#[test]
fn selections() {
    use Predicate::{Equal, Less, LessEqual, NotEqual};
    for predicate in [Less, LessEqual, Equal, NotEqual] {
        each(|b, x, y| {
            let one = b.f32(b.ty(x).lanes, 1.0);
            b.select(predicate, (x, y), y, one)
        });
    }
}

#[test]
fn integers() {
    for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::And, BinaryOp::Or] {
        each(|b, x, y| {
            let (x, y) = (b.bitcast(Element::I32, x), b.bitcast(Element::I32, y));
            let z = b.binary(op, x, y);
            // As a number, since a bit pattern might be a NaN, which compares by being one.
            b.convert(Element::F32, z)
        });
    }
    for op in [BinaryOp::ShiftLeft, BinaryOp::ShiftRight] {
        each(|b, x, _| {
            let bits = b.bitcast(Element::I32, x);
            let amount = b.i32(b.ty(x).lanes, 7);
            let shifted = b.binary(op, bits, amount);
            b.convert(Element::F32, shifted)
        });
    }
    each(|b, x, _| {
        let whole = b.convert(Element::I32, x);
        b.convert(Element::F32, whole)
    });
}

#[test]
fn exact_multiply_add() {
    // Small whole numbers: the same with one rounding as with two.
    let program = program(12, 4, |b, x, y| {
        let [p, q, r] = [0usize, 4, 8].map(|i| b.load(4, x, i));
        let value = b.mul_add(p, q, r);
        b.store(y, 0usize, value);
    });
    check(&program, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
}

#[test]
fn tails_and_broadcasts() {
    for valid in 1..=4 {
        let program = program(8, 12, |b, x, y| {
            let zero = b.f32(4, 0.0);
            b.store(y, 0usize, zero);
            b.store(y, 8usize, zero);
            let value = b.load_partial(4, valid, x, 8 - valid);
            b.store(y, 4usize, value);
            b.store_partial(y, 0usize, value, valid);
            let scalar = b.load(1, x, 2usize);
            let all = b.splat(4, scalar);
            let other = b.load_broadcast(4, x, 3usize);
            let sum = b.add(all, other);
            b.store_partial(y, 8usize, sum, valid);
        });
        check(&program, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }
}

#[test]
fn reductions() {
    for horizontal in [Horizontal::Add, Horizontal::Max, Horizontal::Min] {
        let program = program(4, 1, |b, x, y| {
            let value = b.load(4, x, 0usize);
            let value = b.reduce(horizontal, value);
            b.store(y, 0usize, value);
        });
        check(&program, &[1e8, 1.0, -1e8, 3.0]);
    }
}

#[test]
fn nested_loops_share_pointers() {
    // y[i][j] = sum over k of x[i*8 + k] * x[j + 2k], with the tail of j in a block of its own.
    let program = program(64, 32, |b, x, y| {
        b.repeat(4, |b, i| {
            b.blocks(7, 4, |b, j, valid| {
                let zero = b.f32(4, 0.0);
                let sum = b.repeat_carrying(5, &[zero], |b, k, sum| {
                    let left = b.load_broadcast(4, x, &i * 8 + k.clone());
                    let right = b.load_partial(4, valid, x, &j + &k * 2 + 20usize);
                    let product = b.mul(left, right);
                    vec![b.add(sum[0], product)]
                });
                b.store_partial(y, &i * 8 + j, sum[0], valid);
            });
            let zero = b.f32(1, 0.0);
            b.store(y, i * 8 + 7usize, zero);
        });
    });
    let input: Vec<f32> = (0..64).map(|i| (i * 37 % 64) as f32 * 0.25 - 7.0).collect();
    check(&program, &input);
}

#[test]
fn unaligned_pointers_are_welcome() {
    let program = program(8, 8, |b, x, y| {
        b.repeat(2, |b, i| {
            let value = b.load(4, x, &i * 4);
            b.store(y, &i * 4, value);
        });
    });
    let input: Vec<f32> = (0..9).map(|i| i as f32).collect();
    for target in targets() {
        assert_eq!(run(&program, &target, &input[1..]), input[1..]);
    }
}

#[test]
fn wrong_pointers_are_refused() {
    let program = program(4, 4, |b, x, y| {
        let value = b.load(4, x, 0usize);
        b.store(y, 0usize, value);
    });
    let target = Target::host();
    let backend = Cranelift::new(&target).expect("supported");
    let code = compile_kernels(&program, &backend, &|_| {}).expect("compiles");
    let jit = Code::new(&program, &code, &target).expect("the host");
    let (input, mut output) = ([0u32; 5], [0u32; 4]);
    let context = Context::new(std::ptr::null_mut(), std::ptr::null());
    let mut invoke = |input: *const u8| {
        // SAFETY: null and misaligned pointers are what the function checks for before it uses any.
        unsafe { jit.invoke(&[input.cast()], &[output.as_mut_ptr().cast()], &context) }
    };
    assert_eq!(invoke(std::ptr::null()), 1);
    assert_eq!(invoke(input.as_ptr().cast::<u8>().wrapping_add(1)), 2);
    assert_eq!(invoke(input.as_ptr().cast()), 0);
}

#[test]
fn vectors_of_other_sizes_are_errors() {
    let program = program(8, 8, |b, x, y| {
        let value = b.load(8, x, 0usize);
        b.store(y, 0usize, value);
    });
    let backend = Cranelift::new(&Target::host()).expect("supported");
    let error = backend.compile(&program.kernels[0]).expect_err("256 bits");
    assert_eq!(error.to_string(), "kernel 'test': vectors here have 128 bits, f32x8 has not");
}

#[cfg(target_os = "linux")]
#[test]
fn no_page_is_writable_and_executable() {
    let program = program(4, 4, |b, x, y| {
        let value = b.load(4, x, 0usize);
        b.store(y, 0usize, value);
    });
    let target = Target::host();
    let code =
        compile_kernels(&program, &Cranelift::new(&target).expect("supported"), &|_| {}).expect("compiles");
    let _jit = Code::new(&program, &code, &target).expect("the host");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    let both: Vec<&str> =
        maps.lines().filter(|l| l.split(' ').nth(1).is_some_and(|p| p.contains("wx"))).collect();
    assert!(both.is_empty(), "{both:?}");
}
