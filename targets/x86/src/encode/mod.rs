//! Instructions with their registers become bytes, by iced-x86's encoder.
//!
//! This file walks over a kernel's blocks and writes what surrounds its instructions: saved registers, spills, jumps.
//! `operands` turns each instruction into iced's, `layout` places them all and writes the bytes.

mod layout;
mod operands;

use std::collections::BTreeMap;

use avocet_ir::backend::FrameRule;
use iced_x86::{Code as Opcode, Instruction, MemoryOperand, Register};
use regalloc2::{Allocation, Edit, InstOrEdit, Output, PReg, RegClass};

use crate::allocate::{View, widest};
use crate::convention::{Convention, GENERAL, GENERAL_DWARF, VECTOR_DWARF};
use crate::instruction::{Code, Control, Kind, Width};
use crate::table::Op;
use layout::{Item, Label};

pub(crate) use layout::{ALIGNMENT, Encoded};

struct Emitter<'a> {
    code: &'a Code,
    convention: &'a Convention,
    /// Width of spilled vectors.
    width: Width,
    items: Vec<Item>,
    /// Bytes below the saved registers.
    frame: i32,
    /// General registers saved by pushes.
    saved: Vec<usize>,
    /// Mask registers by the number of lanes.
    masks: BTreeMap<usize, Register>,
}

/// The mask register that comparisons write and selections read.
const COMPARISON: Register = Register::K1;

type Result<T> = std::result::Result<T, String>;

fn general(preg: PReg) -> Register {
    GENERAL[preg.hw_enc()]
}

fn vector(preg: PReg, width: Width) -> Register {
    let first = match width {
        Width::X => Register::XMM0,
        Width::Y => Register::YMM0,
        Width::Z => Register::ZMM0,
    };
    first + preg.hw_enc() as u32
}

/// Bytes from the stack pointer up to the caller's frame, with so many pushes and so many bytes below them; the call's own
/// push is the return address.
fn caller(pushes: usize, frame: i32) -> u32 {
    8 + 8 * pushes as u32 + frame.unsigned_abs()
}

/// iced's errors are about operands that an instruction can't have: defects of this back end.
fn built(instruction: std::result::Result<Instruction, iced_x86::IcedError>) -> Result<Instruction> {
    instruction.map_err(|e| format!("an instruction that there is not: {e}"))
}

/// Encodes a kernel whose registers have been allocated.
pub(crate) fn encode(code: &Code, output: &Output, convention: &Convention) -> Result<Encoded> {
    let mut emitter = Emitter::new(code, convention);
    let saved_vectors = emitter.prologue(output)?;
    let view = View { code, width: emitter.width };
    let bare = |block: usize| {
        let mut contents = output.block_insts_and_edits(&view, regalloc2::Block::new(block));
        matches!(contents.next(), Some(InstOrEdit::Inst(_))) && contents.next().is_none()
    };
    for number in 0..code.blocks.len() {
        if code.blocks[number].is_loop {
            emitter.items.push(Item::Align);
        }
        emitter.items.push(Item::Label(Label::Block(number)));
        for item in output.block_insts_and_edits(&view, regalloc2::Block::new(number)) {
            match item {
                InstOrEdit::Edit(Edit::Move { from, to }) => emitter.copy(*from, *to)?,
                InstOrEdit::Inst(inst) => {
                    let allocations = output.inst_allocs(inst);
                    let inst = &code.instructions[inst.index()];
                    match &inst.kind {
                        Kind::Control(control) => {
                            emitter.control(control, number, &bare, &saved_vectors)?;
                        }
                        _ => emitter.instruction(inst, allocations)?,
                    }
                }
            }
        }
    }
    layout::place(&emitter.items, &code.constants)
}

impl<'a> Emitter<'a> {
    fn new(code: &'a Code, convention: &'a Convention) -> Self {
        Emitter {
            code,
            convention,
            width: widest(code),
            items: Vec::new(),
            frame: 0,
            saved: Vec::new(),
            masks: BTreeMap::new(),
        }
    }

