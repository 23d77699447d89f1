//! Pixels loaded four at once, for processors whose multiply-add takes one lane of a vector as a factor.
//!
//! A microkernel multiplies vectors of weights by pixels, each of which the kernel IR loads into all lanes. What comes in
//! is a list of statements; what goes out says which of these loads are lanes of one vector load: four elements that
//! follow each other, used as factors only. Then four steps of a reduction need one load a pixel instead of four. A
//! vector of pixels is in a register for longer than one pixel would be, so there are only as many as registers are left
//! over.

use std::collections::{BTreeMap, HashMap};

use avocet_ir::kernel::pointers::Pointer;
use avocet_ir::kernel::{Access, Address, Element, Expression, Kernel, Statement, ValueId};

/// Lanes of a group.
pub(crate) const GROUP: usize = 4;

/// Which loads of a list of statements are lanes of which vectors.
#[derive(Debug, Default)]
pub(crate) struct Pixels {
    /// The group of a load, and its lane there.
    pub(crate) lanes: HashMap<ValueId, (usize, u8)>,
    /// Address of each group's first element.
    pub(crate) groups: Vec<Address>,
}

/// A group that could be, with the statements between which it is in a register.
struct Candidate {
    address: Address,
    members: Vec<(ValueId, u8)>,
    first: usize,
    last: usize,
}

impl Pixels {
    /// The groups of a list of statements, without those of loops in it.
    pub(crate) fn of(kernel: &Kernel, statements: &[Statement], registers: usize) -> Self {
        let uses = Uses::of(statements);
        let mut candidates = candidates(kernel, statements, &uses);
        candidates.sort_by_key(|candidate| candidate.first);
        let free = registers.saturating_sub(pressure(kernel, statements, &uses) + 1);
        let mut pixels = Pixels::default();
        let mut held: Vec<usize> = Vec::new();
        for Candidate { address, members, first, last } in candidates {
            held.retain(|&end| end >= first);
            if held.len() < free {
                held.push(last);
                let number = pixels.groups.len();
                pixels.groups.push(address);
                pixels.lanes.extend(members.into_iter().map(|(value, lane)| (value, (number, lane))));
            }
        }
        pixels
    }
}

/// Where values are used in a list of statements.
struct Uses {
    /// Number of the last statement that uses a value.
    last: HashMap<ValueId, usize>,
    /// Values that are used as anything but factors of multiply-adds.
    otherwise: std::collections::HashSet<ValueId>,
}

impl Uses {
    fn of(statements: &[Statement]) -> Self {
        let mut uses = Uses { last: HashMap::new(), otherwise: Default::default() };
        for (number, statement) in statements.iter().enumerate() {
            uses.add(statement, number);
        }
        uses
    }

    fn add(&mut self, statement: &Statement, number: usize) {
        let (factors, others): (Vec<ValueId>, Vec<ValueId>) = match statement {
            Statement::Let(_, Expression::MulAdd(a, b, c)) => (vec![*a, *b], vec![*c]),
            Statement::Let(_, expression) => (vec![], expression.operands()),
            Statement::Store { value, .. } => (vec![], vec![*value]),
            Statement::StoreAt { index, value, .. } => (vec![], vec![*index, *value]),
            Statement::For { carried, body, .. } => {
                body.iter().for_each(|statement| self.add(statement, number));
                (vec![], carried.iter().flat_map(|c| [c.initial, c.next]).collect())
            }
        };
        self.otherwise.extend(&others);
        self.last.extend(factors.into_iter().chain(others).map(|value| (value, number)));
    }
}

/// A load: number of its statement, value, address.
type Load<'a> = (usize, ValueId, &'a Address);

