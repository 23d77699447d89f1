//! Object files: what they define, what they need, and that they are the same each time.

use avocet_ir::TensorType;
use avocet_ir::kernel::{Access, Element, KernelBuilder};
use avocet_ir::program::{Call, MemoryPlan, Port, Program, Step, Storage};
use avocet_ir::tensor::TensorData;
use avocet_target_cranelift::Cranelift;
use avocet_target_cranelift::emit::{Weights, compile_kernels, object};
use avocet_target_spec::Target;
use gimli::UnwindSection;
use object::{Object, ObjectSection, ObjectSymbol, RelocationKind};

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
        controls: Vec::new(),
        sizes: None,
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

/// The functions in the table of frames, by the places that its entries are relocated to; their bytes, and how many
/// different rules they have.
fn frames(bytes: &[u8]) -> Vec<(String, u64, usize)> {
    let file = object::File::parse(bytes).expect("an object file");
    let section = file.section_by_name(".eh_frame").expect("a table");
    let data = section.data().expect("its bytes");
    let mut names = section.relocations().map(|(_, relocation)| {
        assert_eq!((relocation.kind(), relocation.size()), (RelocationKind::Relative, 32));
        let object::RelocationTarget::Symbol(symbol) = relocation.target() else { panic!("{relocation:?}") };
        // Against the section, since a shared library's global functions may be replaced.
        let section = file.symbol_by_index(symbol).expect("a symbol");
        assert_eq!(section.kind(), object::SymbolKind::Section);
        let place = relocation.addend() as u64;
        let is_here = |s: &object::Symbol| {
            s.kind() == object::SymbolKind::Text
                && s.section_index() == section.section_index()
                && s.address() == place
        };
        let symbol = file.symbols().find(is_here).expect("a function");
        (symbol.name().expect("UTF-8").to_string(), symbol.size())
    });
    let table = gimli::EhFrame::new(data, gimli::LittleEndian);
    let bases = gimli::BaseAddresses::default().set_eh_frame(0);
    let mut entries = table.entries(&bases);
    let (mut found, mut common) = (Vec::new(), 0);
    while let Some(entry) = entries.next().expect("well-formed") {
        match entry {
            gimli::CieOrFde::Cie(entry) => {
                common += 1;
                assert!(entry.personality().is_none());
            }
            gimli::CieOrFde::Fde(partial) => {
                let entry = partial.parse(gimli::EhFrame::cie_from_offset).expect("well-formed");
                let mut context = gimli::UnwindContext::new();
                let mut rows = entry.rows(&table, &bases, &mut context).expect("well-formed");
                let mut count = 0;
                while rows.next_row().expect("well-formed").is_some() {
                    count += 1;
                }
                let (name, size) = names.next().expect("a relocation for each entry");
                assert_eq!(entry.len(), size, "{name}");
                found.push((name, size, count));
            }
        }
    }
    assert_eq!(common, 1);
    assert!(names.next().is_none());
    found
}

#[test]
fn every_function_is_in_the_table_of_frames() {
    for target in ["x86-64", "x86-64-v3", "x86-64-v4"] {
        let (bytes, target) = (emit(target, Weights::Embedded), target);
        let file = object::File::parse(&*bytes).expect("an object file");
        let mut functions: Vec<&str> = file
            .symbols()
            .filter(|s| s.kind() == object::SymbolKind::Text && s.is_definition())
            .map(|s| s.name().expect("UTF-8"))
            .collect();
        functions.sort_unstable();
        let mut found = frames(&bytes);
        found.sort();
        let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, functions, "{target}");
        assert_eq!(names, ["net_invoke", "net_kernel_add"], "{target}");
        // The entry function sets up a frame, and leaves it at three places.
        assert!(found[0].2 >= 8, "{found:?}");
    }
}

#[test]
fn emission_is_deterministic() {
    assert_eq!(emit("x86-64-v3", Weights::Embedded), emit("x86-64-v3", Weights::Embedded));
}
