//! What the code does to the caller's registers and stack, read from the disassembly, in both calling conventions.

use avocet_ir::backend::{Backend, MachineCode};
use avocet_ir::kernel::{Access, Element, Kernel, KernelBuilder, ValueId};
use avocet_target_spec::Target;
use target_lexicon::{OperatingSystem, Triple};

use super::objdump::{Line, disassemble};
use crate::X86;

/// What a convention asks for, from its definition: the System V supplement for AMD64, Microsoft's x64 documentation.
pub(super) struct Rules {
    system: OperatingSystem,
    arguments: &'static [&'static str],
    /// Distance from the stack pointer at the entry to the first argument in memory.
    stack: i64,
    preserved: &'static [&'static str],
    pub(super) preserved_vectors: std::ops::Range<usize>,
}

pub(super) const SYSTEM_V: Rules = Rules {
    system: OperatingSystem::Linux,
    arguments: &["rdi", "rsi", "rdx", "rcx", "r8", "r9"],
    stack: 8,
    preserved: &["rbx", "rbp", "r12", "r13", "r14", "r15"],
    preserved_vectors: 0..0,
};

pub(super) const WINDOWS: Rules = Rules {
    system: OperatingSystem::Windows,
    arguments: &["rcx", "rdx", "r8", "r9"],
    // The return address and four places that belong to the callee.
    stack: 8 + 32,
    preserved: &["rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15"],
    preserved_vectors: 6..16,
};

pub(super) const TARGETS: [&str; 2] = ["x86-64-v3", "x86-64-v4"];

pub(super) fn compile(kernel: &Kernel, rules: &Rules, target: &str) -> MachineCode {
    kernel.verify().expect("valid");
    let target = Target::by_name(target).expect("built in");
    let triple = Triple { operating_system: rules.system, ..target.triple };
    let x86 = X86::new(&Target { triple, ..target }).expect("wide");
    x86.compile(kernel).expect("compiles")
}

/// The instructions up to the return.
pub(super) fn instructions(code: &MachineCode) -> Vec<Line> {
    let mut lines = disassemble(&code.bytes);
    let end = lines.iter().position(|line| line.text == "ret").expect("an end");
    lines.truncate(end + 1);
    lines
}

fn code(kernel: &Kernel, rules: &Rules, target: &str) -> Vec<Line> {
    instructions(&compile(kernel, rules, target))
}

/// A kernel of so many buffers and so many values at once.
pub(super) fn kernel(buffers: usize, values: usize) -> Kernel {
    let mut b = KernelBuilder::new("test");
    let access = |i: usize| if i + 1 == buffers { Access::Write } else { Access::Read };
    let ids: Vec<_> =
        (0..buffers).map(|i| b.buffer(format!("b{i}"), Element::F32, 8 * values.max(3), access(i))).collect();
    let zero = b.f32(8, 0.5);
    let sums = b.repeat_carrying(3, &vec![zero; values], |b, i, sums| {
        let mut next: Vec<ValueId> = Vec::new();
        for (number, &sum) in sums.iter().enumerate() {
            let value = b.load(8, ids[number % (buffers - 1)], &i * 8);
            next.push(b.mul_add(sum, value, sum));
        }
        next
    });
    for (i, &sum) in sums.iter().enumerate() {
        b.store(ids[buffers - 1], i * 8, sum);
    }
    b.finish()
}

