//! The entry function of a program: checks of what the caller hands over, then the steps in order.
//!
//! ```c
//! int32_t NAME_invoke(const void *const *inputs, void *const *outputs, const struct avocet_context *context);
//! struct avocet_context {
//!     void *arena;
//!     const void *weights;
//!     void (*parallel_for)(void *pool, size_t count, void (*body)(void *argument, size_t index), void *argument);
//!     void *pool;
//! };
//! ```
//!
//! Every address is one of the caller's pointers plus a constant. The calls of a step of one part are here; a step of
//! several parts is handed to `parallel_for`, or run part by part where the caller gives none. The function keeps nothing
//! between calls, so it is re-entrant as long as each caller brings an arena of its own.

use avocet_ir::program::{ALIGNMENT, Port};
use avocet_runtime::Status;
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, InstBuilder, Signature, StackSlotData, StackSlotKind, Value, types,
};
use cranelift_codegen::isa::{TargetFrontendConfig, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Module};

use crate::calls::{Placed, Slot, symbol};
use crate::translate::memory_flags;

/// Fields of the context, in pointers.
mod field {
    pub(super) const ARENA: usize = 0;
    pub(super) const WEIGHTS: usize = 1;
    pub(super) const PARALLEL_FOR: usize = 2;
    pub(super) const POOL: usize = 3;
}

/// Signature of the entry function.
pub(crate) fn signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(isa.pointer_type()); 3];
    signature.returns = vec![AbiParam::new(types::I32)];
    signature
}

/// Builds the entry function. Without weights in the module the caller passes them in the context. `bodies` has a function
/// for each step of several parts.
pub(crate) fn build(placed: Placed<'_>, module: &mut dyn Module, bodies: &[Option<FuncId>]) -> Context {
    let program = placed.program;
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
    let mut bases: Vec<Option<Value>> = vec![None; Slot::count(program)];
    // Models without temporaries or constants need no arena and no weights; the pointer is not looked at then.
    if program.plan.as_ref().is_some_and(|plan| plan.bytes > 0) {
        bases[Slot::Arena.number(program)] = Some(entry.load_checked(caller, field::ARENA, ALIGNMENT));
    }
    if !program.constants.is_empty() {
        let weights = match placed.weights {
            Some(data) => symbol(&mut entry.builder, module, entry.pointer, data),
            None => entry.load_checked(caller, field::WEIGHTS, ALIGNMENT),
        };
        bases[Slot::Weights.number(program)] = Some(weights);
    }
    let mut ports = |base: Value, ports: &[Port], slot: fn(usize) -> Slot| {
        for (i, port) in ports.iter().enumerate() {
            let pointer = entry.load_checked(base, i, port.ty.dtype.bytes());
            bases[slot(i).number(program)] = Some(pointer);
        }
    };
    ports(inputs, &program.inputs, Slot::Input);
    ports(outputs, &program.outputs, Slot::Output);

    let region = bodies.iter().any(Option::is_some).then(|| entry.region(module, &bases, caller));
    for (step, body) in program.steps.iter().zip(bodies) {
        match (body, &region) {
            (Some(body), Some(region)) => entry.at_once(module, region, *body, step.parts.len()),
            _ => step.parts.iter().for_each(|calls| {
                placed.emit(&mut entry.builder, module, calls, &mut |_, _, slot| bases[slot.number(program)]);
            }),
        }
    }
    entry.finish();
    context
}

/// What the parts of all steps are run with.
struct Region {
    frame: Value,
    /// The host's function, which may be null, and its pool.
    parallel_for: Value,
    pool: Value,
    signature: cranelift_codegen::ir::SigRef,
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

    /// Loads a pointer and checks it.
    fn load_checked(&mut self, base: Value, slot: usize, alignment: usize) -> Value {
        let value = self.load(base, slot);
        self.check(value, alignment);
        value
    }

    fn load(&mut self, base: Value, slot: usize) -> Value {
        let offset = (self.pointer.bytes() as usize * slot) as i32;
        self.builder.ins().load(self.pointer, memory_flags(), base, offset)
    }

    /// Makes the frame for the parts of all steps, and loads the host's `parallel_for`.
    fn region(&mut self, module: &mut dyn Module, bases: &[Option<Value>], caller: Value) -> Region {
        let size = self.pointer.bytes();
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, size * bases.len() as u32, 3);
        let slot = self.builder.create_sized_stack_slot(slot);
        for (number, base) in bases.iter().enumerate() {
            if let Some(base) = base {
                self.builder.ins().stack_store(self.pointer, *base, slot, (size as usize * number) as i32);
            }
        }
        let mut signature = Signature::new(module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(self.pointer); 4];
        Region {
            frame: self.builder.ins().stack_addr(self.pointer, slot, 0),
            parallel_for: self.load(caller, field::PARALLEL_FOR),
            pool: self.load(caller, field::POOL),
            signature: self.builder.import_signature(signature),
        }
    }

    /// Runs the parts of a step by the host's `parallel_for`, or one after the other where there is none.
    fn at_once(&mut self, module: &mut dyn Module, region: &Region, body: FuncId, parts: usize) {
        let b = &mut self.builder;
        let body = module.declare_func_in_func(body, b.func);
        let [host, alone, next] = [(); 3].map(|()| b.create_block());
        b.append_block_param(alone, self.pointer);
        let zero = b.ins().iconst(self.pointer, 0);
        b.ins().brif(region.parallel_for, host, &[], alone, &[zero.into()]);

        b.switch_to_block(host);
        b.seal_block(host);
        let count = b.ins().iconst(self.pointer, parts as i64);
        let address = b.ins().func_addr(self.pointer, body);
        let arguments = [region.pool, count, address, region.frame];
        b.ins().call_indirect(region.signature, region.parallel_for, &arguments);
        b.ins().jump(next, &[]);

        b.switch_to_block(alone);
        let index = b.block_params(alone)[0];
        b.ins().call(body, &[region.frame, index]);
        let following = b.ins().iadd_imm_s(index, 1);
        let more = b.ins().icmp_imm_u(IntCC::UnsignedLessThan, following, parts as i64);
        b.ins().brif(more, alone, &[following.into()], next, &[]);
        b.seal_block(alone);

        b.switch_to_block(next);
        b.seal_block(next);
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
        let number = status as u32;
        let status = self.builder.ins().iconst(types::I32, i64::from(status as i32));
        crate::frame::leave(&mut self.builder, number, &[status]);
    }
}
