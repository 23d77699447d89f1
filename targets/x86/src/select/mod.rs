//! Instruction selection: kernel IR to instructions on virtual registers.
//!
//! Loops run at least once and count down to zero; the counter, the pointers that depend on the loop's variable and the
//! carried values are parameters of the loop's block. Constants, and loads that are used once with no store between, are
//! not put into registers but become memory operands of the instructions that use them.

mod assembler;
mod expression;
mod memory;

use std::collections::HashMap;

use avocet_ir::kernel::pointers::{self, Pointer};
use avocet_ir::kernel::{Carried, Kernel, Statement, ValueId, Variable};
use regalloc2::{Operand, PReg, RegClass, VReg};

use crate::convention::Convention;
use crate::instruction::{Base, Code, Control, Kind, Memory, Width};
use memory::Place;

/// The instruction set in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// AVX-512 F and VL with 32 registers; otherwise AVX2 and FMA with 16.
    pub(crate) avx512: bool,
}

impl Level {
    /// Width of the widest vectors.
    pub(crate) const fn widest(self) -> Width {
        if self.avx512 { Width::Z } else { Width::Y }
    }
}

/// Where a kernel's value is.
#[derive(Clone, Copy, Debug)]
enum Location {
    Register(VReg),
    /// A constant's bits; becomes a memory operand or a register at each use.
    Constant(u32),
    /// A load that becomes part of its only use.
    Pending(Place, LoadKind),
}

/// How a pending load reads memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoadKind {
    Whole,
    Broadcast,
}

pub(crate) struct Selector<'a> {
    kernel: &'a Kernel,
    level: Level,
    code: Code,
    values: Vec<Option<Location>>,
    uses: Vec<usize>,
    pending: Vec<ValueId>,
    pointers: HashMap<Pointer, VReg>,
}

/// Selects the instructions of a kernel. The error says what has no place here.
pub(crate) fn select(kernel: &Kernel, level: Level, convention: &Convention) -> Result<Code, String> {
    let mut selector = Selector {
        kernel,
        level,
        code: Code::default(),
        values: vec![None; kernel.values.len()],
        uses: vec![0; kernel.values.len()],
        pending: Vec::new(),
        pointers: HashMap::new(),
    };
    count_uses(&kernel.body, &mut selector.uses);
    selector.open_block(Vec::new(), false);
    selector.arguments(convention);
    selector.block(&kernel.body)?;
    selector.close_block(Control::Return);
    Ok(selector.code)
}

