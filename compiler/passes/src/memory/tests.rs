use avocet_ir::kernel::{Access, Element, KernelBuilder};
use avocet_ir::program::{Argument, Call, MemoryPlan, Program, Step, Storage};
use proptest::prelude::*;

use super::checker::{CheckError, check};
use super::plan;

/// A call in shorthand: temporaries read, temporaries written, whether in place.
type Shorthand<'a> = (&'a [usize], &'a [usize], bool);

/// A program of such calls on temporaries of these sizes; what is read and written is always the whole.
fn program(sizes: &[usize], steps: &[Shorthand<'_>]) -> Program {
    let mut program = Program {
        name: "test".into(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        kernels: Vec::new(),
        steps: Vec::new(),
        controls: Vec::new(),
        sizes: None,
        temporaries: sizes.to_vec(),
        constants: Vec::new(),
        plan: None,
    };
    for (number, (reads, writes, in_place)) in steps.iter().enumerate() {
        let mut kernel = KernelBuilder::new(format!("kernel{number}"));
        let mut arguments = Vec::new();
        for (temporaries, access) in [(reads, Access::Read), (writes, Access::Write)] {
            for &temporary in temporaries.iter() {
                let length = sizes[temporary];
                let buffer = kernel.buffer(format!("t{temporary}"), Element::U8, length, access);
                kernel.repeat(length, |b, index| {
                    b.load(1, buffer, index);
                });
                arguments.push(Argument::from(Storage::Temporary(temporary)));
            }
        }
        program.kernels.push(kernel.finish());
        let pairs = (0..reads.len()).flat_map(|r| (0..writes.len()).map(move |w| (r, reads.len() + w)));
        let in_place = if *in_place { pairs.collect() } else { Vec::new() };
        let call = Call { kernel: number, arguments, in_place, node: format!("node{number}") };
        program.steps.push(Step::sequential(vec![call]));
    }
    program
}

/// Plans, and has the plan checked from all sides.
fn checked(program: &Program) -> MemoryPlan {
    let plan = plan(program).expect("sizes are small");
    check(program, &plan).unwrap_or_else(|error| panic!("{error}\n{program}\n{plan:?}"));
    assert!(plan.bytes >= plan.lower_bound);
    let planned = Program { plan: Some(plan.clone()), ..program.clone() };
    planned.verify().expect("the program with its plan is valid");
    plan
}

#[test]
fn a_chain_needs_two_buffers() {
    let sizes = [640, 640, 640, 640];
    let program =
        program(&sizes, &[(&[], &[0], false), (&[0], &[1], false), (&[1], &[2], false), (&[2], &[3], false)]);
    let plan = checked(&program);
    assert_eq!((plan.bytes, plan.lower_bound), (1280, 1280));
    assert_eq!(plan.offsets, [0, 640, 0, 640]);
}

#[test]
fn in_place_needs_one() {
    let program = program(&[100, 100, 100], &[(&[], &[0], true), (&[0], &[1], true), (&[1], &[2], true)]);
    let plan = checked(&program);
    assert_eq!((plan.bytes, plan.lower_bound), (128, 128));
}

#[test]
fn what_is_read_later_is_not_overwritten_in_place() {
    let steps: [Shorthand<'_>; 3] = [(&[], &[0], true), (&[0], &[1], true), (&[0, 1], &[2], true)];
    let program = program(&[64; 3], &steps);
    assert_eq!(checked(&program).bytes, 128);
}

#[test]
fn an_operand_given_twice_is_not_overwritten_in_place() {
    let program = program(&[64; 2], &[(&[], &[0], true), (&[0, 0], &[1], true)]);
    assert_eq!(checked(&program).bytes, 128);
}

#[test]
fn nothing_and_the_untouched() {
    assert_eq!(checked(&program(&[], &[])).bytes, 0);
    let plan = checked(&program(&[0, 1000], &[(&[], &[0], false)]));
    assert_eq!((plan.bytes, plan.lower_bound), (1024, 0));
}

#[test]
fn sizes_beyond_the_address_space_are_an_error() {
    for sizes in [vec![usize::MAX], vec![isize::MAX as usize - 63; 3]] {
        let mut program = program(&[], &[]);
        program.temporaries = sizes;
        let error = plan(&program).expect_err("too large");
        assert_eq!(error.to_string(), "memory plan: the temporaries exceed the address space");
    }
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let steps: [Shorthand<'_>; 3] = [(&[], &[0], false), (&[], &[1], false), (&[0, 1], &[2], false)];
    let program = program(&[64; 3], &steps);
    let given = |offsets: [usize; 3]| {
        check(&program, &MemoryPlan { offsets: offsets.to_vec(), bytes: 192, lower_bound: 0 })
    };
    assert_eq!(given([0, 64, 128]), Ok(()));
    assert!(matches!(
        given([0, 0, 128]),
        Err(CheckError::Overwritten { step: 2, temporary: 0, owner: 1, .. })
    ));
    assert!(matches!(given([0, 64, 64]), Err(CheckError::Clash { step: 2, written: 2, other: 1, .. })));
    assert!(matches!(given([0, 64, 192]), Err(CheckError::Place { temporary: 2, .. })));
    assert!(matches!(given([0, 32, 128]), Err(CheckError::Place { temporary: 1, .. })));
}

/// Sizes of the activations of an inverted-residual network: expand, depthwise, project, add to what was before.
fn inverted_residuals() -> Program {
    let mut sizes = vec![112 * 112 * 32 * 4];
    let mut steps: Vec<(Vec<usize>, Vec<usize>, bool)> = vec![(vec![], vec![0], false)];
    for (pixels, channels, repeats) in
        [(112usize, 16usize, 1), (56, 24, 2), (28, 32, 3), (14, 64, 4), (14, 96, 3), (7, 160, 3), (7, 320, 1)]
    {
        for repeat in 0..repeats {
            let before = sizes.len() - 1;
            let source = if repeat == 0 && pixels != 14 { (pixels * 2).min(112) } else { pixels };
            for (side, width) in [(source, channels * 6), (pixels, channels * 6), (pixels, channels)] {
                let last = sizes.len();
                sizes.push(side * side * width * 4);
                let mut reads = vec![last - 1];
                if width == channels && repeat > 0 {
                    reads.push(before);
                }
                steps.push((reads, vec![last], false));
            }
        }
    }
    let steps: Vec<Shorthand<'_>> = steps.iter().map(|(r, w, p)| (&r[..], &w[..], *p)).collect();
    program(&sizes, &steps)
}

/// Dense blocks: every layer reads all before it, in its block.
fn dense_blocks() -> Program {
    let mut sizes = Vec::new();
    let mut steps: Vec<(Vec<usize>, Vec<usize>, bool)> = Vec::new();
    for (pixels, layers) in [(56, 6), (28, 12), (14, 24), (7, 16)] {
        let first = sizes.len();
        sizes.push(pixels * pixels * 64 * 4);
        steps.push((if first > 0 { vec![first - 1] } else { vec![] }, vec![first], false));
        for _ in 0..layers {
            let last = sizes.len();
            let mut reads = vec![first];
            reads.extend((first + 2..last).step_by(2));
            sizes.push(pixels * pixels * 128 * 4);
            steps.push((reads, vec![last], false));
            sizes.push(pixels * pixels * 32 * 4);
            steps.push((vec![last], vec![last + 1], false));
        }
    }
    let steps: Vec<Shorthand<'_>> = steps.iter().map(|(r, w, p)| (&r[..], &w[..], *p)).collect();
    program(&sizes, &steps)
}

/// Columns of a temporary are read while what lies between them is not written yet, and holds another's old bytes.
#[test]
fn columns_between_others() {
    let mut program = program(&[64, 64], &[(&[], &[0], false), (&[0], &[1], false)]);
    // Every other byte of 32 is written and then read.
    let columns = |access| {
        let mut kernel = KernelBuilder::new("columns");
        let buffer = kernel.buffer("c", Element::U8, 31, access);
        kernel.repeat(16, |b, index| {
            b.load(1, buffer, index * 2);
        });
        kernel.finish()
    };
    for access in [Access::Write, Access::Read] {
        program.kernels.push(columns(access));
        let arguments = vec![Argument::from(Storage::Temporary(2)).after(1)];
        let kernel = program.kernels.len() - 1;
        let call = Call { kernel, arguments, in_place: Vec::new(), node: "columns".into() };
        program.steps.push(Step::sequential(vec![call]));
    }
    program.temporaries.push(32);
    let in_the_place_of_the_first = MemoryPlan { offsets: vec![0, 64, 0], bytes: 128, lower_bound: 0 };
    assert_eq!(check(&program, &in_the_place_of_the_first), Ok(()));
    let over_the_columns = Argument::from(Storage::Temporary(0)).after(0);
    program.steps.insert(
        3,
        Step::sequential(vec![Call {
            kernel: 0,
            arguments: vec![over_the_columns],
            in_place: Vec::new(),
            node: "again".into(),
        }]),
    );
    assert!(matches!(
        check(&program, &in_the_place_of_the_first),
        Err(CheckError::Overwritten { temporary: 2, .. })
    ));
}

#[test]
fn networks_come_close_to_the_bound() {
    for program in [inverted_residuals(), dense_blocks()] {
        let plan = checked(&program);
        assert!(plan.bytes * 100 <= plan.lower_bound * 105, "{} of {}", plan.bytes, plan.lower_bound);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_passes_the_checker(
        sizes in prop::collection::vec(0usize..2000, 1..40),
        // A call reads what earlier calls wrote and writes one more.
        calls in prop::collection::vec((prop::collection::vec(0usize..1000, 0..4), any::<bool>(), 0usize..8), 1..60),
    ) {
        let (mut written, mut steps) = (Vec::new(), Vec::new());
        for (number, (reads, in_place, back)) in calls.into_iter().enumerate() {
            // Mostly the next fresh temporary, at times one that is there already.
            let fresh = written.len().min(sizes.len() - 1);
            let target = if back == 0 { number % sizes.len() } else { fresh };
            let read = |r: usize| (!written.is_empty()).then(|| written[r % written.len()]);
            let reads: Vec<usize> = reads.into_iter().filter_map(read).filter(|&r| r != target).collect();
            if !written.contains(&target) {
                written.push(target);
            }
            steps.push((reads, vec![target], in_place));
        }
        let steps: Vec<Shorthand<'_>> = steps.iter().map(|(r, w, p)| (&r[..], &w[..], *p)).collect();
        let program = program(&sizes, &steps);
        let plan = checked(&program);
        // Deterministic.
        prop_assert_eq!(super::plan(&program).expect("as before"), plan);
    }

    #[test]
    fn the_checker_notices_moved_temporaries(seed in any::<u64>()) {
        let program = inverted_residuals();
        let mut plan = plan(&program).expect("sizes are small");
        // Put one temporary on top of the one that its writer reads.
        let moved = 1 + (seed % (program.temporaries.len() as u64 - 1)) as usize;
        plan.offsets[moved] = plan.offsets[moved - 1];
        plan.bytes = plan.bytes.max(plan.offsets[moved] + program.temporaries[moved]);
        prop_assert!(check(&program, &plan).is_err());
    }
}
