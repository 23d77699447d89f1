//! What the code says of its caller's frame, against what its instructions do, one by one, as the disassembler reads them.

use std::collections::BTreeMap;

use avocet_ir::backend::{FrameRule, MachineCode};

use super::conventions::{Rules, SYSTEM_V, TARGETS, WINDOWS, compile, instructions, kernel};

/// DWARF's numbers of the general registers (System V supplement, figure 3.36).
const DWARF: [&str; 16] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// Where the caller's frame begins above the stack pointer, and how far below it registers are saved.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    above: i64,
    saved: BTreeMap<String, i64>,
}

impl State {
    fn start() -> Self {
        // The return address.
        State { above: 8, saved: BTreeMap::new() }
    }

    /// What an instruction does.
    fn run(&mut self, text: &str, rules: &Rules) {
        let number = |text: &str| i64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0);
        if let Some(register) = text.strip_prefix("push ") {
            self.above += 8;
            self.saved.insert(register.into(), self.above);
        } else if let Some(register) = text.strip_prefix("pop ") {
            self.above -= 8;
            assert_eq!(self.saved.remove(register), Some(self.above + 8), "{text}");
        } else if let Some(bytes) = text.strip_prefix("sub rsp,") {
            self.above += number(bytes);
        } else if let Some(bytes) = text.strip_prefix("add rsp,") {
            self.above -= number(bytes);
        } else if let Some((place, register)) = text
            .strip_prefix("vmovups XMMWORD PTR [rsp")
            .and_then(|text| text.split_once("],"))
            .filter(|(_, register)| is_preserved(register, rules))
        {
            let offset = number(place.trim_start_matches('+'));
            self.saved.insert(register.into(), self.above - offset);
        } else if let Some((register, _)) = text
            .strip_prefix("vmovups ")
            .and_then(|text| text.split_once(",XMMWORD PTR [rsp"))
            .filter(|(register, _)| is_preserved(register, rules))
        {
            assert!(self.saved.remove(register).is_some(), "{text}");
        } else {
            assert!(!text.contains(" rsp,"), "{text}");
        }
    }

    /// What a rule says.
    fn apply(&mut self, rule: FrameRule) {
        let name = |register: u16| match usize::from(register) {
            general @ 0..16 => DWARF[general].to_string(),
            vector => format!("xmm{}", vector - 17),
        };
        match rule {
            FrameRule::StackPointer(above) => self.above = above.into(),
            FrameRule::FramePointer(_) => panic!("the frame pointer is a register like others"),
            FrameRule::Saved { register, below } => {
                self.saved.insert(name(register), below.into());
            }
            FrameRule::Restored(register) => {
                assert!(self.saved.remove(&name(register)).is_some(), "{}", name(register));
            }
        }
    }
}

fn is_preserved(register: &str, rules: &Rules) -> bool {
    let number = register.strip_prefix("xmm").and_then(|number| number.parse().ok());
    number.is_some_and(|number| rules.preserved_vectors.contains(&number))
}

/// Compares both before each instruction; how many different states there were.
fn check(code: &MachineCode, rules: &Rules) -> usize {
    let (mut done, mut said) = (State::start(), State::start());
    let mut changes = code.frame.iter().peekable();
    let mut states = 1;
    let lines = instructions(code);
    for line in &lines {
        let before = said.clone();
        while let Some(change) = changes.next_if(|change| change.offset as usize <= line.address) {
            assert_eq!(change.offset as usize, line.address, "within an instruction");
            said.apply(change.rule);
        }
        states += usize::from(said != before);
        assert_eq!(said, done, "{:#x}: {}", line.address, line.text);
        done.run(&line.text, rules);
    }
    assert!(changes.next().is_none(), "after the end");
    assert_eq!(done, State::start());
    states
}

#[test]
fn every_instruction_is_described() {
    for rules in [&SYSTEM_V, &WINDOWS] {
        for target in TARGETS {
            for (buffers, values) in [(2, 1), (2, 6), (3, 12), (9, 14), (14, 40)] {
                let states = check(&compile(&kernel(buffers, values), rules, target), rules);
                // A small kernel needs no frame; a large one saves six registers and spills.
                let expected = if values == 1 { 1..2 } else { 1..usize::MAX };
                assert!(expected.contains(&states), "{states}");
                assert!(values < 40 || states > 14, "{states}");
            }
        }
    }
}
