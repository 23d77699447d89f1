//! What reaches into vectors: loads and stores of some of the lanes, and reductions.
//!
//! Where inserting and extracting a lane is one instruction, lanes are moved one by one. RISC-V takes three to five for
//! it, but has vectors of every shorter length; there a vector passes through memory of its own on the stack, in pieces
//! of as many lanes as a power of two has.

use avocet_ir::kernel::{Address, BinaryOp, Element, Horizontal, ValueId, ValueType};
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Type, Value, types};

use crate::isa::Vectors;
use crate::translate::{Translator, memory_flags};

impl Translator<'_, '_> {
    /// Memory for the widest vector; the kernel's only one, since no two uses overlap.
    fn slot(&mut self) -> StackSlot {
        let bytes = self.capabilities.vectors.bytes() as u32;
        *self.slot.get_or_insert_with(|| {
            let align = bytes.max(1).ilog2() as u8;
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, align.min(4));
            self.builder.create_sized_stack_slot(data)
        })
    }

    /// The first `valid` lanes of a vector in pieces: the offset of each in bytes, and its type.
    fn pieces(&self, clif: Type, valid: usize) -> Vec<(i32, Type)> {
        let lane = clif.lane_type();
        let bytes = lane.bytes() as usize;
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < valid {
            let lanes = 1 << (valid - done).ilog2();
            let vector = lane.by(lanes as u32).filter(|_| self.capabilities.vectors.has(lanes, bytes));
            pieces.push(((done * bytes) as i32, vector.unwrap_or(lane)));
            done += if vector.is_some() { lanes } else { 1 };
        }
        pieces
    }

    /// Loads `valid` elements; the lanes above are zero.
    pub(crate) fn load(
        &mut self,
        ty: ValueType,
        clif: Type,
        address: &Address,
        valid: usize,
    ) -> Result<Value, String> {
        let (pointer, offset) = self.place(address)?;
        if valid == ty.lanes {
            return Ok(self.builder.ins().load(clif, memory_flags(), pointer, offset));
        }
        if let Vectors::UpTo(_) = self.capabilities.vectors {
            let slot = self.slot();
            let zero = match ty.element {
                Element::F32 => self.builder.ins().f32const(0.0),
                _ => self.builder.ins().iconst(clif.lane_type(), 0),
            };
            let zeros = self.builder.ins().splat(clif, zero);
            self.builder.ins().stack_store(self.pointer_type, zeros, slot, 0);
            for (start, piece) in self.pieces(clif, valid) {
                let value = self.builder.ins().load(piece, memory_flags(), pointer, offset + start);
                self.builder.ins().stack_store(self.pointer_type, value, slot, start);
            }
            return Ok(self.builder.ins().stack_load(self.pointer_type, clif, slot, 0));
        }
        let (lane, bytes) = (clif.lane_type(), ty.element.bytes() as i32);
        let mut result;
        let mut done = 1;
        if lane == types::F32 && valid >= 2 {
            // Two lanes at once; the upper half becomes zero.
            let pair = self.builder.ins().load(types::F64, memory_flags(), pointer, offset);
            let pair = self.builder.ins().scalar_to_vector(types::F64X2, pair);
            result = self.bitcast(clif, pair);
            done = 2;
        } else if lane == types::I8 {
            // There is no move of a byte to a vector on every ISA; one of a word clears more lanes.
            let first = self.builder.ins().uload8(types::I32, memory_flags(), pointer, offset);
            let first = self.builder.ins().scalar_to_vector(types::I32X4, first);
            result = self.bitcast(clif, first);
        } else {
            let first = self.builder.ins().load(lane, memory_flags(), pointer, offset);
            result = self.builder.ins().scalar_to_vector(clif, first);
        }
        for i in done..valid {
            let scalar = self.builder.ins().load(lane, memory_flags(), pointer, offset + i as i32 * bytes);
            result = self.builder.ins().insertlane(result, scalar, i as u8);
        }
        Ok(result)
    }

    /// Stores the first `valid` lanes.
    pub(crate) fn store(&mut self, address: &Address, value: ValueId, valid: usize) -> Result<(), String> {
        let ty = self.kernel.ty(value);
        let value = self.value(value)?;
        let (pointer, offset) = self.place(address)?;
        if valid == ty.lanes {
            self.builder.ins().store(memory_flags(), value, pointer, offset);
            return Ok(());
        }
        if let Vectors::UpTo(_) = self.capabilities.vectors {
            let slot = self.slot();
            self.builder.ins().stack_store(self.pointer_type, value, slot, 0);
            let clif = self.builder.func.dfg.value_type(value);
            for (start, piece) in self.pieces(clif, valid) {
                let value = self.builder.ins().stack_load(self.pointer_type, piece, slot, start);
                self.builder.ins().store(memory_flags(), value, pointer, offset + start);
            }
            return Ok(());
        }
        let bytes = ty.element.bytes() as i32;
        let mut done = 0;
        if ty.element == Element::F32 && valid >= 2 {
            let pairs = self.bitcast(types::F64X2, value);
            let pair = self.builder.ins().extractlane(pairs, 0);
            self.builder.ins().store(memory_flags(), pair, pointer, offset);
            done = 2;
        }
        for i in done..valid {
            let scalar = self.builder.ins().extractlane(value, i as u8);
            self.builder.ins().store(memory_flags(), scalar, pointer, offset + i as i32 * bytes);
        }
        Ok(())
    }

    /// Lanes `i` and `i + n/2` are joined until one is left, the order that the kernel IR prescribes.
    pub(crate) fn reduce(&mut self, horizontal: Horizontal, lanes: usize, clif: Type, a: Value) -> Value {
        let op = match horizontal {
            Horizontal::Add => BinaryOp::Add,
            Horizontal::Max => BinaryOp::Max,
            Horizontal::Min => BinaryOp::Min,
        };
        if let Vectors::UpTo(_) = self.capabilities.vectors {
            let (slot, lane) = (self.slot(), clif.lane_type());
            let (mut whole, mut lanes) = (a, lanes as u32);
            while lanes > 1 {
                lanes /= 2;
                let half = lane.by(lanes).unwrap_or(lane);
                self.builder.ins().stack_store(self.pointer_type, whole, slot, 0);
                let [low, high] = [0, lanes * lane.bytes()]
                    .map(|start| self.builder.ins().stack_load(self.pointer_type, half, slot, start as i32));
                whole = self.binary(half, op, low, high);
            }
            return whole;
        }
        let mut parts: Vec<Value> = (0..lanes).map(|i| self.builder.ins().extractlane(a, i as u8)).collect();
        while parts.len() > 1 {
            let half = parts.len() / 2;
            parts = (0..half).map(|i| self.binary(clif, op, parts[i], parts[i + half])).collect();
        }
        parts[0]
    }
}
