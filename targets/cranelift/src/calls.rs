//! Calls of kernels, and the functions that run one part of a step.
//!
//! A step of several parts becomes a function of its own, `body(frame, index)`, which the host's `parallel_for` calls once
//! for each part. The frame is an array of pointers on the stack of the entry function: inputs, outputs, arena, weights.

use avocet_ir::program::{Argument, Call, Program, Storage};
use cranelift_codegen::Context;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Type, Value};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Switch};
use cranelift_module::{DataId, FuncId, Module};

use crate::translate::memory_flags;

/// What a program's calls refer to in a module.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) program: &'a Program,
    /// Functions of the kernels.
    pub(crate) kernels: &'a [FuncId],
    /// The constants' block, when it is in the module.
    pub(crate) weights: Option<DataId>,
    /// Offset of each constant in the block.
    pub(crate) constants: &'a [usize],
}

/// Slots of a frame.
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    Input(usize),
    Output(usize),
    Arena,
    Weights,
    /// Number of the innermost loop's iteration, in place of a pointer.
    Iteration,
    /// The caller's sizes.
    Sizes,
}

impl Slot {
    /// Number of the slot in the frame of a program.
    pub(crate) fn number(self, program: &Program) -> usize {
        let (inputs, outputs) = (program.inputs.len(), program.outputs.len());
        match self {
            Slot::Input(i) => i,
            Slot::Output(i) => inputs + i,
            Slot::Arena => inputs + outputs,
            Slot::Weights => inputs + outputs + 1,
            Slot::Iteration => inputs + outputs + 2,
            Slot::Sizes => inputs + outputs + 3,
        }
    }

    /// Slots in the frame of a program.
    pub(crate) fn count(program: &Program) -> usize {
        Slot::Sizes.number(program) + 1
    }
}

/// Signature of a function that runs one part: the frame and the part's number.
pub(crate) fn body_signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(isa.pointer_type()); 2];
    signature
}

impl Placed<'_> {
    /// Emits calls; `base` gives the pointer of a slot.
    pub(crate) fn emit(
        self,
        builder: &mut FunctionBuilder<'_>,
        module: &mut dyn Module,
        calls: &[Call],
        base: &mut dyn FnMut(&mut FunctionBuilder<'_>, &mut dyn Module, Slot) -> Option<Value>,
    ) {
        for call in calls {
            let mut arguments = Vec::with_capacity(call.arguments.len());
            for argument in &call.arguments {
                arguments.extend(self.address(builder, module, argument, base));
            }
            let function = module.declare_func_in_func(self.kernels[call.kernel], builder.func);
            builder.ins().call(function, &arguments);
        }
    }

    /// Emits the address of an argument in the iteration at hand. Whatever is referred to has a pointer: the entry function
    /// loads all that there are.
    pub(crate) fn address(
        self,
        builder: &mut FunctionBuilder<'_>,
        module: &mut dyn Module,
        argument: &Argument,
        base: &mut dyn FnMut(&mut FunctionBuilder<'_>, &mut dyn Module, Slot) -> Option<Value>,
    ) -> Option<Value> {
        let (program, Argument { storage, offset, stride }) = (self.program, *argument);
        let (slot, start) = match storage {
            Storage::Input(i) => (Slot::Input(i), 0),
            Storage::Output(i) => (Slot::Output(i), 0),
            Storage::Constant(i) => (Slot::Weights, self.constants[i]),
            Storage::Size(i) => (Slot::Sizes, 8 * i),
            Storage::Temporary(i) => (Slot::Arena, program.plan.as_ref().map_or(0, |plan| plan.offsets[i])),
        };
        let mut pointer = base(builder, module, slot)?;
        if start + offset != 0 {
            pointer = builder.ins().iadd_imm_s(pointer, (start + offset) as i64);
        }
        if stride != 0
            && let Some(iteration) = base(builder, module, Slot::Iteration)
        {
            let travel = builder.ins().imul_imm_s(iteration, stride);
            pointer = builder.ins().iadd(pointer, travel);
        }
        Some(pointer)
    }

    /// Builds the function that runs one part of a step.
    pub(crate) fn body(self, module: &mut dyn Module, parts: &[Vec<Call>]) -> Context {
        let mut context = module.make_context();
        context.func.signature = body_signature(module.isa());
        let (pointer, frontend) = (module.isa().pointer_type(), module.isa().frontend_config());
        let mut builder_context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let start = builder.create_block();
        builder.append_block_params_for_function_params(start);
        builder.switch_to_block(start);
        let [frame, index] = [0, 1].map(|i| builder.block_params(start)[i]);
        let end = builder.create_block();
        let mut switch = Switch::new();
        let blocks: Vec<_> = parts.iter().map(|_| builder.create_block()).collect();
        for (number, &block) in blocks.iter().enumerate() {
            switch.set_entry(number as u128, block);
        }
        switch.emit(&mut builder, index, end);
        for (&block, calls) in blocks.iter().zip(parts) {
            builder.switch_to_block(block);
            let mut loaded = vec![None; Slot::count(self.program)];
            self.emit(&mut builder, module, calls, &mut |builder, module, slot| {
                let number = slot.number(self.program);
                Some(*loaded[number].get_or_insert_with(|| match (slot, self.weights) {
                    (Slot::Weights, Some(data)) => symbol(builder, module, pointer, data),
                    _ => {
                        let offset = pointer.bytes() as i32 * number as i32;
                        builder.ins().load(pointer, memory_flags(), frame, offset)
                    }
                }))
            });
            builder.ins().jump(end, &[]);
        }
        builder.switch_to_block(end);
        crate::frame::leave(&mut builder, 0, &[]);
        builder.seal_all_blocks();
        builder.finalize(frontend);
        context
    }
}

/// Address of data in the module.
pub(crate) fn symbol(
    builder: &mut FunctionBuilder<'_>,
    module: &mut dyn Module,
    pointer: Type,
    data: DataId,
) -> Value {
    let value = module.declare_data_in_func(data, builder.func);
    builder.ins().symbol_value(pointer, value)
}
