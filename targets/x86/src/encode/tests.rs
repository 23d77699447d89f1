//! Every encoding, read back by another disassembler.
//!
//! What each operation must read as is written down here, from its meaning; the bytes of all of them go through objdump
//! at once.

use regalloc2::{Allocation, PReg, RegClass, SpillSlot};

use super::{Emitter, layout};
use crate::convention::SYSTEM_V;
use crate::instruction::{Base, Bits, Code, Constant, Inst, Kind, Memory, Width};
use crate::table::{ALL, Op};
use crate::tests::objdump::disassemble;

const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
const WIDTHS: [Width; 3] = [Width::X, Width::Y, Width::Z];

/// Mnemonics in VEX and in EVEX, and operands: `r` a vector register, `x` and `y` one of that width, `m` memory of the
/// vector's width, `d` and `q` memory of 32 and 64 bits, `s` a register, memory, or one element for all lanes, `i` an
/// immediate, `k` the mask register that comparisons write, `b` a register under that mask.
fn meaning(op: Op) -> (&'static str, &'static str, &'static str) {
    let (both, operands) = match op {
        Op::Load => ("vmovups", "rm"),
        Op::Store => ("vmovups", "mr"),
        Op::LoadOne => ("vmovss", "xd"),
        Op::StoreOne => ("vmovss", "dx"),
        Op::LoadTwo => ("vmovsd", "xq"),
        Op::StoreTwo => ("vmovsd", "qx"),
        Op::LoadMasked => ("vmaskmovps", "rrm"),
        Op::Broadcast => ("vbroadcastss", "rd"),
        Op::Splat => ("vbroadcastss", "rx"),
        Op::UpperOfY => return ("vextractf128", "vextractf32x4", "xri"),
        Op::UpperOfZ => ("vextractf64x4", "yri"),
        Op::UpperTwo => ("vmovhlps", "rrr"),
        Op::OddLanes => ("vmovshdup", "rr"),
        Op::PermuteQuads => ("vpermilps", "rsi"),
        Op::Permute => ("vpermps", "rrs"),
        Op::Add => ("vaddps", "rrs"),
        Op::Sub => ("vsubps", "rrs"),
        Op::Mul => ("vmulps", "rrs"),
        Op::Div => ("vdivps", "rrs"),
        Op::Min => ("vminps", "rrs"),
        Op::Max => ("vmaxps", "rrs"),
        Op::Sqrt => ("vsqrtps", "rs"),
        Op::Round => return ("vroundps", "vrndscaleps", "rsi"),
        Op::MulAdd213 => ("vfmadd213ps", "rrs"),
        Op::MulAdd231 => ("vfmadd231ps", "rrs"),
        Op::AddInt => ("vpaddd", "rrs"),
        Op::SubInt => ("vpsubd", "rrs"),
        Op::MulInt => ("vpmulld", "rrs"),
        Op::AbsInt => ("vpabsd", "rs"),
        Op::And => return ("vpand", "vpandd", "rrs"),
        Op::Or => return ("vpor", "vpord", "rrs"),
        Op::Xor => return ("vpxor", "vpxord", "rrs"),
        Op::ShiftLeft => ("vpslld", "rri"),
        Op::ShiftRight => ("vpsrad", "rri"),
        Op::ShiftLeftBy => ("vpslld", "rrx"),
        Op::ShiftRightBy => ("vpsrad", "rrx"),
        Op::LowLane => ("vpmovzxdq", "rr"),
        Op::TruncateToInt => ("vcvttps2dq", "rs"),
        Op::FromInt => ("vcvtdq2ps", "rs"),
        Op::Compare => ("vcmp?ps", "rrs"),
        Op::GreaterInt => ("vpcmpgtd", "rrs"),
        Op::EqualInt => ("vpcmpeqd", "rrs"),
        Op::Select => ("vblendvps", "rrrr"),
        Op::CompareMask => ("vcmp?ps", "krs"),
        Op::CompareIntMask => ("vpcmp?d", "krs"),
        Op::SelectMask => ("vblendmps", "brs"),
    };
    (both, both, operands)
}

/// Immediates to try, with what the mnemonic then says.
fn immediates(op: Op) -> Vec<(Option<u8>, &'static str)> {
    match op {
        Op::Compare | Op::CompareMask => vec![
            (Some(0x11), "lt_oq"),
            (Some(0x12), "le_oq"),
            (Some(0x00), "eq"),
            (Some(0x04), "neq"),
            (Some(0x1d), "ge_oq"),
            (Some(0x03), "unord"),
            (Some(0x07), "ord"),
        ],
        Op::CompareIntMask => {
            vec![(Some(0), "eq"), (Some(1), "lt"), (Some(2), "le"), (Some(4), "neq")]
        }
        Op::UpperOfY | Op::UpperOfZ => vec![(Some(1), "")],
        Op::PermuteQuads => vec![(Some(0x55), ""), (Some(0xe4), "")],
        Op::Round => vec![(Some(8), ""), (Some(9), ""), (Some(10), "")],
        Op::ShiftLeft | Op::ShiftRight => vec![(Some(1), ""), (Some(31), "")],
        _ => vec![(None, "")],
    }
}

