//! A kernel becomes a Cranelift function: loops as blocks with parameters, values one to one.
//!
//! Loops run at least once and count down to zero; the counter, the pointers that depend on the loop's variable and the
//! carried values are parameters of its block.

use std::collections::{BTreeMap, HashMap};

use avocet_ir::kernel::pointers::{self, Pointer};
use avocet_ir::kernel::{
    Address, Buffer, BufferId, Carried, Element, Kernel, Statement, ValueId, ValueType, Variable,
};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, ConstantData, Endianness, Function, InstBuilder, MemFlagsData as MemFlags, Signature,
    StackSlot, StackSlotData, StackSlotKind, Type, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use crate::isa::{Capabilities, Vectors};
use crate::pixels::{GROUP, Pixels};
use crate::reach;

/// State of the translation of one kernel.
pub(crate) struct Translator<'a, 'f> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) builder: FunctionBuilder<'f>,
    pub(crate) capabilities: Capabilities,
    pub(crate) values: Vec<Option<Value>>,
    /// Pointers that are in registers where we are.
    pointers: HashMap<Pointer, Value>,
    /// More pointers, at these offsets in bytes from those, ascending.
    further: HashMap<Pointer, Vec<(i64, Value)>>,
    /// Pixels of the statements that are being translated, and the vectors that are loaded already.
    pixels: Pixels,
    groups: Vec<Option<Value>>,
    /// Memory through which vectors pass whose lanes are loaded or stored one by one.
    pub(crate) slot: Option<StackSlot>,
    pub(crate) pointer_type: Type,
    /// Whether values wider than Cranelift can spill are in memory between definition and use, and where.
    in_memory: bool,
    kept: HashMap<ValueId, StackSlot>,
}

/// Bytes of a vector that Cranelift's spills keep: on RISC-V 0.135 stores and reloads 128 bits, whatever the length.
pub(crate) const SPILLED_BYTES: usize = 16;

/// The signature of a kernel of this many buffers.
pub(crate) fn signature(buffers: usize, isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(isa.pointer_type()); buffers];
    signature
}

/// Cranelift's type of a value, if the target has it.
pub(crate) fn clif_type(ty: ValueType, vectors: Vectors) -> Result<Type, String> {
    let element = match ty.element {
        Element::F32 => types::F32,
        Element::I32 | Element::U32 => types::I32,
        Element::I64 => types::I64,
        Element::U8 | Element::I8 => types::I8,
        Element::I16 | Element::U16 => types::I16,
    };
    match ty.lanes {
        1 => Ok(element),
        lanes if vectors.has(lanes, ty.element.bytes()) => {
            element.by(lanes as u32).ok_or_else(|| format!("no vector type for {ty}"))
        }
        _ => Err(match vectors {
            Vectors::None => format!("there are no vectors, but {ty} is one"),
            Vectors::Fixed => format!("vectors here have 128 bits, {ty} has not"),
            Vectors::UpTo(bytes) => {
                format!("vectors here have 64 to {} bits and up to 16 lanes, {ty} has not", bytes * 8)
            }
        }),
    }
}

/// Translates a kernel; `in_memory` keeps wide vectors out of registers but where they are used, for kernels that would
/// run out of these. The error says what this back end can't do.
pub(crate) fn function(
    kernel: &Kernel,
    isa: &dyn TargetIsa,
    capabilities: Capabilities,
    in_memory: bool,
) -> Result<Function, String> {
    let mut function = Function::new();
    function.signature = signature(kernel.buffers.len(), isa);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut function, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let mut pointers = HashMap::new();
    for (number, &value) in builder.block_params(entry).iter().enumerate() {
        let buffer = avocet_ir::kernel::BufferId(number);
        pointers.insert(Pointer { buffer, terms: Vec::new() }, value);
    }
    let mut translator = Translator {
        kernel,
        builder,
        capabilities,
        values: vec![None; kernel.values.len()],
        pointers,
        further: HashMap::new(),
        pixels: Pixels::default(),
        groups: Vec::new(),
        slot: None,
        pointer_type: isa.pointer_type(),
        in_memory,
        kept: HashMap::new(),
    };
    translator.block(&kernel.body)?;
    crate::frame::leave(&mut translator.builder, 0, &[]);
    translator.builder.finalize(isa.frontend_config());
    Ok(function)
}

/// Size of a value.
pub(crate) fn bytes_of(kernel: &Kernel, value: ValueId) -> usize {
    let ty = kernel.ty(value);
    ty.lanes.saturating_mul(ty.element.bytes())
}

/// Accesses never trap (the verifier proved them in bounds) and promise no alignment (callers' tensors have only that of
/// their elements).
pub(crate) fn memory_flags() -> MemFlags {
    MemFlags::new().with_notrap()
}

