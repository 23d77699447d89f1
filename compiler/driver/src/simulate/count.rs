//! How often each instruction of a kernel runs, from its machine code alone and the loops of the kernel that it was made
//! from.
//!
//! Kernels have static loops only, and back ends keep them: the loops of the machine code, in the order of their first
//! instructions, are those of the kernel as they are written, which is checked by their number and nesting. So each basic
//! block runs as often as the loops around it say. What is behind another branch, as some conversions have it, counts as
//! running each time.

use std::collections::{BTreeMap, BTreeSet};

use avocet_ir::kernel::{Kernel, Statement};

use super::instruction::{Flow, Instruction};

/// What one call of a kernel executes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Everything.
    pub(super) all: Executed,
    /// What of it is in loops that have no other within.
    pub(super) inner: Executed,
    /// Each of these loops: what its instructions are, and how often it runs.
    pub(super) loops: Vec<(Executed, u64)>,
    /// Whether there are branches other than those of loops, so that these are upper bounds.
    pub(super) at_most: bool,
}

/// Executed instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Executed {
    pub(super) instructions: u64,
    pub(super) multiply_adds: u64,
    pub(super) stack: u64,
}

impl Executed {
    /// Adds what runs so many times.
    pub(super) fn add(&mut self, other: Executed, times: u64) {
        let add = |sum: &mut u64, one: u64| *sum = sum.saturating_add(one.saturating_mul(times));
        add(&mut self.instructions, other.instructions);
        add(&mut self.multiply_adds, other.multiply_adds);
        add(&mut self.stack, other.stack);
    }
}

/// A run of instructions that is entered at its start and left at its end. Blocks are named by where they start.
struct Block {
    executed: Executed,
    next: Vec<usize>,
}

/// A loop of the machine code.
struct Loop {
    blocks: BTreeSet<usize>,
    /// The blocks that run between the decision to go on and the next iteration.
    on_the_way_back: BTreeSet<usize>,
}

/// Counts what a call of the kernel executes. The error says what in the code is not as expected.
pub(super) fn count(
    kernel: &Kernel,
    code: &[u8],
    decode: impl Fn(&[u8], usize) -> Option<Instruction>,
) -> Result<Count, String> {
    let blocks = blocks(code, decode)?;
    let loops = loops(&blocks)?;
    let mut expected = Vec::new();
    trips(&kernel.body, 0, &mut expected);
    let depth = |start: &usize| loops.values().filter(|l| l.blocks.contains(start)).count() - 1;
    let found: Vec<usize> = loops.keys().map(depth).collect();
    if found != expected.iter().map(|&(depth, _)| depth).collect::<Vec<_>>() {
        return Err(format!(
            "its machine code has loops of depths {found:?}, which are not those of the kernel"
        ));
    }
    let times = |start: &usize| {
        loops.values().zip(&expected).fold(1u64, |times, (l, &(_, trips))| {
            if l.on_the_way_back.contains(start) {
                times.saturating_mul(trips.saturating_sub(1))
            } else if l.blocks.contains(start) {
                times.saturating_mul(trips)
            } else {
                times
            }
        })
    };
    let mut count = Count::default();
    for (start, block) in &blocks {
        count.all.add(block.executed, times(start));
    }
    for (start, l) in &loops {
        if loops.keys().any(|other| other != start && l.blocks.contains(other)) {
            continue;
        }
        let mut body = Executed::default();
        for block in &l.blocks {
            body.add(blocks[block].executed, 1);
            count.inner.add(blocks[block].executed, times(block));
        }
        count.loops.push((body, times(start)));
    }
    let decisions = blocks.values().filter(|block| block.next.len() > 1).count();
    count.at_most = decisions > loops.len();
    Ok(count)
}

/// The loops of statements as they are written: how many are around each, and its iterations.
fn trips(statements: &[Statement], depth: usize, found: &mut Vec<(usize, u64)>) {
    for statement in statements {
        if let Statement::For { count, body, .. } = statement {
            found.push((depth, *count as u64));
            trips(body, depth + 1, found);
        }
    }
}

/// The basic blocks that are reached from the first instruction.
fn blocks(
    code: &[u8],
    decode: impl Fn(&[u8], usize) -> Option<Instruction>,
) -> Result<BTreeMap<usize, Block>, String> {
    let mut instructions: BTreeMap<usize, Instruction> = BTreeMap::new();
    let mut starts = BTreeSet::from([0]);
    let mut open = vec![0];
    while let Some(place) = open.pop() {
        if instructions.contains_key(&place) {
            continue;
        }
        let instruction =
            decode(code, place).ok_or_else(|| format!("it has something unknown at {place:#x}"))?;
        let following = place + instruction.bytes;
        match instruction.flow {
            Flow::Next => open.push(following),
            Flow::Branch(target) => {
                open.extend([following, target]);
                starts.extend([following, target]);
            }
            Flow::Jump(target) => {
                open.push(target);
                starts.insert(target);
            }
            Flow::Return => {}
        }
        instructions.insert(place, instruction);
    }
    let mut blocks = BTreeMap::new();
    for &start in &starts {
        let mut block = Block { executed: Executed::default(), next: Vec::new() };
        let mut place = start;
        while let Some(instruction) = instructions.get(&place) {
            let one = Executed {
                instructions: 1,
                multiply_adds: instruction.multiply_add.into(),
                stack: instruction.stack.into(),
            };
            block.executed.add(one, 1);
            place += instruction.bytes;
            block.next = match instruction.flow {
                Flow::Next if !starts.contains(&place) => continue,
                Flow::Next => vec![place],
                Flow::Branch(target) => vec![target, place],
                Flow::Jump(target) => vec![target],
                Flow::Return => Vec::new(),
            };
            break;
        }
        blocks.insert(start, block);
    }
    Ok(blocks)
}

