//! Places of instructions, jumps and constants, and the bytes.
//!
//! Sizes do not depend on where things are (jumps and references to constants have 32-bit distances), so a first pass
//! finds the places and a second writes the bytes. Starts of loops are aligned; the constants follow the code.

use std::collections::BTreeMap;

use avocet_ir::backend::{FrameChange, FrameRule};
use iced_x86::{Encoder, FastFormatter, Instruction};

use super::Result;
use crate::instruction::Constant;

/// Alignment of the code and of the constants, in bytes.
pub(crate) const ALIGNMENT: u64 = 64;
/// Alignment of loops' starts: the instruction fetch's width.
const LOOP_ALIGNMENT: usize = 32;

/// Something in the stream of code.
pub(super) enum Item {
    Instruction(Instruction),
    /// A jump or a reference to a label; the place is filled in by the second pass.
    To(Instruction, Label),
    Label(Label),
    Align,
    /// How the caller's frame is found from here on.
    Frame(FrameRule),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    Block(usize),
    Constant(usize),
}

/// The bytes of a kernel and their text.
pub(crate) struct Encoded {
    /// The instructions, then the constants.
    pub(crate) bytes: Vec<u8>,
    pub(crate) assembly: String,
    pub(crate) frame: Vec<FrameChange>,
    /// Bytes of the instructions alone, for tests that disassemble them.
    #[cfg_attr(not(test), expect(dead_code))]
    pub(crate) length: usize,
}

/// Places everything and writes the bytes.
pub(super) fn place(items: &[Item], constants: &[Constant]) -> Result<Encoded> {
    let mut encoder = Encoder::new(64);
    let mut places: BTreeMap<Label, u64> = BTreeMap::new();
    let mut end = 0u64;
    // First pass: where things are. Distances that are not known yet are taken as zero; their size is the same.
    for item in items {
        match item {
            Item::Label(label) => {
                places.insert(*label, end);
            }
            Item::Align => end = end.next_multiple_of(LOOP_ALIGNMENT as u64),
            Item::Frame(_) => {}
            Item::Instruction(instruction) => end += size(&mut encoder, instruction, end)?,
            Item::To(instruction, label) => {
                end += size(&mut encoder, &aimed(*instruction, *label, end), end)?;
            }
        }
    }
    let mut data = Vec::new();
    // The largest first, so that each is aligned to its size.
    let mut order: Vec<usize> = (0..constants.len()).collect();
    order.sort_by_key(|&number| std::cmp::Reverse(constants[number].lanes));
    let start = if order.is_empty() { end } else { end.next_multiple_of(ALIGNMENT) };
    for number in order {
        places.insert(Label::Constant(number), start + data.len() as u64);
        let constant = constants[number];
        for lane in 0..constant.lanes {
            data.extend_from_slice(&constant.bits.word(lane).to_le_bytes());
        }
    }
    // Second pass: bytes and text.
    let (mut bytes, mut assembly, mut frame) = (Vec::new(), String::new(), Vec::new());
    let mut formatter = FastFormatter::new();
    let mut write = |bytes: &mut Vec<u8>, instruction: &Instruction| -> Result<()> {
        let place = bytes.len() as u64;
        let length = size(&mut encoder, instruction, place)?;
        bytes.extend_from_slice(&encoder.take_buffer());
        debug_assert_eq!(bytes.len() as u64, place + length);
        assembly.push_str(&format!("  {place:>6x}  "));
        formatter.format(instruction, &mut assembly);
        assembly.push('\n');
        Ok(())
    };
    for item in items {
        let place = bytes.len() as u64;
        match item {
            Item::Label(_) => {}
            Item::Align => pad(&mut bytes, LOOP_ALIGNMENT),
            Item::Frame(rule) => {
                let offset = u32::try_from(place).map_err(|_| "code of more than 4 GiB")?;
                frame.push(FrameChange { offset, rule: *rule });
            }
            Item::Instruction(instruction) => write(&mut bytes, instruction)?,
            Item::To(instruction, label) => {
                let target = *places.get(label).ok_or("a jump to nowhere")?;
                debug_assert!(target != place || matches!(label, Label::Block(_)));
                write(&mut bytes, &aimed(*instruction, *label, target))?;
            }
        }
    }
    if bytes.len() as u64 != end {
        return Err(format!("{} bytes of code where {end} were expected", bytes.len()));
    }
    bytes.resize(start as usize, 0xcc);
    bytes.extend_from_slice(&data);
    Ok(Encoded { bytes, assembly, frame, length: end as usize })
}

/// The instruction with its jump, or its reference to a constant, going to this place.
fn aimed(mut instruction: Instruction, label: Label, target: u64) -> Instruction {
    match label {
        Label::Block(_) => instruction.set_near_branch64(target),
        Label::Constant(_) => instruction.set_memory_displacement64(target),
    }
    instruction
}

/// Encodes an instruction into the encoder's buffer, which is emptied before; its size.
fn size(encoder: &mut Encoder, instruction: &Instruction, place: u64) -> Result<u64> {
    drop(encoder.take_buffer());
    let length = encoder.encode(instruction, place).map_err(|e| format!("{:?}: {e}", instruction.code()))?;
    Ok(length as u64)
}

/// Instructions that do nothing, as long ones as there are (Intel's manual, NOP).
fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    const NOPS: [&[u8]; 9] = [
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
        &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    ];
    while !bytes.len().is_multiple_of(alignment) {
        let missing = bytes.len().next_multiple_of(alignment) - bytes.len();
        bytes.extend_from_slice(NOPS[missing.min(NOPS.len()) - 1]);
    }
}