impl Translator<'_, '_> {
    fn block(&mut self, statements: &[Statement]) -> Result<(), String> {
        if !self.capabilities.by_element {
            return self.statements(statements);
        }
        let pixels = Pixels::of(self.kernel, statements, self.capabilities.registers);
        let groups = vec![None; pixels.groups.len()];
        let outside =
            (std::mem::replace(&mut self.pixels, pixels), std::mem::replace(&mut self.groups, groups));
        let result = self.statements(statements);
        (self.pixels, self.groups) = outside;
        result
    }

    fn statements(&mut self, statements: &[Statement]) -> Result<(), String> {
        for statement in statements {
            match statement {
                Statement::Let(value, expression) => {
                    let result = match self.pixel(*value)? {
                        Some(pixel) => pixel,
                        None => self.expression(self.kernel.ty(*value), expression)?,
                    };
                    self.define(*value, result);
                }
                Statement::Store { address, value, valid } => self.store(address, *value, *valid)?,
                Statement::StoreAt { buffer, index, value } => {
                    let (pointer, value) = (self.place_at(*buffer, *index)?, self.value(*value)?);
                    self.builder.ins().store(memory_flags(), value, pointer, 0);
                }
                Statement::For { variable, count, carried, body } => {
                    self.repeat(*variable, *count, carried, body)?;
                }
            }
        }
        Ok(())
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
        let mut arguments = vec![self.builder.ins().iconst(types::I64, count)];
        for pointer in &pointers {
            arguments.push(self.pointer(&pointer.without(variable))?);
        }
        let (kept, carried): (Vec<Carried>, Vec<Carried>) =
            carried.iter().partition(|c| self.slot_of(c.parameter).is_some());
        for c in &kept {
            let initial = self.value(c.initial)?;
            self.define(c.parameter, initial);
        }
        for c in &carried {
            arguments.push(self.value(c.initial)?);
        }
        let further = match self.capabilities.reach {
            Some(reach) => reach::offsets(self.kernel, body, reach),
            None => BTreeMap::new(),
        };
        // Those that depend on the variable; each is the pointer's number with an offset.
        let further: Vec<(usize, i64)> = pointers
            .iter()
            .enumerate()
            .flat_map(|(number, pointer)| {
                further.get(pointer).into_iter().flatten().map(move |&o| (number, o))
            })
            .collect();
        for &(number, offset) in &further {
            arguments.push(self.builder.ins().iadd_imm_s(arguments[1 + number], offset));
        }
        let block = self.builder.create_block();
        let parameters: Vec<Value> = arguments
            .iter()
            .map(|&argument| {
                let ty = self.builder.func.dfg.value_type(argument);
                self.builder.append_block_param(block, ty)
            })
            .collect();
        let arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
        self.builder.ins().jump(block, &arguments);
        self.builder.switch_to_block(block);

        for (pointer, &parameter) in pointers.iter().zip(&parameters[1..]) {
            self.pointers.insert(pointer.clone(), parameter);
        }
        let of_carried = 1 + pointers.len();
        for (c, &parameter) in carried.iter().zip(&parameters[of_carried..]) {
            self.values[c.parameter.0] = Some(parameter);
        }
        let of_further = &parameters[of_carried + carried.len()..];
        for (&(number, offset), &parameter) in further.iter().zip(of_further) {
            self.further.entry(pointers[number].clone()).or_default().push((offset, parameter));
        }
        self.block(body)?;

        let counter = self.builder.ins().iadd_imm_s(parameters[0], -1);
        let mut next = vec![counter];
        let mut steps = Vec::with_capacity(pointers.len());
        for (pointer, &parameter) in pointers.iter().zip(&parameters[1..]) {
            let bytes = self.kernel.buffers[pointer.buffer.0].element.bytes() as i64;
            let step = pointer.coefficient(variable).unwrap_or(0).saturating_mul(bytes);
            next.push(self.builder.ins().iadd_imm_s(parameter, step));
            steps.push(step);
            self.pointers.remove(pointer);
            self.further.remove(pointer);
        }
        for c in &carried {
            let value = self.value(c.next)?;
            next.push(value);
            self.define(c.result, value);
        }
        // All at once: one's next value may be another's parameter.
        for c in &kept {
            let value = self.value(c.next)?;
            self.define(c.result, value);
        }
        for c in &kept {
            let value = self.value(c.result)?;
            self.define(c.parameter, value);
        }
        for (&(number, _), &parameter) in further.iter().zip(of_further) {
            next.push(self.builder.ins().iadd_imm_s(parameter, steps[number]));
        }
        let next: Vec<_> = next.into_iter().map(Into::into).collect();
        let exit = self.builder.create_block();
        self.builder.ins().brif(counter, block, &next, exit, &[]);
        self.builder.seal_block(block);
        self.builder.switch_to_block(exit);
        self.builder.seal_block(exit);
        Ok(())
    }