/// The loops, by their first blocks.
fn loops(blocks: &BTreeMap<usize, Block>) -> Result<BTreeMap<usize, Loop>, String> {
    let mut before: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (&start, block) in blocks {
        for &next in &block.next {
            before.entry(next).or_default().push(start);
        }
    }
    let mut loops: BTreeMap<usize, Loop> = BTreeMap::new();
    for (from, start) in ways_back(blocks) {
        let around = loops
            .entry(start)
            .or_insert_with(|| Loop { blocks: BTreeSet::from([start]), on_the_way_back: BTreeSet::new() });
        // Whatever leads to the way back without passing the start.
        let mut open = vec![from];
        while let Some(block) = open.pop() {
            if around.blocks.insert(block) {
                open.extend(before.get(&block).into_iter().flatten());
            }
        }
    }
    for (&start, l) in &mut loops {
        let leaves = |block: &&usize| blocks[*block].next.iter().any(|next| !l.blocks.contains(next));
        let exits: Vec<usize> = l.blocks.iter().filter(leaves).copied().collect();
        let &[exit] = exits.as_slice() else {
            return Err(format!("its loop at {start:#x} is left at {} places", exits.len()));
        };
        let mut open = blocks[&exit].next.clone();
        while let Some(block) = open.pop() {
            if block != start && l.blocks.contains(&block) && l.on_the_way_back.insert(block) {
                open.extend(&blocks[&block].next);
            }
        }
    }
    Ok(loops)
}

/// The edges that lead back to a block that is being walked through, depth first.
fn ways_back(blocks: &BTreeMap<usize, Block>) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([0]);
    let mut path = vec![(0, 0)];
    while let Some((block, next)) = path.last_mut() {
        let from = *block;
        let Some(&to) = blocks.get(&from).and_then(|block| block.next.get(*next)) else {
            path.pop();
            continue;
        };
        *next += 1;
        if seen.insert(to) {
            path.push((to, 0));
        } else if path.iter().any(|&(block, _)| block == to) {
            found.push((from, to));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use avocet_ir::kernel::{Access, Element, KernelBuilder};

    use super::*;

    /// A machine for tests: an instruction is a byte. `a`: adds, `m`: multiplies and adds, `s`: uses the stack, `b` and the
    /// next byte: branches to that place, `j`: jumps there, `r`: returns.
    fn decode(code: &[u8], place: usize) -> Option<Instruction> {
        let target = || code.get(place + 1).map(|&digit| (digit - b'A') as usize);
        let (bytes, flow) = match code.get(place)? {
            b'b' => (2, Flow::Branch(target()?)),
            b'j' => (2, Flow::Jump(target()?)),
            b'r' => (1, Flow::Return),
            b'a' | b'm' | b's' => (1, Flow::Next),
            _ => return None,
        };
        let [multiply_add, stack] = [b'm', b's'].map(|kind| code[place] == kind);
        Some(Instruction { bytes, multiply_add, stack, flow })
    }

    /// Loops of 10, in it of 3, then of 5.
    fn kernel() -> Kernel {
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", Element::F32, 4, Access::Write);
        b.repeat(10, |b, _| {
            b.repeat(3, |b, _| {
                let one = b.f32(1, 1.0);
                b.store(x, 0usize, one);
            });
        });
        b.repeat(5, |b, _| {
            let one = b.f32(1, 1.0);
            b.store(x, 0usize, one);
        });
        b.finish()
    }

    #[test]
    fn blocks_run_as_often_as_their_loops_say() {
        // By place: A, then B with D within, then K, which is left for Q in its middle.
        let code = b"asammbDabBmbQajKr";
        let found = count(&kernel(), code, decode).expect("counted");
        // 1 + 10 (2 + 3 · 3 + 2) + 5 · 2 + 4 · 2 + 1
        let all = Executed { instructions: 1 + 130 + 10 + 8 + 1, multiply_adds: 60 + 5, stack: 10 };
        let inner = Executed { instructions: 90 + 18, multiply_adds: 60 + 5, stack: 0 };
        let body = |instructions, multiply_adds| Executed { instructions, multiply_adds, stack: 0 };
        let loops = vec![(body(3, 2), 30), (body(4, 1), 5)];
        assert_eq!(found, Count { all, inner, loops, at_most: false });
    }

    #[test]
    fn other_branches_make_it_a_bound() {
        let kernel = KernelBuilder::new("test").finish();
        let found = count(&kernel, b"bDaar", decode).expect("counted");
        assert_eq!((found.all.instructions, found.at_most), (4, true));
    }

    #[test]
    fn code_that_is_not_the_kernels_is_told() {
        let wrong = |code: &[u8]| count(&kernel(), code, decode).expect_err("not its code");
        assert_eq!(wrong(b"axr"), "it has something unknown at 0x1");
        assert_eq!(wrong(b"a"), "it has something unknown at 0x1");
        let loops = "its machine code has loops of depths [], which are not those of the kernel";
        assert_eq!(wrong(b"ar"), loops);
        assert_eq!(wrong(b"ajA"), "its loop at 0x0 is left at 0 places");
        assert_eq!(wrong(b"abGabAr"), "its loop at 0x0 is left at 2 places");
    }
}