fn vector(number: usize, width: Width) -> String {
    format!("{}mm{number}", ["x", "y", "z"][width as usize])
}

/// A memory operand to try: its place, its base register, and its text.
#[derive(Clone)]
struct Place {
    base: Base,
    register: Option<usize>,
    displacement: i32,
}

impl Place {
    /// The text between brackets; the end of the instruction matters for what is relative to it.
    fn text(&self, length: usize) -> String {
        let (name, displacement) = match (self.base, self.register) {
            (Base::Register, Some(register)) => (GENERAL[register], i64::from(self.displacement)),
            (Base::Constant(_), _) => ("rip", 64 - length as i64),
            _ => panic!("no base"),
        };
        match displacement {
            0 => format!("[{name}]"),
            1.. => format!("[{name}+{displacement:#x}]"),
            _ => format!("[{name}-{:#x}]", -displacement),
        }
    }
}

/// Each base with distances at the borders of what one byte holds, scaled by each vector's size or not.
fn places() -> Vec<Place> {
    let distances = [
        0,
        1,
        -4,
        4,
        64,
        124,
        127,
        128,
        -128,
        -129,
        508,
        512,
        -512,
        -516,
        2032,
        2048,
        4064,
        4096,
        8128,
        8192,
        -8192,
        -8256,
        i32::MAX,
        i32::MIN,
    ];
    let mut places: Vec<Place> = (0..16)
        .flat_map(|register| [0, 4, 64, 4096].map(|displacement| (register, displacement)))
        .chain(distances.into_iter().flat_map(|d| [(0, d), (13, d)]))
        .map(|(register, displacement)| Place {
            base: Base::Register,
            register: Some(register),
            displacement,
        })
        .collect();
    places.push(Place { base: Base::Constant(0), register: None, displacement: 0 });
    places
}

/// Encodings collected, with what each must read as.
#[derive(Default)]
struct Cases {
    bytes: Vec<u8>,
    expected: Vec<(usize, String)>,
}

impl Cases {
    /// Adds what `emit` writes; the text may depend on its length.
    fn add(
        &mut self,
        emit: impl FnOnce(&mut Emitter) -> super::Result<()>,
        text: impl FnOnce(&[u8]) -> String,
    ) {
        let constants = vec![Constant { bits: Bits::All(1), lanes: 16 }];
        let code = Code { constants, ..Code::default() };
        let mut emitter = Emitter::new(&code, &SYSTEM_V);
        for (valid, register) in [(3, 2), (15, 7)] {
            emitter.masks.insert(valid, iced_x86::Register::K0 + register);
        }
        emitter.width = Width::Z;
        emit(&mut emitter).expect("there is an encoding");
        let encoded = layout::place(&emitter.items, &code.constants).expect("it can be placed");
        let bytes = &encoded.bytes[..encoded.length];
        self.expected.push((self.bytes.len(), text(bytes)));
        self.bytes.extend_from_slice(bytes);
    }

    fn check(&self, least: usize) {
        assert!(self.expected.len() >= least, "only {} cases", self.expected.len());
        let lines = disassemble(&self.bytes);
        for ((address, expected), line) in self.expected.iter().zip(&lines) {
            assert_eq!((*address, expected), (line.address, &line.text));
        }
        assert_eq!(self.expected.len(), lines.len());
    }

    /// One instruction of the table.
    fn vector(
        &mut self,
        op: Op,
        width: Width,
        registers: &[usize],
        memory: Option<(&Place, bool)>,
        valid: Option<usize>,
    ) {
        for (immediate, condition) in immediates(op) {
            self.vector_with(op, width, registers, memory, valid, (immediate, condition));
        }
    }

