//! Pointers for accesses that an instruction's offset does not reach.
//!
//! RISC-V's loads and stores reach 2 KiB around a pointer, but the rows of a microkernel's block are often further apart.
//! Left to itself, Cranelift adds up each such address anew. What comes in is the body of a loop; what goes out are the
//! offsets at which the loop should carry pointers of their own, so that all of its accesses are within reach of one.

use std::collections::{BTreeMap, BTreeSet};

use avocet_ir::kernel::pointers::Pointer;
use avocet_ir::kernel::{Expression, Kernel, Statement};

/// Most pointers that a loop carries for this: more don't fit registers.
const MOST: usize = 14;

/// Offsets in bytes from each pointer at which a loop with this body should carry another one. Accesses of loops further
/// in are not counted: those carry their own. Empty where there would be too many.
pub(crate) fn offsets(kernel: &Kernel, body: &[Statement], reach: i64) -> BTreeMap<Pointer, Vec<i64>> {
    let mut accesses: BTreeMap<Pointer, BTreeSet<i64>> = BTreeMap::new();
    for statement in body {
        if let Statement::Let(_, Expression::Load { address, .. } | Expression::LoadBroadcast(address))
        | Statement::Store { address, .. } = statement
        {
            let bytes = kernel.buffers[address.buffer.0].element.bytes() as i64;
            // One that overflows is an error when it is translated.
            if let Some(offset) = address.index.constant.checked_mul(bytes) {
                accesses.entry(Pointer::of(address)).or_default().insert(offset);
            }
        }
    }
    let mut found = BTreeMap::new();
    let mut total = 0;
    for (pointer, offsets) in accesses {
        let mut starts: Vec<i64> = Vec::new();
        for offset in offsets {
            let near = |start: i64| offset.checked_sub(start).is_some_and(|d| (-reach..reach).contains(&d));
            if !near(0) && !starts.last().is_some_and(|&start| near(start)) {
                starts.push(offset);
            }
        }
        total += starts.len();
        if !starts.is_empty() {
            found.insert(pointer, starts);
        }
    }
    if total > MOST { BTreeMap::new() } else { found }
}

#[cfg(test)]
mod tests {
    use avocet_ir::kernel::{Access, Element, KernelBuilder};

    use super::*;

    fn of(places: &[usize], reach: i64) -> Vec<i64> {
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", Element::F32, 1 << 20, Access::Read);
        for &place in places {
            b.load(1, x, place);
        }
        let kernel = b.finish();
        offsets(&kernel, &kernel.body, reach).into_values().flatten().collect()
    }

    #[test]
    fn what_is_near_needs_nothing() {
        assert_eq!(of(&[0, 1, 511], 2048), []);
    }

    #[test]
    fn what_is_far_gets_a_pointer_that_reaches_its_neighbours() {
        assert_eq!(of(&[0, 512, 513, 1023, 1024, 5000, 5511], 2048), [2048, 4096, 20000]);
    }

    #[test]
    fn too_many_get_none() {
        let places: Vec<usize> = (0..20).map(|i| i * 1000).collect();
        assert_eq!(of(&places, 2048), []);
        assert_eq!(of(&places[..15], 2048).len(), 14);
    }
}