fn candidates(kernel: &Kernel, statements: &[Statement], uses: &Uses) -> Vec<Candidate> {
    // Loads by place; a place may be loaded more than once.
    let mut places: BTreeMap<(Pointer, i64), Vec<Load<'_>>> = BTreeMap::new();
    for (number, statement) in statements.iter().enumerate() {
        let Statement::Let(value, Expression::LoadBroadcast(address)) = statement else { continue };
        let (ty, buffer) = (kernel.ty(*value), &kernel.buffers[address.buffer.0]);
        let fits = ty.element == Element::F32 && ty.lanes == GROUP && buffer.access == Access::Read;
        if fits && uses.last.contains_key(value) && !uses.otherwise.contains(value) {
            let place = (Pointer::of(address), address.index.constant);
            places.entry(place).or_default().push((number, *value, address));
        }
    }
    let mut found = Vec::new();
    while let Some((pointer, start)) = places.keys().next().cloned() {
        let loads: Vec<_> = (0..GROUP as i64)
            .map_while(|lane| places.remove(&(pointer.clone(), start.checked_add(lane)?)))
            .collect();
        if loads.len() < GROUP {
            continue;
        }
        let all = || loads.iter().flatten();
        let members = loads
            .iter()
            .enumerate()
            .flat_map(|(lane, loads)| loads.iter().map(move |&(_, value, _)| (value, lane as u8)));
        found.push(Candidate {
            address: loads[0][0].2.clone(),
            members: members.collect(),
            first: all().map(|load| load.0).min().unwrap_or(0),
            last: all().filter_map(|load| uses.last.get(&load.1)).copied().max().unwrap_or(0),
        });
    }
    found
}

/// Vectors that are in registers at the same time: sums, which run through the whole list, and what is loaded.
fn pressure(kernel: &Kernel, statements: &[Statement], uses: &Uses) -> usize {
    let sums = statements.iter().filter(|statement| {
        let Statement::Let(value, Expression::MulAdd(_, _, addend)) = statement else { return false };
        // The first of a chain: its addend is no sum of this list.
        let earlier = |s: &Statement| matches!(s, Statement::Let(v, Expression::MulAdd(..)) if v == addend);
        kernel.ty(*value).lanes == GROUP && !statements.iter().any(earlier)
    });
    let sums = sums.count();
    let mut held: Vec<usize> = Vec::new();
    let mut most = 0;
    for (number, statement) in statements.iter().enumerate() {
        if let Statement::Let(value, Expression::Load { .. }) = statement
            && let Some(&last) = uses.last.get(value)
        {
            held.retain(|&end| end > number);
            held.push(last);
            most = most.max(held.len());
        }
    }
    sums + most
}

#[cfg(test)]
mod tests {
    use avocet_ir::kernel::{BufferId, KernelBuilder};

    use super::*;

    /// A kernel of `rows` pixels by one vector of weights, `count` steps written out.
    fn kernel(rows: usize, count: usize) -> Kernel {
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", Element::F32, rows * count, Access::Read);
        let w = b.buffer("w", Element::F32, 4 * count, Access::Read);
        let y = b.buffer("y", Element::F32, 4 * rows, Access::Write);
        let zero = b.f32(4, 0.0);
        let mut sums = vec![zero; rows];
        for k in 0..count {
            let weights = b.load(4, w, 4 * k);
            for (row, sum) in sums.iter_mut().enumerate() {
                let pixel = b.load_broadcast(4, x, row * count + k);
                *sum = b.mul_add(pixel, weights, *sum);
            }
        }
        for (row, &sum) in sums.iter().enumerate() {
            b.store(y, 4 * row, sum);
        }
        b.finish()
    }

    #[test]
    fn four_steps_are_one_load() {
        let kernel = kernel(3, 4);
        let pixels = Pixels::of(&kernel, &kernel.body, 32);
        assert_eq!((pixels.groups.len(), pixels.lanes.len()), (3, 12));
        assert!(pixels.groups.iter().all(|address| address.buffer == BufferId(0)));
    }

    #[test]
    fn what_is_no_whole_group_stays_as_it_is() {
        let kernel = kernel(2, 3);
        // Both rows follow each other in memory: four of six elements are a group.
        assert_eq!(Pixels::of(&kernel, &kernel.body, 32).groups.len(), 1);
    }

    #[test]
    fn groups_are_as_many_as_registers_are_left() {
        let kernel = kernel(8, 4);
        // Eight sums, one vector of weights, one for a pixel that is alone.
        for (registers, groups) in [(32, 8), (15, 5), (10, 0), (0, 0)] {
            assert_eq!(Pixels::of(&kernel, &kernel.body, registers).groups.len(), groups, "{registers}");
        }
    }

    #[test]
    fn other_uses_forbid_it() {
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", Element::F32, 4, Access::Read);
        let y = b.buffer("y", Element::F32, 16, Access::Write);
        for k in 0..4usize {
            let pixel = b.load_broadcast(4, x, k);
            let sum = b.mul_add(pixel, pixel, pixel);
            b.store(y, 4 * k, sum);
        }
        let kernel = b.finish();
        assert!(Pixels::of(&kernel, &kernel.body, 32).groups.is_empty());
    }
}
