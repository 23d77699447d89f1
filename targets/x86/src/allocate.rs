//! Register allocation, by regalloc2.

use regalloc2::{
    Block, Function, Inst, InstRange, MachineEnv, Operand, Output, PReg, PRegSet, RegClass, RegallocOptions,
    VReg,
};

use crate::convention::{Convention, STACK_POINTER};
use crate::instruction::{Code, Control, Kind, Width};
use crate::select::Level;

/// A kernel as regalloc2 sees it.
pub(crate) struct View<'a> {
    pub(crate) code: &'a Code,
    /// Width of a spilled vector.
    pub(crate) width: Width,
}

impl View<'_> {
    fn kind(&self, inst: Inst) -> &Kind {
        &self.code.instructions[inst.index()].kind
    }
}

impl Function for View<'_> {
    fn num_insts(&self) -> usize {
        self.code.instructions.len()
    }

    fn num_blocks(&self) -> usize {
        self.code.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        let block = &self.code.blocks[block.index()];
        InstRange::new(Inst::new(block.start), Inst::new(block.end))
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.code.blocks[block.index()].successors
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.code.blocks[block.index()].predecessors
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.code.blocks[block.index()].parameters
    }

    fn is_ret(&self, inst: Inst) -> bool {
        matches!(self.kind(inst), Kind::Control(Control::Return))
    }

    fn is_branch(&self, inst: Inst) -> bool {
        matches!(self.kind(inst), Kind::Control(Control::Jump(..) | Control::Repeat(..)))
    }

    fn branch_blockparams(&self, _: Block, inst: Inst, _: usize) -> &[VReg] {
        match self.kind(inst) {
            Kind::Control(Control::Jump(_, arguments)) => arguments,
            _ => &[],
        }
    }

    fn inst_operands(&self, inst: Inst) -> &[Operand] {
        &self.code.instructions[inst.index()].operands
    }

    fn inst_clobbers(&self, _: Inst) -> PRegSet {
        PRegSet::empty()
    }

    fn num_vregs(&self) -> usize {
        self.code.registers
    }

    fn spillslot_size(&self, class: RegClass) -> usize {
        // In units of 8 bytes.
        match class {
            RegClass::Int => 1,
            RegClass::Float | RegClass::Vector => self.width.lanes() / 2,
        }
    }
}

/// The registers: those that a function may change first, then those that it must preserve.
fn environment(level: Level, convention: &Convention) -> MachineEnv {
    let mut preferred = [PRegSet::empty(); 3];
    let mut others = [PRegSet::empty(); 3];
    let mut add = |number: usize, class: RegClass, preserved: &[usize]| {
        let sets = if preserved.contains(&number) { &mut others } else { &mut preferred };
        sets[class as usize].add(PReg::new(number, class));
    };
    for number in (0..16).filter(|&number| number != STACK_POINTER) {
        add(number, RegClass::Int, convention.preserved);
    }
    for number in 0..if level.avx512 { 32 } else { 16 } {
        add(number, RegClass::Float, convention.preserved_vectors);
    }
    MachineEnv {
        preferred_regs_by_class: preferred,
        non_preferred_regs_by_class: others,
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    }
}

/// Fills in the blocks' edges.
fn connect(code: &mut Code) {
    for number in 0..code.blocks.len() {
        let last = code.blocks[number].end - 1;
        let successors = match &code.instructions[last].kind {
            Kind::Control(Control::Jump(to, _)) => vec![*to],
            Kind::Control(Control::Repeat(back, exit)) => vec![*back, *exit],
            _ => Vec::new(),
        };
        for &successor in &successors {
            code.blocks[successor.index()].predecessors.push(Block::new(number));
        }
        code.blocks[number].successors = successors;
    }
}

/// Width of the widest vector in the code.
pub(crate) fn widest(code: &Code) -> Width {
    let widths = code.instructions.iter().filter_map(|inst| match inst.kind {
        Kind::Vector(_, width) => Some(width),
        _ => None,
    });
    widths.max().unwrap_or(Width::X)
}

/// Allocates the registers of a kernel.
pub(crate) fn allocate(code: &mut Code, level: Level, convention: &Convention) -> Result<Output, String> {
    connect(code);
    let view = View { code, width: widest(code) };
    let options = RegallocOptions { validate_ssa: cfg!(debug_assertions), ..RegallocOptions::default() };
    regalloc2::run(&view, &environment(level, convention), &options)
        .map_err(|e| format!("register allocation: {e}"))
}
