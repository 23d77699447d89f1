//! Instructions with their registers become bytes, by iced-x86's encoder.
//!
//! Sizes do not depend on where things are (jumps and references to constants have 32-bit distances), so a first pass
//! finds the places and a second writes the bytes. Starts of loops are aligned; the constants follow the code.

use std::collections::BTreeMap;

use iced_x86::{Code as Opcode, Encoder, FastFormatter, Instruction, MemoryOperand, OpKind, Register};
use regalloc2::{Allocation, Edit, InstOrEdit, Output, PReg, RegClass};

use crate::allocate::{View, widest};
use crate::convention::{Convention, GENERAL};
use crate::instruction::{Base, Bits, Code, Control, Inst, Kind, Memory, Width};
use crate::table::Op;

/// Alignment of the code, of loops' starts, and of constants, in bytes.
pub(crate) const ALIGNMENT: u64 = 64;
const LOOP_ALIGNMENT: usize = 32;

/// Something in the stream of code.
enum Item {
    Instruction(Instruction),
    /// A jump or a reference to a label; the place is filled in by the second pass.
    To(Instruction, Label),
    Label(Label),
    Align,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Block(usize),
    Constant(usize),
}

/// The bytes of a kernel and their text.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) assembly: String,
}

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

type Result<T> = std::result::Result<T, String>;

/// iced's errors are about operands that an instruction can't have: defects of this back end.
fn built(instruction: std::result::Result<Instruction, iced_x86::IcedError>) -> Result<Instruction> {
    instruction.map_err(|e| format!("an instruction that there is not: {e}"))
}

/// Encodes a kernel whose registers have been allocated.
pub(crate) fn encode(code: &Code, output: &Output, convention: &Convention) -> Result<Encoded> {
    let width = widest(code);
    let mut emitter = Emitter {
        code,
        convention,
        width,
        items: Vec::new(),
        frame: 0,
        saved: Vec::new(),
        masks: BTreeMap::new(),
    };
    let saved_vectors = emitter.prologue(output)?;
    let view = View { code, width };
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
    emitter.finish()
}

impl Emitter<'_> {
    fn push(&mut self, instruction: std::result::Result<Instruction, iced_x86::IcedError>) -> Result<()> {
        self.items.push(Item::Instruction(built(instruction)?));
        Ok(())
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
        for number in self.saved.clone() {
            self.push(Instruction::with1(Opcode::Push_r64, GENERAL[number]))?;
        }
        if frame > 0 {
            self.push(Instruction::with2(Opcode::Sub_rm64_imm32, Register::RSP, frame))?;
        }
        for &(number, offset) in &saved_vectors {
            let memory = MemoryOperand::with_base_displ(Register::RSP, offset.into());
            self.push(Instruction::with2(
                Opcode::VEX_Vmovups_xmmm128_xmm,
                memory,
                Register::XMM0 + number as u32,
            ))?;
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
                }
                if self.frame > 0 {
                    self.push(Instruction::with2(Opcode::Add_rm64_imm32, Register::RSP, self.frame))?;
                }
                for number in self.saved.clone().into_iter().rev() {
                    self.push(Instruction::with1(Opcode::Pop_r64, GENERAL[number]))?;
                }
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

    fn instruction(&mut self, inst: &Inst, allocations: &[Allocation]) -> Result<()> {
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

    fn vector_instruction(&mut self, inst: &Inst, op: Op, width: Width, registers: &[PReg]) -> Result<()> {
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

    /// Places everything and writes the bytes.
    fn finish(self) -> Result<Encoded> {
        let mut encoder = Encoder::new(64);
        let mut places: BTreeMap<Label, u64> = BTreeMap::new();
        let mut end = 0u64;
        // First pass: where things are. Distances that are not known yet are taken as zero; their size is the same.
        for item in &self.items {
            match item {
                Item::Label(label) => {
                    places.insert(*label, end);
                }
                Item::Align => end = end.next_multiple_of(LOOP_ALIGNMENT as u64),
                Item::Instruction(instruction) => end += size(&mut encoder, instruction, end)?,
                Item::To(instruction, label) => {
                    end += size(&mut encoder, &aimed(*instruction, *label, end), end)?;
                }
            }
        }
        let mut data = Vec::new();
        // The largest first, so that each is aligned to its size.
        let mut order: Vec<usize> = (0..self.code.constants.len()).collect();
        order.sort_by_key(|&number| std::cmp::Reverse(self.code.constants[number].lanes));
        let start = if order.is_empty() { end } else { end.next_multiple_of(ALIGNMENT) };
        for number in order {
            places.insert(Label::Constant(number), start + data.len() as u64);
            let constant = self.code.constants[number];
            for lane in 0..constant.lanes {
                let word = match constant.bits {
                    Bits::All(bits) => bits,
                    Bits::FirstLanes(valid) => {
                        if lane < valid {
                            u32::MAX
                        } else {
                            0
                        }
                    }
                };
                data.extend_from_slice(&word.to_le_bytes());
            }
        }
        // Second pass: bytes and text.
        let (mut bytes, mut assembly) = (Vec::new(), String::new());
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
        for item in &self.items {
            let place = bytes.len() as u64;
            match item {
                Item::Label(_) => {}
                Item::Align => pad(&mut bytes, LOOP_ALIGNMENT),
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
        Ok(Encoded { bytes, assembly })
    }
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