    fn push(&mut self, instruction: std::result::Result<Instruction, iced_x86::IcedError>) -> Result<()> {
        self.items.push(Item::Instruction(built(instruction)?));
        Ok(())
    }

    fn frame_rule(&mut self, rule: FrameRule) {
        self.items.push(Item::Frame(rule));
    }

    /// Saves registers and makes room for spills; returns the vector registers saved with their places in the frame.
    fn prologue(&mut self, output: &Output) -> Result<Vec<(usize, i32)>> {
        let edits = output.edits.iter().flat_map(|(_, Edit::Move { from, to })| [*from, *to]);
        let used: Vec<PReg> =
            output.allocs.iter().copied().chain(edits).filter_map(Allocation::as_reg).collect();
        let uses = |class: RegClass, number: usize| {
            used.iter().any(|preg| preg.class() == class && preg.hw_enc() == number)
        };
        let preserved = self.convention.preserved.iter().copied();
        self.saved = preserved.filter(|&number| uses(RegClass::Int, number)).collect();
        let mut frame = i32::try_from(output.num_spillslots * 8).map_err(|_| "too many spills")?;
        let mut saved_vectors = Vec::new();
        for &number in self.convention.preserved_vectors {
            if uses(RegClass::Float, number) {
                saved_vectors.push((number, frame));
                frame += 16;
            }
        }
        // A page: beyond it some systems want the stack to be touched page by page.
        if frame > 4096 {
            return Err(format!("{frame} bytes of spilled registers"));
        }
        self.frame = frame;
        for (i, number) in self.saved.clone().into_iter().enumerate() {
            self.push(Instruction::with1(Opcode::Push_r64, GENERAL[number]))?;
            let below = caller(i + 1, 0);
            self.frame_rule(FrameRule::StackPointer(below));
            self.frame_rule(FrameRule::Saved { register: GENERAL_DWARF[number], below });
        }
        let below = caller(self.saved.len(), frame);
        if frame > 0 {
            self.push(Instruction::with2(Opcode::Sub_rm64_imm32, Register::RSP, frame))?;
            self.frame_rule(FrameRule::StackPointer(below));
        }
        for &(number, offset) in &saved_vectors {
            let memory = MemoryOperand::with_base_displ(Register::RSP, offset.into());
            self.push(Instruction::with2(
                Opcode::VEX_Vmovups_xmmm128_xmm,
                memory,
                Register::XMM0 + number as u32,
            ))?;
            let register = VECTOR_DWARF + number as u16;
            self.frame_rule(FrameRule::Saved { register, below: below - offset as u32 });
        }
        for inst in &self.code.instructions {
            if let Some(valid) = inst.valid {
                let next = Register::K2 + self.masks.len() as u32;
                self.masks.entry(valid).or_insert(next);
            }
        }
        if self.masks.len() > 6 {
            return Err(format!("tails of {} different lengths", self.masks.len()));
        }
        for (valid, register) in self.masks.clone() {
            // RAX holds no argument in either convention.
            self.push(Instruction::with2(Opcode::Mov_r32_imm32, Register::EAX, (1u32 << valid) - 1))?;
            self.push(Instruction::with2(Opcode::VEX_Kmovw_kr_r32, register, Register::EAX))?;
        }
        Ok(saved_vectors)
    }

