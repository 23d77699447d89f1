//! Object files: what they define, what they need, and that they are the same each time.

use avocet_ir::TensorType;
use avocet_ir::kernel::{Access, Element, KernelBuilder};
use avocet_ir::program::{Call, MemoryPlan, Port, Program, Step, Storage};
use avocet_ir::tensor::TensorData;
use avocet_target_cranelift::Cranelift;
use avocet_target_cranelift::emit::{Weights, compile_kernels, object};
use avocet_target_spec::Target;
use object::{Object, ObjectSection, ObjectSymbol};

/// `y = exact(x) + w`, with rounding and a division among the operations.
fn program() -> Program {
    let mut b = KernelBuilder::new("add");
    let x = b.buffer("x", Element::F32, 64, Access::Read);
    let w = b.buffer("w", Element::F32, 64, Access::Read);
    let y = b.buffer("y", Element::F32, 64, Access::Write);
    b.repeat(16, |b, i| {
        let (p, q) = (b.load(4, x, &i * 4), b.load(4, w, &i * 4));
        let p = b.unary(avocet_ir::kernel::UnaryOp::Floor, p);
        let sum = b.mul_add(p, q, q);
        b.store(y, &i * 4, sum);
    });
    let ty = TensorType::f32([64]).expect("small");
    Program {
        name: "test".into(),
        inputs: vec![Port { name: "x".into(), ty: ty.clone() }],
        outputs: vec![Port { name: "y".into(), ty }],
        kernels: vec![b.finish()],
        steps: vec![Step::sequential(vec![Call {
            kernel: 0,
            arguments: vec![Storage::Input(0).into(), Storage::Constant(0).into(), Storage::Output(0).into()],
            in_place: vec![],
            node: "add".into(),
        }])],
        temporaries: vec![],
        constants: vec![TensorData::F32(vec![0.25; 64].into())],
        plan: Some(MemoryPlan { offsets: vec![], bytes: 0, lower_bound: 0 }),
    }
}

fn emit(target: &str, weights: Weights) -> Vec<u8> {
    let (program, target) = (program(), Target::by_name(target).expect("built in"));
    program.verify().expect("valid");
    let code =
        compile_kernels(&program, &Cranelift::new(&target).expect("supported"), &|_| {}).expect("compiles");
    object(&program, &code, &target, "net", weights).expect("emits")
}

#[test]
fn objects_need_nothing_and_define_one_function() {
    for target in ["x86-64", "x86-64-v3", "x86-64-v4"] {
        for weights in [Weights::Embedded, Weights::External] {
            let bytes = emit(target, weights);
            let file = object::File::parse(&*bytes).expect("an object file");
            let undefined: Vec<_> =
                file.symbols().filter(|s| s.is_undefined() && s.name() != Ok("")).collect();
            assert!(undefined.is_empty(), "{target}: {undefined:?}");
            let global: Vec<_> = file.symbols().filter(|s| s.is_global()).map(|s| s.name()).collect();
            assert_eq!(global, [Ok("net_invoke")]);
            let data: u64 = file.sections().filter(|s| s.name() == Ok(".rodata")).map(|s| s.size()).sum();
            assert_eq!(data, if weights == Weights::Embedded { 256 } else { 0 });
        }
    }
}

#[test]
fn emission_is_deterministic() {
    assert_eq!(emit("x86-64-v3", Weights::Embedded), emit("x86-64-v3", Weights::Embedded));
}