impl Selector<'_> {
    /// Pointers to the buffers: those that the convention has in registers, then the others.
    fn arguments(&mut self, convention: &Convention) {
        let buffers = self.kernel.buffers.len();
        let mut operands = Vec::new();
        let mut registers = Vec::new();
        for &number in convention.arguments.iter().take(buffers) {
            let register = self.register(RegClass::Int);
            operands.push(Operand::reg_fixed_def(register, PReg::new(number, RegClass::Int)));
            registers.push(register);
        }
        self.push(Kind::Arguments, operands);
        for number in convention.arguments.len()..buffers {
            let register = self.register(RegClass::Int);
            let memory = Memory { base: Base::Argument(number), displacement: 0, broadcast: false };
            self.push(Kind::LoadPointer, vec![Operand::reg_def(register)]);
            if let Some(last) = self.code.instructions.last_mut() {
                last.memory = Some(memory);
            }
            registers.push(register);
        }
        for (number, register) in registers.into_iter().enumerate() {
            let buffer = avocet_ir::kernel::BufferId(number);
            self.pointers.insert(Pointer { buffer, terms: Vec::new() }, register);
        }
    }

    fn block(&mut self, statements: &[Statement]) -> Result<(), String> {
        for statement in statements {
            match statement {
                Statement::Let(value, expression) => {
                    let location = self.expression(*value, expression)?;
                    self.values[value.0] = Some(location);
                }
                Statement::Store { address, value, valid } => {
                    let register = self.value(*value)?;
                    self.settle()?;
                    self.store(address, register, self.kernel.ty(*value), *valid)?;
                }
                Statement::StoreAt { .. } => return Err("stores to computed indices".into()),
                Statement::For { variable, count, carried, body } => {
                    self.settle()?;
                    self.repeat(*variable, *count, carried, body)?;
                }
            }
        }
        self.settle()
    }

    fn repeat(
        &mut self,
        variable: Variable,
        count: usize,
        carried: &[Carried],
        body: &[Statement],
    ) -> Result<(), String> {
        let pointers = pointers::carried(variable, body);
        let count = i64::try_from(count).map_err(|_| "a loop of too many iterations".to_string())?;
        let counter = self.register(RegClass::Int);
        self.push(Kind::Constant(count), vec![Operand::reg_def(counter)]);
        let mut arguments = vec![counter];
        for pointer in &pointers {
            arguments.push(self.pointer(&pointer.without(variable))?);
        }
        for c in carried {
            arguments.push(self.value(c.initial)?);
        }
        let parameters: Vec<VReg> = arguments.iter().map(|v| self.register(v.class())).collect();
        let header = self.next_block();
        self.close_block(Control::Jump(header, arguments));
        self.open_block(parameters.clone(), true);

        for (pointer, &parameter) in pointers.iter().zip(&parameters[1..]) {
            self.pointers.insert(pointer.clone(), parameter);
        }
        for (c, &parameter) in carried.iter().zip(&parameters[1 + pointers.len()..]) {
            self.values[c.parameter.0] = Some(Location::Register(parameter));
        }
        self.block(body)?;

        let mut next = Vec::with_capacity(parameters.len());
        for (pointer, &parameter) in pointers.iter().zip(&parameters[1..]) {
            let bytes = self.kernel.buffers[pointer.buffer.0].element.bytes() as i64;
            let step = pointer.coefficient(variable).unwrap_or(0).saturating_mul(bytes);
            next.push(self.advance(parameter, step));
            self.pointers.remove(pointer);
        }
        for c in carried {
            let value = self.value(c.next)?;
            next.push(value);
            self.values[c.result.0] = Some(Location::Register(value));
        }
        // Last, so that its flags are those which the branch reads: moves between them change none.
        let counter = self.register(RegClass::Int);
        let operands = vec![Operand::reg_reuse_def(counter, 1), Operand::reg_use(parameters[0])];
        self.push(Kind::Decrement, operands);
        next.insert(0, counter);
        // The way back is a block of its own, where the allocator can put the moves that it needs.
        let back = self.next_block();
        let exit = regalloc2::Block::new(back.index() + 1);
        self.close_block(Control::Repeat(back, exit));
        self.open_block(Vec::new(), false);
        self.close_block(Control::Jump(header, next));
        self.open_block(Vec::new(), false);
        Ok(())
    }

    /// A pointer so many bytes further.
    fn advance(&mut self, pointer: VReg, bytes: i64) -> VReg {
        let result = self.register(RegClass::Int);
        let mut operands = vec![Operand::reg_reuse_def(result, 1), Operand::reg_use(pointer)];
        match i32::try_from(bytes) {
            Ok(bytes) => self.push(Kind::AddConstant(bytes), operands),
            Err(_) => {
                let amount = self.register(RegClass::Int);
                self.push(Kind::Constant(bytes), vec![Operand::reg_def(amount)]);
                operands.push(Operand::reg_use(amount));
                self.push(Kind::Add, operands);
            }
        }
        result
    }

    fn pointer(&self, pointer: &Pointer) -> Result<VReg, String> {
        // The kernel's verifier lets an index depend only on loops around it, each of which carries its pointers.
        self.pointers.get(pointer).copied().ok_or_else(|| format!("no pointer for {pointer:?}"))
    }
}

/// How often each value is used.
fn count_uses(statements: &[Statement], uses: &mut [usize]) {
    for statement in statements {
        let used: Vec<ValueId> = match statement {
            Statement::Let(_, expression) => expression.operands(),
            Statement::Store { value, .. } => vec![*value],
            Statement::StoreAt { index, value, .. } => vec![*index, *value],
            Statement::For { carried, body, .. } => {
                count_uses(body, uses);
                carried.iter().flat_map(|c| [c.initial, c.next]).collect()
            }
        };
        used.into_iter().for_each(|value| uses[value.0] += 1);
    }
}