    fn vector_with(
        &mut self,
        op: Op,
        width: Width,
        registers: &[usize],
        memory: Option<(&Place, bool)>,
        valid: Option<usize>,
        (immediate, condition): (Option<u8>, &str),
    ) {
        let broadcast = memory.is_some_and(|(_, broadcast)| broadcast);
        let long = op.code(width, false).is_some()
            && (valid.is_some()
                || broadcast
                || width == Width::Z
                || registers.iter().any(|&number| number > 15)
                || op.code(width, true) == op.code(width, false));
        let (short, evex, operands) = meaning(op);
        let mut registers_left = registers.iter();
        let mask = valid.map_or("", |valid| if valid == 3 { "{k2}" } else { "{k7}" });
        let mut text = |length: usize| {
            let operands = operands.chars().enumerate().map(|(number, kind)| {
                let mut register = |width| vector(*registers_left.next().expect("registers"), width);
                let place = |size: &str| {
                    let (place, _) = memory.expect("memory");
                    format!("{size} {}", place.text(length))
                };
                let whole = format!("{}MMWORD PTR", ["X", "Y", "Z"][width as usize]);
                let text = match kind {
                    'x' => register(Width::X),
                    'y' => register(Width::Y),
                    'm' => place(&whole),
                    'd' => place("DWORD PTR"),
                    'q' => place("QWORD PTR"),
                    's' if broadcast => place("DWORD BCST"),
                    's' if memory.is_some() => place(&whole),
                    'i' => format!("{:#x}", immediate.expect("an immediate")),
                    'k' => "k1".into(),
                    'b' => register(width) + "{k1}",
                    _ => register(width),
                };
                let zeroing = if number == 0 && valid.is_some() && !op.is_store() { "{z}" } else { "" };
                if number == 0 { format!("{text}{mask}{zeroing}") } else { text }
            });
            let operands = operands.collect::<Vec<_>>().join(",");
            format!("{} {operands}", if long { evex } else { short }.replace('?', condition))
        };
        let float = |&number: &usize| Allocation::reg(PReg::new(number, RegClass::Float));
        let mut allocations: Vec<Allocation> = registers.iter().map(float).collect();
        if matches!(op, Op::MulAdd213 | Op::MulAdd231) {
            allocations.insert(1, allocations[0]);
        }
        let base = memory.and_then(|(place, _)| place.register);
        allocations.extend(base.map(|number| Allocation::reg(PReg::new(number, RegClass::Int))));
        let memory = memory.map(|(place, broadcast)| Memory {
            base: place.base,
            displacement: place.displacement,
            broadcast,
        });
        let inst = Inst { kind: Kind::Vector(op, width), operands: Vec::new(), memory, immediate, valid };
        self.add(
            |emitter| emitter.instruction(&inst, &allocations),
            |bytes| {
                assert_eq!(bytes[0] == 0x62, long, "{op:?} {width:?} {registers:?}");
                text(bytes.len())
            },
        );
    }
}

/// Registers in use by an operation, some sets of them: low, extended, those that only EVEX has, and mixtures.
const REGISTERS: [[usize; 4]; 6] =
    [[0, 1, 2, 3], [7, 8, 15, 9], [15, 7, 8, 2], [16, 23, 24, 31], [1, 31, 8, 16], [31, 0, 15, 23]];

#[test]
fn vector_instructions() {
    let mut cases = Cases::default();
    let all = places();
    let place = &all[2];
    for &op in ALL {
        for width in WIDTHS.into_iter().filter(|&width| op.code(width, true).is_some()) {
            for set in REGISTERS {
                let has_evex = op.code(width, false).is_some();
                if set.iter().any(|&number| number > 15) && !has_evex {
                    continue;
                }
                let operands = meaning(op).2;
                let count = operands.chars().filter(|kind| "rxysb".contains(*kind)).count();
                let memory = operands.contains(['m', 'd', 'q']);
                cases.vector(op, width, &set[..count], memory.then_some((place, false)), None);
                if operands.contains('s') {
                    cases.vector(op, width, &set[..count - 1], Some((place, false)), None);
                    if has_evex {
                        cases.vector(op, width, &set[..count - 1], Some((place, true)), None);
                    }
                }
            }
        }
    }
    cases.check(1000);
}

#[test]
fn memory_operands() {
    let mut cases = Cases::default();
    for place in &places() {
        for width in WIDTHS {
            for register in [1, 9, 17] {
                for op in [Op::Load, Op::Store, Op::Broadcast] {
                    cases.vector(op, width, &[register], Some((place, false)), None);
                }
                for op in [Op::MulAdd231, Op::Add] {
                    cases.vector(op, width, &[register, 2], Some((place, false)), None);
                    cases.vector(op, width, &[register, 2], Some((place, true)), None);
                }
                for valid in [3, 15] {
                    cases.vector(Op::Load, width, &[register], Some((place, false)), Some(valid));
                    cases.vector(Op::Store, width, &[register], Some((place, false)), Some(valid));
                }
                if width == Width::X {
                    for op in [Op::LoadOne, Op::StoreOne, Op::LoadTwo, Op::StoreTwo] {
                        cases.vector(op, width, &[register], Some((place, false)), None);
                    }
                }
            }
            if width != Width::Z {
                cases.vector(Op::LoadMasked, width, &[9, 3], Some((place, false)), None);
            }
        }
    }
    cases.check(3000);
}