    /// The pixel of a load that is a lane of a vector of pixels, in all lanes.
    pub(crate) fn pixel(&mut self, value: ValueId) -> Result<Option<Value>, String> {
        let Some(&(number, lane)) = self.pixels.lanes.get(&value) else { return Ok(None) };
        let group = match self.groups[number] {
            Some(group) => group,
            None => {
                let address = self.pixels.groups[number].clone();
                let (pointer, offset) = self.place(&address)?;
                // Cranelift shuffles bytes only, and sees the multiply-add by a lane behind such a shuffle.
                let group = self.builder.ins().load(types::I8X16, memory_flags(), pointer, offset);
                self.groups[number] = Some(group);
                group
            }
        };
        let bytes: Vec<u8> = (0..GROUP as u8).flat_map(|_| (0..4).map(|byte| lane * 4 + byte)).collect();
        let mask = self.builder.func.dfg.immediates.push(ConstantData::from(bytes));
        let all = self.builder.ins().shuffle(group, group, mask);
        let flags = MemFlags::new().with_endianness(Endianness::Little);
        Ok(Some(self.builder.ins().bitcast(types::F32X4, flags, all)))
    }

    /// The value of a kernel's value.
    pub(crate) fn value(&mut self, value: ValueId) -> Result<Value, String> {
        if let Some(slot) = self.slot_of(value) {
            let ty = clif_type(self.kernel.ty(value), self.capabilities.vectors)?;
            return Ok(self.builder.ins().stack_load(self.pointer_type, ty, slot, 0));
        }
        self.values[value.0].ok_or_else(|| format!("{value} is not defined"))
    }

    /// Remembers what a kernel's value is.
    fn define(&mut self, value: ValueId, result: Value) {
        match self.slot_of(value) {
            Some(slot) => {
                self.builder.ins().stack_store(self.pointer_type, result, slot, 0);
            }
            None => self.values[value.0] = Some(result),
        }
    }

    /// The place of a value that is in memory.
    fn slot_of(&mut self, value: ValueId) -> Option<StackSlot> {
        let bytes = bytes_of(self.kernel, value);
        (self.in_memory && bytes > SPILLED_BYTES).then(|| {
            *self.kept.entry(value).or_insert_with(|| {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes as u32, 4);
                self.builder.create_sized_stack_slot(data)
            })
        })
    }

    fn pointer(&self, pointer: &Pointer) -> Result<Value, String> {
        // The kernel's verifier lets an index depend only on loops around it, each of which carries its pointers.
        self.pointers.get(pointer).copied().ok_or_else(|| format!("no pointer for {pointer:?}"))
    }

    /// Pointer of the element of a computed index, clamped to the buffer.
    pub(crate) fn place_at(&mut self, buffer: BufferId, index: ValueId) -> Result<Value, String> {
        let start = self.pointer(&Pointer { buffer, terms: Vec::new() })?;
        let index = self.value(index)?;
        let Buffer { length, element, .. } = self.kernel.buffers[buffer.0];
        let last = i64::try_from(length).map_err(|_| "a buffer of too many elements")? - 1;
        let (zero, last) =
            (self.builder.ins().iconst(types::I64, 0), self.builder.ins().iconst(types::I64, last));
        let above = self.builder.ins().icmp(IntCC::SignedGreaterThan, index, last);
        let index = self.builder.ins().select(above, last, index);
        let below = self.builder.ins().icmp(IntCC::SignedLessThan, index, zero);
        let index = self.builder.ins().select(below, zero, index);
        let bytes = self.builder.ins().imul_imm_s(index, element.bytes() as i64);
        Ok(self.builder.ins().iadd(start, bytes))
    }

    /// Pointer and offset in bytes of an access.
    pub(crate) fn place(&mut self, address: &Address) -> Result<(Value, i32), String> {
        let key = Pointer::of(address);
        let mut pointer = self.pointer(&key)?;
        let bytes = self.kernel.buffers[address.buffer.0].element.bytes() as i64;
        let mut offset = address.index.constant.checked_mul(bytes).ok_or("an offset overflows")?;
        if let Some(reach) = self.capabilities.reach
            && !(-reach..reach).contains(&offset)
            && let Some(further) = self.further.get(&key)
            && let Some(&(start, other)) = further.iter().rev().find(|&&(start, _)| start <= offset)
        {
            (pointer, offset) = (other, offset - start);
        }
        // Partial accesses add up to a vector's bytes to it.
        match i32::try_from(offset) {
            Ok(offset) if offset < i32::MAX - 256 => Ok((pointer, offset)),
            _ => {
                let offset = self.builder.ins().iconst(self.pointer_type, offset);
                Ok((self.builder.ins().iadd(pointer, offset), 0))
            }
        }
    }
}
