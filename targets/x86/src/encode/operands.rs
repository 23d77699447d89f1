//! One instruction on allocated registers becomes one of iced's.

use iced_x86::{Code as Opcode, Instruction, MemoryOperand, OpKind, Register};
use regalloc2::{Allocation, PReg};

use super::layout::{Item, Label};
use super::{COMPARISON, Emitter, Result, general, vector};
use crate::instruction::{Base, Inst, Kind, Memory, Width};
use crate::table::Op;

impl Emitter<'_> {
    /// The memory operand, and the label that it refers to.
    fn memory(&self, memory: Memory, base: Option<Register>) -> Result<(MemoryOperand, Option<Label>)> {
        let (base, displacement, label) = match memory.base {
            Base::Register => (base.ok_or("a memory operand without a base")?, memory.displacement, None),
            Base::Constant(number) => (Register::RIP, 0, Some(Label::Constant(number))),
            Base::Argument(number) => {
                let place = 8 * (number - self.convention.arguments.len()) + self.convention.home;
                let above = self.frame + 8 * self.saved.len() as i32 + 8;
                (Register::RSP, above + place as i32, None)
            }
        };
        // The encoder leaves a displacement of zero out, where the base allows it.
        let size = u32::from(displacement != 0 || label.is_some());
        let operand = MemoryOperand::new(
            base,
            Register::None,
            1,
            displacement.into(),
            size,
            memory.broadcast,
            Register::None,
        );
        Ok((operand, label))
    }

    pub(super) fn instruction(&mut self, inst: &Inst, allocations: &[Allocation]) -> Result<()> {
        let mut registers = Vec::with_capacity(allocations.len());
        for allocation in allocations {
            registers.push(allocation.as_reg().ok_or("an operand that is in no register")?);
        }
        let first = registers.first().copied();
        let result = || first.map(general).ok_or_else(|| "an instruction without a result".to_string());
        match &inst.kind {
            Kind::Vector(op, width) => return self.vector_instruction(inst, *op, *width, &registers),
            Kind::Arguments | Kind::Control(_) => {}
            Kind::LoadPointer => {
                let memory = inst.memory.ok_or("a load without a place")?;
                let (memory, _) = self.memory(memory, None)?;
                self.push(Instruction::with2(Opcode::Mov_r64_rm64, result()?, memory))?;
            }
            // Writing the lower half clears the upper one.
            Kind::Constant(value) => match u32::try_from(*value) {
                Ok(value) => {
                    let number = first.map_or(0, |preg| preg.hw_enc());
                    let low = Register::EAX + number as u32;
                    self.push(Instruction::with2(Opcode::Mov_r32_imm32, low, value))?;
                }
                Err(_) => self.push(Instruction::with2(Opcode::Mov_r64_imm64, result()?, *value))?,
            },
            Kind::AddConstant(amount) => {
                let opcode = match i8::try_from(*amount) {
                    Ok(_) => Opcode::Add_rm64_imm8,
                    Err(_) => Opcode::Add_rm64_imm32,
                };
                self.push(Instruction::with2(opcode, result()?, *amount))?;
            }
            Kind::Add => {
                let other = registers.get(2).copied().map(general).ok_or("an addition of one operand")?;
                self.push(Instruction::with2(Opcode::Add_r64_rm64, result()?, other))?;
            }
            Kind::Decrement => self.push(Instruction::with1(Opcode::Dec_rm64, result()?))?,
            Kind::Zero => {
                let preg = first.ok_or("an instruction without a result")?;
                let register = vector(preg, Width::X);
                let opcode = Op::Xor.code(Width::X, preg.hw_enc() < 16).ok_or("no exclusive or")?;
                self.push(Instruction::with3(opcode, register, register, register))?;
            }
        }
        Ok(())
    }

    pub(super) fn vector_instruction(
        &mut self,
        inst: &Inst,
        op: Op,
        width: Width,
        registers: &[PReg],
    ) -> Result<()> {
        let mut registers = registers.to_vec();
        let base = match inst.memory {
            Some(Memory { base: Base::Register, .. }) => registers.pop().map(general),
            _ => None,
        };
        let memory = inst.memory.map(|memory| self.memory(memory, base)).transpose()?;
        // The first source of these is the result, which is in the same register.
        if matches!(op, Op::MulAdd213 | Op::MulAdd231) {
            registers.remove(1);
        }
        let mask = inst.valid.map(|valid| self.masks[&valid]);
        let broadcast = inst.memory.is_some_and(|memory| memory.broadcast);
        let vex = mask.is_none() && !broadcast && registers.iter().all(|preg| preg.hw_enc() < 16);
        let code = op.code(width, vex).ok_or_else(|| format!("{op:?} at {width:?}"))?;
        let mut instruction = Instruction::default();
        instruction.set_code(code);
        let mut position = 0;
        if matches!(op, Op::CompareMask | Op::CompareIntMask) {
            set_register(&mut instruction, &mut position, COMPARISON);
        }
        if let (true, Some((memory, _))) = (op.is_store(), memory) {
            set_memory(&mut instruction, &mut position, memory);
        }
        for (number, &preg) in registers.iter().enumerate() {
            let register = vector(preg, op.operand_width(width, number));
            set_register(&mut instruction, &mut position, register);
        }
        if let (false, Some((memory, _))) = (op.is_store(), memory) {
            set_memory(&mut instruction, &mut position, memory);
        }
        if let Some(immediate) = inst.immediate {
            instruction.set_op_kind(position, OpKind::Immediate8);
            instruction.set_immediate8(immediate);
        }
        if let Some(mask) = mask {
            instruction.set_op_mask(mask);
            instruction.set_zeroing_masking(!op.is_store());
        }
        if op == Op::SelectMask {
            instruction.set_op_mask(COMPARISON);
        }
        self.items.push(match memory {
            Some((_, Some(label))) => Item::To(instruction, label),
            _ => Item::Instruction(instruction),
        });
        Ok(())
    }
}

fn set_register(instruction: &mut Instruction, position: &mut u32, register: Register) {
    instruction.set_op_register(*position, register);
    *position += 1;
}

fn set_memory(instruction: &mut Instruction, position: &mut u32, memory: MemoryOperand) {
    instruction.set_op_kind(*position, OpKind::Memory);
    instruction.set_memory_base(memory.base);
    instruction.set_memory_displacement64(memory.displacement as u64);
    instruction.set_memory_displ_size(memory.displ_size);
    instruction.set_is_broadcast(memory.is_broadcast);
    *position += 1;
}