    fn control(
        &mut self,
        control: &Control,
        block: usize,
        bare: &impl Fn(usize) -> bool,
        saved_vectors: &[(usize, i32)],
    ) -> Result<()> {
        match control {
            Control::Return => {
                for &(number, offset) in saved_vectors {
                    let memory = MemoryOperand::with_base_displ(Register::RSP, offset.into());
                    let register = Register::XMM0 + number as u32;
                    self.push(Instruction::with2(Opcode::VEX_Vmovups_xmm_xmmm128, register, memory))?;
                    self.frame_rule(FrameRule::Restored(VECTOR_DWARF + number as u16));
                }
                if self.frame > 0 {
                    self.push(Instruction::with2(Opcode::Add_rm64_imm32, Register::RSP, self.frame))?;
                    self.frame_rule(FrameRule::StackPointer(caller(self.saved.len(), 0)));
                }
                for (left, number) in self.saved.clone().into_iter().enumerate().rev() {
                    self.push(Instruction::with1(Opcode::Pop_r64, GENERAL[number]))?;
                    self.frame_rule(FrameRule::StackPointer(caller(left, 0)));
                    self.frame_rule(FrameRule::Restored(GENERAL_DWARF[number]));
                }
                // Nothing follows: the return is the end of the last block (`select`), so no rule comes back.
                if self.width > Width::X {
                    // Code of SSE that runs next would otherwise wait for the upper halves.
                    self.items.push(Item::Instruction(Instruction::with(Opcode::VEX_Vzeroupper)));
                }
                self.items.push(Item::Instruction(Instruction::with(Opcode::Retnq)));
            }
            // The block that leads back and the loop's end follow one another; where the former moves nothing it is
            // only a jump, which the branch can take itself.
            Control::Repeat(back, exit) => match (bare(back.index()), self.jump_of(back.index())) {
                (true, Some(start)) => self.jump(Opcode::Jne_rel32_64, start)?,
                _ => self.jump(Opcode::Je_rel32_64, exit.index())?,
            },
            Control::Jump(to, _) => {
                let merged = bare(block) && self.code.blocks[to.index()].is_loop && to.index() <= block;
                if to.index() != block + 1 && !merged {
                    self.jump(Opcode::Jmp_rel32_64, to.index())?;
                }
            }
        }
        Ok(())
    }

    /// Where a block's jump leads.
    fn jump_of(&self, block: usize) -> Option<usize> {
        match &self.code.instructions[self.code.blocks[block].end - 1].kind {
            Kind::Control(Control::Jump(to, _)) => Some(to.index()),
            _ => None,
        }
    }

    fn jump(&mut self, opcode: Opcode, block: usize) -> Result<()> {
        let instruction = built(Instruction::with_branch(opcode, 0))?;
        self.items.push(Item::To(instruction, Label::Block(block)));
        Ok(())
    }

    /// A move between registers and spill slots.
    fn copy(&mut self, from: Allocation, to: Allocation) -> Result<()> {
        let slot = |allocation: Allocation| {
            let slot = allocation.as_stack().map(|slot| slot.index() as i64 * 8);
            slot.map(|offset| MemoryOperand::with_base_displ(Register::RSP, offset))
        };
        match (from.as_reg(), to.as_reg()) {
            (Some(from), Some(to)) if from.class() == RegClass::Int => {
                self.push(Instruction::with2(Opcode::Mov_r64_rm64, general(to), general(from)))
            }
            (Some(from), Some(to)) => {
                let opcode = self.move_opcode(Op::Load, &[from, to])?;
                self.push(Instruction::with2(opcode, vector(to, self.width), vector(from, self.width)))
            }
            (Some(from), None) => {
                let memory = slot(to).ok_or("a move to nowhere")?;
                if from.class() == RegClass::Int {
                    return self.push(Instruction::with2(Opcode::Mov_rm64_r64, memory, general(from)));
                }
                let opcode = self.move_opcode(Op::Store, &[from])?;
                self.push(Instruction::with2(opcode, memory, vector(from, self.width)))
            }
            (None, Some(to)) => {
                let memory = slot(from).ok_or("a move from nowhere")?;
                if to.class() == RegClass::Int {
                    return self.push(Instruction::with2(Opcode::Mov_r64_rm64, general(to), memory));
                }
                let opcode = self.move_opcode(Op::Load, &[to])?;
                self.push(Instruction::with2(opcode, vector(to, self.width), memory))
            }
            (None, None) => Err("a move from memory to memory".into()),
        }
    }

    fn move_opcode(&self, op: Op, registers: &[PReg]) -> Result<Opcode> {
        let vex = registers.iter().all(|preg| preg.hw_enc() < 16);
        op.code(self.width, vex).ok_or_else(|| format!("{op:?} at {:?}", self.width))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