/// The numbers of the vector registers in an instruction.
fn vectors(text: &str) -> Vec<usize> {
    let places = text.match_indices("mm").map(|(place, _)| &text[place + 2..]);
    let digits = places.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

fn check(lines: &[Line], rules: &Rules) -> Frame {
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let of = |prefix: &str| -> Vec<&str> { texts.iter().filter_map(|t| t.strip_prefix(prefix)).collect() };
    let (pushes, mut pops) = (of("push "), of("pop "));
    pops.reverse();
    assert_eq!(pushes, pops);
    let (sub, add) = (of("sub rsp,"), of("add rsp,"));
    assert_eq!(sub, add);
    assert!(sub.len() < 2, "{sub:?}");
    let number = |text: &&str| i64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number");
    let frame = Frame { pushed: pushes.len() as i64 * 8, bytes: sub.first().map_or(0, number) };
    // Nothing else changes the stack pointer, so the stack is as it was.
    assert!(texts.iter().all(|t| !t.contains(" rsp,") || t.starts_with("sub ") || t.starts_with("add ")));

    for register in rules.preserved {
        let mentioned = texts.iter().any(|t| t.contains(register));
        assert_eq!(mentioned, pushes.contains(register), "{register}\n{texts:#?}");
    }
    let mut slots = Vec::new();
    for register in rules.preserved_vectors.clone() {
        let mentions: Vec<&str> = texts.iter().copied().filter(|t| vectors(t).contains(&register)).collect();
        let (Some(first), Some(last)) = (mentions.first(), mentions.last()) else { continue };
        let slot = first
            .strip_prefix("vmovups XMMWORD PTR ")
            .and_then(|t| t.strip_suffix(&format!(",xmm{register}")));
        let slot = slot.unwrap_or_else(|| panic!("xmm{register} is not saved: {first}"));
        assert_eq!(*last, format!("vmovups xmm{register},XMMWORD PTR {slot}"));
        let offset = slot.trim_start_matches("[rsp").trim_start_matches("+0x").trim_end_matches(']');
        slots.push(i64::from_str_radix(offset, 16).unwrap_or(0));
    }
    // Each slot is within the frame, 16 bytes long, and nobody else's.
    for (i, &slot) in slots.iter().enumerate() {
        assert!(slot >= 0 && slot + 16 <= frame.bytes, "slot {slot} of {}", frame.bytes);
        assert!(slots[..i].iter().all(|other| (slot - other).abs() >= 16), "{slots:?}");
    }
    let spill_end = slots.iter().min().copied().unwrap_or(frame.bytes);
    for text in &texts {
        let Some((before, after)) = text.split_once("[rsp") else { continue };
        let offset = after.trim_start_matches("+0x").split(']').next().unwrap_or_default();
        let offset = i64::from_str_radix(offset, 16).unwrap_or(0);
        let size = match before {
            _ if before.contains("ZMMWORD") => 64,
            _ if before.contains("YMMWORD") => 32,
            _ if before.contains("XMMWORD") => 16,
            _ => 8,
        };
        let is_saving = slots.contains(&offset) && size == 16;
        let is_argument = offset >= frame.bytes + frame.pushed + rules.stack;
        assert!(is_saving || is_argument || offset + size <= spill_end, "{text}");
    }
    frame
}

struct Frame {
    pushed: i64,
    bytes: i64,
}

#[test]
fn preserved_registers_come_back() {
    for rules in [&SYSTEM_V, &WINDOWS] {
        for target in TARGETS {
            for (buffers, values) in [(2, 1), (2, 6), (3, 12), (9, 14), (14, 40)] {
                check(&code(&kernel(buffers, values), rules, target), rules);
            }
        }
    }
}

#[test]
fn windows_saves_vectors_only_where_they_are_used() {
    let saved = |values| {
        let lines = code(&kernel(2, values), &WINDOWS, "x86-64-v3");
        lines.iter().filter(|l| l.text.starts_with("vmovups XMMWORD PTR [rsp")).count()
    };
    assert_eq!(saved(2), 0);
    assert!(saved(14) >= 8, "{}", saved(14));
    // With AVX-512 there are sixteen more that are the callee's.
    let lines = code(&kernel(2, 14), &WINDOWS, "x86-64-v4");
    assert!(!lines.iter().any(|l| l.text.starts_with("vmovups XMMWORD PTR [rsp")));
}

#[test]
fn pointers_come_from_where_the_convention_puts_them() {
    for rules in [&SYSTEM_V, &WINDOWS] {
        for target in TARGETS {
            // Each buffer's element is copied to its place in the last buffer.
            let count = rules.arguments.len() + 5;
            let mut b = KernelBuilder::new("test");
            let access = |i: usize| if i + 1 == count { Access::Write } else { Access::Read };
            let ids: Vec<_> =
                (0..count).map(|i| b.buffer(format!("b{i}"), Element::F32, count, access(i))).collect();
            let values: Vec<ValueId> = (0..4).map(|i| b.load(1, ids[i], i + 1)).collect();
            for (i, &value) in values.iter().enumerate() {
                b.store(ids[count - 1], i, value);
            }
            let others: Vec<ValueId> = (4..count - 1).map(|i| b.load(1, ids[i], i)).collect();
            for (i, &value) in others.iter().enumerate() {
                b.store(ids[count - 1], i + 4, value);
            }
            let lines = code(&b.finish(), rules, target);
            let frame = check(&lines, rules);
            for (i, register) in rules.arguments.iter().enumerate().take(4) {
                let load = format!("DWORD PTR [{register}+{:#x}]", (i + 1) * 4);
                assert!(lines.iter().any(|l| l.text.ends_with(&load)), "{load}\n{lines:#?}");
            }
            for number in rules.arguments.len()..count {
                let offset =
                    frame.bytes + frame.pushed + rules.stack + 8 * (number - rules.arguments.len()) as i64;
                let load = format!("QWORD PTR [rsp+{offset:#x}]");
                assert!(lines.iter().any(|l| l.text.ends_with(&load)), "{load}\n{lines:#?}");
            }
        }
    }
}

#[test]
fn upper_halves_are_cleared_before_the_caller_goes_on() {
    for rules in [&SYSTEM_V, &WINDOWS] {
        let lines = code(&kernel(2, 8), rules, "x86-64-v3");
        assert_eq!(lines[lines.len() - 2].text, "vzeroupper");
    }
}
