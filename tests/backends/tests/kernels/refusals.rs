//! What a back end does not have, it refuses by an error; it never makes code that can't run.

use avocet_backend_tests::back_ends::{back_ends, target};
use avocet_backend_tests::check::builder;
use avocet_ir::backend::Backend;
use avocet_ir::kernel::{Element, Kernel};
use avocet_target_x86::X86;

/// A kernel that copies one vector.
fn copy(element: Element, lanes: usize) -> Kernel {
    let (mut b, [x, y]) = builder(element, lanes);
    let value = b.load(lanes, x, 0usize);
    b.store(y, 0usize, value);
    b.finish()
}

#[test]
fn lanes_beyond_the_widest() {
    for back_end in back_ends() {
        for element in [Element::F32, Element::I32, Element::I64, Element::U8] {
            let lanes = back_end.backend.lanes(element) * 2;
            let refused = back_end.backend.compile(&copy(element, lanes));
            assert!(refused.is_err(), "{} takes {lanes} lanes of {element}", back_end.name());
        }
    }
}

#[test]
fn constants_wider_than_the_widest() {
    for back_end in back_ends() {
        let lanes = back_end.backend.lanes(Element::F32) * 2;
        let (mut b, [_, y]) = builder(Element::F32, lanes);
        let value = b.f32(lanes, 0.0);
        b.store_partial(y, 0usize, value, 1);
        assert!(back_end.backend.compile(&b.finish()).is_err(), "{}", back_end.name());
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn elements_that_the_wide_back_end_leaves_to_others() {
    let x86 = X86::new(&target("x86-64-v3")).expect("AVX2");
    let refused = x86.compile(&copy(Element::U8, 16)).expect_err("bytes");
    assert_eq!(refused.to_string(), "kernel 'test': values of type u8x16 only move data");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn targets_without_avx2() {
    assert_eq!(X86::new(&target("x86-64")).expect_err("SSE2"), "it needs AVX2 and FMA");
}
