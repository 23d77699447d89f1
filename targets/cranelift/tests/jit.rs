//! Executable memory: which pointers its entry refuses, and what its pages allow. What kernels compute is tested for all
//! back ends by `tests/backends`.

use avocet_ir::TensorType;
use avocet_ir::backend::Backend;
use avocet_ir::kernel::{Access, Element, KernelBuilder};
use avocet_ir::program::{Call, MemoryPlan, Port, Program, Step, Storage};
use avocet_runtime::Context;
use avocet_target_cranelift::Cranelift;
use avocet_target_cranelift::emit::compile_kernels;
use avocet_target_cranelift::jit::Code;
use avocet_target_spec::Target;

/// A program that copies a vector of so many lanes.
fn copy(lanes: usize) -> Program {
    let mut b = KernelBuilder::new("test");
    let x = b.buffer("x", Element::F32, lanes, Access::Read);
    let y = b.buffer("y", Element::F32, lanes, Access::Write);
    let value = b.load(lanes, x, 0usize);
    b.store(y, 0usize, value);
    let port = |name: &str| Port { name: name.into(), ty: TensorType::f32([lanes]).expect("a small shape") };
    Program {
        name: "test".into(),
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        kernels: vec![b.finish()],
        steps: vec![Step::sequential(vec![Call {
            kernel: 0,
            arguments: vec![Storage::Input(0).into(), Storage::Output(0).into()],
            in_place: vec![],
            node: "test".into(),
        }])],
        controls: Vec::new(),
        sizes: None,
        temporaries: vec![],
        constants: vec![],
        plan: Some(MemoryPlan { offsets: vec![], bytes: 0, lower_bound: 0 }),
    }
}

#[test]
fn wrong_pointers_are_refused() {
    let program = copy(4);
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
    let program = copy(8);
    let backend = Cranelift::new(&Target::host()).expect("supported");
    let error = backend.compile(&program.kernels[0]).expect_err("256 bits");
    assert_eq!(error.to_string(), "kernel 'test': vectors here have 128 bits, f32x8 has not");
}

#[cfg(target_os = "linux")]
#[test]
fn no_page_is_writable_and_executable() {
    let program = copy(4);
    let target = Target::host();
    let code =
        compile_kernels(&program, &Cranelift::new(&target).expect("supported"), &|_| {}).expect("compiles");
    let _jit = Code::new(&program, &code, &target).expect("the host");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    let both: Vec<&str> =
        maps.lines().filter(|l| l.split(' ').nth(1).is_some_and(|p| p.contains("wx"))).collect();
    assert!(both.is_empty(), "{both:?}");
}
