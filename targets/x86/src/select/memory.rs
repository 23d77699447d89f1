//! Loads and stores, whole and in part, and memory operands.

use avocet_ir::kernel::pointers::Pointer;
use avocet_ir::kernel::{Address, Element, ValueId, ValueType};
use regalloc2::{Operand, RegClass, VReg};

use super::{LoadKind, Location, Selector};
use crate::instruction::{Base, Bits, Kind, Memory, Width};
use crate::table::Op;

/// A memory operand with its base register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) memory: Memory,
    pub(super) register: Option<VReg>,
}

impl Place {
    fn plus(mut self, bytes: i32) -> Self {
        // `place` leaves room for a vector.
        self.memory.displacement += bytes;
        self
    }
}

impl Selector<'_> {
    /// The width of a value's vectors; an error where there is none.
    pub(super) fn width(&self, ty: ValueType) -> Result<Width, String> {
        let widest = self.level.widest();
        match ty.element {
            Element::F32 | Element::I32 => Width::of_lanes(ty.lanes)
                .filter(|&width| width <= widest)
                .ok_or_else(|| format!("vectors have up to {} bits, {ty} has more", widest.lanes() * 32)),
            _ => Err(format!("values of type {ty} only move data")),
        }
    }

    /// The memory of an address.
    pub(super) fn place(&mut self, address: &Address) -> Result<Place, String> {
        const ROOM: i32 = 64;
        let pointer = self.pointer(&Pointer::of(address))?;
        let bytes = self.kernel.buffers[address.buffer.0].element.bytes() as i64;
        let offset = address.index.constant.checked_mul(bytes).ok_or("an offset overflows")?;
        let (register, displacement) = match i32::try_from(offset) {
            Ok(offset) if offset < i32::MAX - ROOM => (pointer, offset),
            _ => {
                let (far, sum) = (self.register(RegClass::Int), self.register(RegClass::Int));
                self.push(Kind::Constant(offset), vec![Operand::reg_def(far)]);
                let operands =
                    vec![Operand::reg_reuse_def(sum, 1), Operand::reg_use(far), Operand::reg_use(pointer)];
                self.push(Kind::Add, operands);
                (sum, 0)
            }
        };
        let memory = Memory { base: Base::Register, displacement, broadcast: false };
        Ok(Place { memory, register: Some(register) })
    }

    /// A constant in memory, for an operation of this width.
    pub(super) fn constant_place(&mut self, bits: u32, width: Width) -> Place {
        let broadcast = self.level.avx512;
        let number = self.constant(Bits::All(bits), if broadcast { 1 } else { width.lanes() });
        Place { memory: Memory { base: Base::Constant(number), displacement: 0, broadcast }, register: None }
    }

    /// Loads `valid` elements; the other lanes are zero.
    pub(super) fn load(&mut self, place: Place, valid: usize) -> Result<VReg, String> {
        let narrowest = Width::of_lanes(valid).ok_or("a load of more than 512 bits")?;
        Ok(match valid {
            1 => self.vector((Op::LoadOne, Width::X), &[], Some(place)),
            2 => self.vector((Op::LoadTwo, Width::X), &[], Some(place)),
            _ if valid == narrowest.lanes() => self.vector((Op::Load, narrowest), &[], Some(place)),
            _ if self.level.avx512 => {
                self.vector_with((Op::Load, narrowest), &[], Some(place), None, Some(valid))
            }
            _ => {
                let number = self.constant(Bits::FirstLanes(valid), narrowest.lanes());
                let memory = Memory { base: Base::Constant(number), displacement: 0, broadcast: false };
                let mask = self.vector((Op::Load, narrowest), &[], Some(Place { memory, register: None }));
                self.vector((Op::LoadMasked, narrowest), &[mask], Some(place))
            }
        })
    }

    /// Loads one element into all lanes.
    pub(super) fn load_broadcast(&mut self, place: Place, ty: ValueType) -> Result<VReg, String> {
        match ty.lanes {
            1 => self.load(place, 1),
            _ => Ok(self.vector((Op::Broadcast, self.width(ty)?), &[], Some(place))),
        }
    }

    /// Stores the first `valid` lanes.
    pub(super) fn store(
        &mut self,
        address: &Address,
        register: VReg,
        ty: ValueType,
        valid: usize,
    ) -> Result<(), String> {
        self.width(ty)?;
        let place = self.place(address)?;
        let narrowest = Width::of_lanes(valid).ok_or("a store of more than 512 bits")?;
        match valid {
            1 => self.effect((Op::StoreOne, Width::X), &[register], Some(place), None, None),
            2 => self.effect((Op::StoreTwo, Width::X), &[register], Some(place), None, None),
            _ if valid == narrowest.lanes() => {
                self.effect((Op::Store, narrowest), &[register], Some(place), None, None);
            }
            _ if self.level.avx512 => {
                self.effect((Op::Store, narrowest), &[register], Some(place), None, Some(valid));
            }
            // The masked stores of AVX2 are slow on some processors, so the vector is stored in pieces.
            5.. => {
                self.effect((Op::Store, Width::X), &[register], Some(place), None, None);
                let upper = self.vector_immediate((Op::UpperOfY, Width::Y), &[register], 1);
                self.store_some(place.plus(16), upper, valid - 4);
            }
            _ => self.store_some(place, register, valid),
        }
        Ok(())
    }

    /// Stores 1 to 3 lanes.
    fn store_some(&mut self, place: Place, register: VReg, valid: usize) {
        let mut rest = (place, register, valid);
        if valid > 1 {
            self.effect((Op::StoreTwo, Width::X), &[register], Some(place), None, None);
            let upper = if valid == 3 {
                self.vector((Op::UpperTwo, Width::X), &[register, register], None)
            } else {
                register
            };
            rest = (place.plus(8), upper, valid - 2);
        }
        if rest.2 == 1 {
            self.effect((Op::StoreOne, Width::X), &[rest.1], Some(rest.0), None, None);
        }
    }

    /// The value as a memory operand of an operation of this width, where it can be one.
    pub(super) fn memory_operand(&mut self, value: ValueId, width: Width) -> Option<Place> {
        match self.values[value.0]? {
            Location::Register(_) => None,
            Location::Constant(bits) => Some(self.constant_place(bits, width)),
            Location::Pending(place, kind) => {
                self.pending.retain(|&other| other != value);
                let mut place = place;
                place.memory.broadcast = kind == LoadKind::Broadcast;
                Some(place)
            }
        }
    }

    /// The value in a register.
    pub(super) fn value(&mut self, value: ValueId) -> Result<VReg, String> {
        let ty = self.kernel.ty(value);
        let location = self.values[value.0].ok_or_else(|| format!("{value} is not defined"))?;
        match location {
            Location::Register(register) => Ok(register),
            Location::Constant(0) => Ok(self.zero()),
            Location::Constant(bits) => {
                let number = self.constant(Bits::All(bits), 1);
                let memory = Memory { base: Base::Constant(number), displacement: 0, broadcast: false };
                self.load_broadcast(Place { memory, register: None }, ty)
            }
            Location::Pending(place, kind) => {
                self.pending.retain(|&other| other != value);
                let register = match kind {
                    LoadKind::Whole => self.load(place, ty.lanes)?,
                    LoadKind::Broadcast => self.load_broadcast(place, ty)?,
                };
                self.values[value.0] = Some(Location::Register(register));
                Ok(register)
            }
        }
    }

    /// Loads what is pending: before a store, which may change it, and before a loop.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        while let Some(value) = self.pending.first().copied() {
            self.value(value)?;
        }
        Ok(())
    }
}
