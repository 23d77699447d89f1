//! The entry function of a program: checks of what the caller hands over, then the calls of the kernels in order.
//!
//! ```c
//! int32_t NAME_invoke(const void *const *inputs, void *const *outputs, const struct avocet_context *context);
//! struct avocet_context { void *arena; const void *weights; };
//! ```
//!
//! Every address is one of the caller's pointers plus a constant. The function keeps nothing between calls, so it is
//! re-entrant as long as each caller brings an arena of its own.

use avocet_ir::program::{ALIGNMENT, Argument, Program, Storage};
use avocet_runtime::Status;
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, Block, InstBuilder, Signature, Value, types};
use cranelift_codegen::isa::{TargetFrontendConfig, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataId, FuncId, Module};

use crate::translate::memory_flags;

/// Signature of the entry function.
pub(crate) fn signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(isa.pointer_type()); 3];
    signature.returns = vec![AbiParam::new(types::I32)];
    signature
}

/// Builds the entry function. `weights` is the constants' block in the same module; without it the caller passes one in
/// the context.
pub(crate) fn build(
    program: &Program,
    module: &mut dyn Module,
    kernels: &[FuncId],
    weights: Option<DataId>,
) -> Context {
    let mut context = module.make_context();
    context.func.signature = signature(module.isa());
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    let (null, misaligned) = (builder.create_block(), builder.create_block());
    let [inputs, outputs, caller] = [0, 1, 2].map(|i| builder.block_params(block)[i]);
    let mut entry = Entry {
        builder,
        pointer: module.isa().pointer_type(),
        null,
        misaligned,
        frontend: module.isa().frontend_config(),
    };

    for pointer in [inputs, outputs, caller] {
        entry.check(pointer, 1);
    }
    let width = entry.pointer.bytes() as i32;
    let load = |entry: &mut Entry, base: Value, slot: usize, alignment: usize| {
        let (pointer, offset) = (entry.pointer, width * slot as i32);
        let value = entry.builder.ins().load(pointer, memory_flags(), base, offset);
        entry.check(value, alignment);
        value
    };
    // Models without temporaries or constants need no arena and no weights; the pointer is not looked at then.
    let has_arena = program.plan.as_ref().is_some_and(|plan| plan.bytes > 0);
    let arena = has_arena.then(|| load(&mut entry, caller, 0, ALIGNMENT));
    let weights = match weights {
        _ if program.constants.is_empty() => None,
        Some(data) => {
            let value = module.declare_data_in_func(data, entry.builder.func);
            Some(entry.builder.ins().symbol_value(entry.pointer, value))
        }
        None => Some(load(&mut entry, caller, 1, ALIGNMENT)),
    };
    let ports = |entry: &mut Entry, base: Value, ports: &[avocet_ir::program::Port]| -> Vec<Value> {
        let sizes = ports.iter().map(|p| p.ty.dtype.bytes()).enumerate();
        sizes.map(|(i, bytes)| load(entry, base, i, bytes)).collect()
    };
    let inputs = ports(&mut entry, inputs, &program.inputs);
    let outputs = ports(&mut entry, outputs, &program.outputs);

    let (constants, _) = program.constant_layout();
    for call in &program.calls {
        let arguments: Vec<Value> = call
            .arguments
            .iter()
            .filter_map(|&Argument { storage, offset }| {
                let (base, start) = match storage {
                    Storage::Input(i) => (inputs[i], 0),
                    Storage::Output(i) => (outputs[i], 0),
                    Storage::Constant(i) => (weights?, constants[i]),
                    Storage::Temporary(i) => (arena?, program.plan.as_ref()?.offsets[i]),
                };
                Some(match start + offset {
                    0 => base,
                    offset => entry.builder.ins().iadd_imm_s(base, offset as i64),
                })
            })
            .collect();
        let function = module.declare_func_in_func(kernels[call.kernel], entry.builder.func);
        entry.builder.ins().call(function, &arguments);
    }
    entry.finish();
    context
}

struct Entry<'a> {
    builder: FunctionBuilder<'a>,
    pointer: types::Type,
    null: Block,
    misaligned: Block,
    frontend: TargetFrontendConfig,
}

impl Entry<'_> {
    /// Leaves with an error when the pointer is null or not aligned.
    fn check(&mut self, pointer: Value, alignment: usize) {
        let next = self.builder.create_block();
        self.builder.ins().brif(pointer, next, &[], self.null, &[]);
        self.builder.switch_to_block(next);
        self.builder.seal_block(next);
        if alignment > 1 {
            let low = self.builder.ins().band_imm_u(pointer, alignment as i64 - 1);
            let aligned = self.builder.create_block();
            let zero = self.builder.ins().icmp_imm_s(IntCC::Equal, low, 0);
            self.builder.ins().brif(zero, aligned, &[], self.misaligned, &[]);
            self.builder.switch_to_block(aligned);
            self.builder.seal_block(aligned);
        }
    }

    fn finish(mut self) {
        self.leave(Status::Ok);
        for (block, status) in [(self.null, Status::NullPointer), (self.misaligned, Status::Misaligned)] {
            self.builder.seal_block(block);
            self.builder.switch_to_block(block);
            self.leave(status);
        }
        self.builder.finalize(self.frontend);
    }

    fn leave(&mut self, status: Status) {
        let status = self.builder.ins().iconst(types::I32, i64::from(status as i32));
        self.builder.ins().return_(&[status]);
    }
}
