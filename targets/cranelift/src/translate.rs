//! A kernel becomes a Cranelift function: loops as blocks with parameters, values one to one.
//!
//! Loops run at least once and count down to zero; the counter, the pointers that depend on the loop's variable and the
//! carried values are parameters of its block.

use std::collections::HashMap;

use avocet_ir::kernel::pointers::{self, Pointer};
use avocet_ir::kernel::{Address, Carried, Element, Kernel, Statement, ValueId, ValueType, Variable};
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData as MemFlags, Signature, Type, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use crate::isa::Capabilities;

/// State of the translation of one kernel.
pub(crate) struct Translator<'a, 'f> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) builder: FunctionBuilder<'f>,
    pub(crate) capabilities: Capabilities,
    pub(crate) values: Vec<Option<Value>>,
    /// Pointers that are in registers where we are.
    pointers: HashMap<Pointer, Value>,
    pointer_type: Type,
}

/// The signature of a kernel of this many buffers.
pub(crate) fn signature(buffers: usize, isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(isa.pointer_type()); buffers];
    signature
}

/// Cranelift's type of a value, if it has one.
pub(crate) fn clif_type(ty: ValueType) -> Result<Type, String> {
    let element = match ty.element {
        Element::F32 => types::F32,
        Element::I32 => types::I32,
        Element::I64 => types::I64,
        Element::U8 => types::I8,
    };
    match ty.lanes {
        1 => Ok(element),
        lanes if lanes * ty.element.bytes() == 16 => {
            element.by(lanes as u32).ok_or_else(|| format!("no vector type for {ty}"))
        }
        _ => Err(format!("vectors here have 128 bits, {ty} has not")),
    }
}

/// Translates a kernel. The error says what this back end can't do.
pub(crate) fn function(
    kernel: &Kernel,
    isa: &dyn TargetIsa,
    capabilities: Capabilities,
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
        pointer_type: isa.pointer_type(),
    };
    translator.block(&kernel.body)?;
    crate::frame::leave(&mut translator.builder, 0, &[]);
    translator.builder.finalize(isa.frontend_config());
    Ok(function)
}

/// Accesses never trap (the verifier proved them in bounds) and promise no alignment (callers' tensors have only that of
/// their elements).
pub(crate) fn memory_flags() -> MemFlags {
    MemFlags::new().with_notrap()
}

impl Translator<'_, '_> {
    fn block(&mut self, statements: &[Statement]) -> Result<(), String> {
        for statement in statements {
            match statement {
                Statement::Let(value, expression) => {
                    let result = self.expression(self.kernel.ty(*value), expression)?;
                    self.values[value.0] = Some(result);
                }
                Statement::Store { address, value, valid } => self.store(address, *value, *valid)?,
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
        for c in carried {
            arguments.push(self.value(c.initial)?);
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
        for (c, &parameter) in carried.iter().zip(&parameters[1 + pointers.len()..]) {
            self.values[c.parameter.0] = Some(parameter);
        }
        self.block(body)?;

        let counter = self.builder.ins().iadd_imm_s(parameters[0], -1);
        let mut next = vec![counter];
        for (pointer, &parameter) in pointers.iter().zip(&parameters[1..]) {
            let bytes = self.kernel.buffers[pointer.buffer.0].element.bytes() as i64;
            let step = pointer.coefficient(variable).unwrap_or(0).saturating_mul(bytes);
            next.push(self.builder.ins().iadd_imm_s(parameter, step));
            self.pointers.remove(pointer);
        }
        for c in carried {
            let value = self.value(c.next)?;
            next.push(value);
            self.values[c.result.0] = Some(value);
        }
        let next: Vec<_> = next.into_iter().map(Into::into).collect();
        let exit = self.builder.create_block();
        self.builder.ins().brif(counter, block, &next, exit, &[]);
        self.builder.seal_block(block);
        self.builder.switch_to_block(exit);
        self.builder.seal_block(exit);
        Ok(())
    }

    /// The value of a kernel's value.
    pub(crate) fn value(&self, value: ValueId) -> Result<Value, String> {
        self.values[value.0].ok_or_else(|| format!("{value} is not defined"))
    }

    fn pointer(&self, pointer: &Pointer) -> Result<Value, String> {
        // The kernel's verifier lets an index depend only on loops around it, each of which carries its pointers.
        self.pointers.get(pointer).copied().ok_or_else(|| format!("no pointer for {pointer:?}"))
    }

    /// Pointer and offset in bytes of an access.
    pub(crate) fn place(&mut self, address: &Address) -> Result<(Value, i32), String> {
        let pointer = self.pointer(&Pointer::of(address))?;
        let bytes = self.kernel.buffers[address.buffer.0].element.bytes() as i64;
        let offset = address.index.constant.checked_mul(bytes).ok_or("an offset overflows")?;
        // Partial accesses add up to 16 bytes to it.
        match i32::try_from(offset) {
            Ok(offset) if offset < i32::MAX - 16 => Ok((pointer, offset)),
            _ => {
                let offset = self.builder.ins().iconst(self.pointer_type, offset);
                Ok((self.builder.ins().iadd(pointer, offset), 0))
            }
        }
    }
}