#[test]
fn general_instructions() {
    let mut cases = Cases::default();
    let general = |number: usize| Allocation::reg(PReg::new(number, RegClass::Int));
    let inst = |kind: Kind| Inst { kind, operands: Vec::new(), memory: None, immediate: None, valid: None };
    let low = |number: usize| match number {
        0..8 => format!("e{}", &GENERAL[number][1..]),
        _ => format!("{}d", GENERAL[number]),
    };
    for number in (0..16).filter(|&number| number != 4) {
        let name = GENERAL[number];
        for value in [0, 1, 0x7fff_ffff, 0xffff_ffff] {
            let text = format!("mov {},{value:#x}", low(number));
            cases.add(|e| e.instruction(&inst(Kind::Constant(value)), &[general(number)]), |_| text);
        }
        for value in [-1i64, 1 << 32, i64::MIN] {
            let text = format!("movabs {name},{value:#x}");
            cases.add(|e| e.instruction(&inst(Kind::Constant(value)), &[general(number)]), |_| text);
        }
        for amount in [4, 127, 128, i32::MAX, -1, -128, -129, i32::MIN] {
            let text = format!("add {name},{:#x}", i64::from(amount));
            let operands = [general(number), general(number)];
            cases.add(|e| e.instruction(&inst(Kind::AddConstant(amount)), &operands), |_| text);
        }
        let other = (number + 9) % 16;
        let operands = [general(number), general(number), general(other)];
        let text = format!("add {name},{}", GENERAL[other]);
        cases.add(|e| e.instruction(&inst(Kind::Add), &operands), |_| text);
        let operands = [general(number), general(number)];
        cases.add(|e| e.instruction(&inst(Kind::Decrement), &operands), |_| format!("dec {name}"));
    }
    for number in 0..32 {
        let vector = Allocation::reg(PReg::new(number, RegClass::Float));
        let mnemonic = if number < 16 { "vpxor" } else { "vpxord" };
        let text = format!("{mnemonic} xmm{number},xmm{number},xmm{number}");
        cases.add(|e| e.instruction(&inst(Kind::Zero), &[vector]), |_| text);
    }
    cases.check(200);
}

#[test]
fn moves_and_spills() {
    let mut cases = Cases::default();
    let register = |number: usize, class| Allocation::reg(PReg::new(number, class));
    let slot = |number: usize| Allocation::stack(SpillSlot::new(number));
    for (from, to) in [(0, 13), (12, 5), (3, 8), (15, 7)] {
        let [f, t] = [from, to].map(|number| register(number, RegClass::Int));
        let (from, to) = (GENERAL[from], GENERAL[to]);
        cases.add(|e| e.copy(f, t), |_| format!("mov {to},{from}"));
        cases.add(|e| e.copy(f, slot(0)), |_| format!("mov QWORD PTR [rsp],{from}"));
        cases.add(|e| e.copy(f, slot(3)), |_| format!("mov QWORD PTR [rsp+0x18],{from}"));
        cases.add(|e| e.copy(slot(40), t), |_| format!("mov {to},QWORD PTR [rsp+0x140]"));
    }
    for width in WIDTHS {
        let least = if width == Width::Z { 0 } else { 16 };
        for (from, to) in [(0, 15), (9, 1), (16, 31), (3, 17), (20, 8)] {
            let [f, t] = [from, to].map(|number| register(number, RegClass::Float));
            let memory = format!("{}MMWORD PTR", ["X", "Y", "Z"][width as usize]);
            let at = |emitter: &mut Emitter| emitter.width = width;
            let (source, target) = (vector(from, width), vector(to, width));
            let long = |number: usize| number >= least;
            let check = |bytes: &[u8], long: bool| assert_eq!(bytes[0] == 0x62, long);
            cases.add(
                |e| (at(e), e.copy(f, t)).1,
                |bytes| (check(bytes, long(from) || long(to)), format!("vmovups {target},{source}")).1,
            );
            cases.add(
                |e| (at(e), e.copy(f, slot(8))).1,
                |bytes| (check(bytes, long(from)), format!("vmovups {memory} [rsp+0x40],{source}")).1,
            );
            cases.add(
                |e| (at(e), e.copy(slot(100), t)).1,
                |bytes| (check(bytes, long(to)), format!("vmovups {target},{memory} [rsp+0x320]")).1,
            );
        }
    }
    cases.check(60);
}
