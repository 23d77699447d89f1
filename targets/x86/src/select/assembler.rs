//! Appending instructions and blocks.

use regalloc2::{Block, Operand, RegClass, VReg};

use super::Selector;
use super::memory::Place;
use crate::instruction::{Bits, BlockData, Constant, Control, Inst, Kind, Width};
use crate::table::Op;

impl Selector<'_> {
    /// A new virtual register.
    pub(super) fn register(&mut self, class: RegClass) -> VReg {
        self.code.registers += 1;
        VReg::new(self.code.registers - 1, class)
    }

    pub(super) fn push(&mut self, kind: Kind, operands: Vec<Operand>) {
        let inst = Inst { kind, operands, memory: None, immediate: None, valid: None };
        self.code.instructions.push(inst);
    }

    fn push_vector(
        &mut self,
        (op, width): (Op, Width),
        mut operands: Vec<Operand>,
        place: Option<Place>,
        immediate: Option<u8>,
        valid: Option<usize>,
    ) {
        operands.extend(place.and_then(|place| place.register).map(Operand::reg_use));
        let memory = place.map(|place| place.memory);
        let kind = Kind::Vector(op, width);
        self.code.instructions.push(Inst { kind, operands, memory, immediate, valid });
    }

    /// A vector operation with a result.
    pub(super) fn vector(&mut self, op: (Op, Width), sources: &[VReg], place: Option<Place>) -> VReg {
        self.vector_with(op, sources, place, None, None)
    }

    /// The same with an immediate operand.
    pub(super) fn vector_immediate(&mut self, op: (Op, Width), sources: &[VReg], immediate: u8) -> VReg {
        self.vector_with(op, sources, None, Some(immediate), None)
    }

    pub(super) fn vector_with(
        &mut self,
        op: (Op, Width),
        sources: &[VReg],
        place: Option<Place>,
        immediate: Option<u8>,
        valid: Option<usize>,
    ) -> VReg {
        let result = self.register(RegClass::Float);
        let mut operands = vec![Operand::reg_def(result)];
        operands.extend(sources.iter().map(|&source| Operand::reg_use(source)));
        self.push_vector(op, operands, place, immediate, valid);
        result
    }

    /// A vector operation whose result replaces its first source.
    pub(super) fn in_place(&mut self, op: (Op, Width), sources: &[VReg], place: Option<Place>) -> VReg {
        let result = self.register(RegClass::Float);
        let mut operands = vec![Operand::reg_reuse_def(result, 1)];
        operands.extend(sources.iter().map(|&source| Operand::reg_use(source)));
        self.push_vector(op, operands, place, None, None);
        result
    }

    /// A vector operation without a result: a store, or a comparison into the mask register.
    pub(super) fn effect(
        &mut self,
        op: (Op, Width),
        sources: &[VReg],
        place: Option<Place>,
        immediate: Option<u8>,
        valid: Option<usize>,
    ) {
        let operands = sources.iter().map(|&source| Operand::reg_use(source)).collect();
        self.push_vector(op, operands, place, immediate, valid);
    }

    /// A vector of zeros.
    pub(super) fn zero(&mut self) -> VReg {
        let result = self.register(RegClass::Float);
        self.push(Kind::Zero, vec![Operand::reg_def(result)]);
        result
    }

    /// Number of a constant of at least so many lanes.
    pub(super) fn constant(&mut self, bits: Bits, lanes: usize) -> usize {
        if let Some(number) = self.code.constants.iter().position(|c| c.bits == bits) {
            let constant = &mut self.code.constants[number];
            constant.lanes = constant.lanes.max(lanes);
            return number;
        }
        self.code.constants.push(Constant { bits, lanes });
        self.code.constants.len() - 1
    }

    /// Number of the block that is opened next.
    pub(super) fn next_block(&self) -> Block {
        Block::new(self.code.blocks.len())
    }

    pub(super) fn open_block(&mut self, parameters: Vec<VReg>, is_loop: bool) {
        let start = self.code.instructions.len();
        self.code.blocks.push(BlockData { start, end: start, parameters, is_loop, ..BlockData::default() });
    }

    pub(super) fn close_block(&mut self, control: Control) {
        self.push(Kind::Control(control), Vec::new());
        if let Some(block) = self.code.blocks.last_mut() {
            block.end = self.code.instructions.len();
        }
    }
}
