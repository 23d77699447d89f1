//! The entry function of a program: checks of what the caller hands over, then the steps in order.
//!
//! ```c
//! int32_t NAME_invoke(const void *const *inputs, void *const *outputs, const struct avocet_context *context);
//! struct avocet_context {
//!     void *arena;
//!     const void *weights;
//!     void (*parallel_for)(void *pool, size_t count, void (*body)(void *argument, size_t index), void *argument);
//!     void *pool;
//!     const int64_t *sizes;
//! };
//! ```
//!
//! Every address is one of the caller's pointers plus a constant. The calls of a step of one part are here; a step of
//! several parts is handed to `parallel_for`, or run part by part where the caller gives none. Branches and loops of the
//! program are branches and loops here. The function keeps nothing
//! between calls, so it is re-entrant as long as each caller brings an arena of its own.

use avocet_ir::program::{ALIGNMENT, Argument, Item, Port, Sizes};
use avocet_runtime::Status;
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, InstBuilder, Signature, StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use cranelift_codegen::isa::{TargetFrontendConfig, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Switch};
use cranelift_module::{FuncId, Module};

use crate::calls::{Placed, Slot, symbol};
use crate::emit::EmitError;
use crate::translate::memory_flags;

/// Fields of the context, in pointers.
mod field {
    pub(super) const ARENA: usize = 0;
    pub(super) const WEIGHTS: usize = 1;
    pub(super) const PARALLEL_FOR: usize = 2;
    pub(super) const POOL: usize = 3;
    pub(super) const SIZES: usize = 4;
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
pub(crate) fn build(
    placed: Placed<'_>,
    module: &mut dyn Module,
    bodies: &[Option<FuncId>],
) -> Result<Context, EmitError> {
    let program = placed.program;
    let items = program.items().ok_or(EmitError::Controls)?;
    let mut context = module.make_context();
    context.func.signature = signature(module.isa());
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    let [null, misaligned, refused] = [(); 3].map(|()| builder.create_block());
    let [inputs, outputs, caller] = [0, 1, 2].map(|i| builder.block_params(block)[i]);
    let mut entry = Entry {
        builder,
        pointer: module.isa().pointer_type(),
        null,
        misaligned,
        refused,
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
    let case = program.sizes.as_ref().map(|sizes| {
        let pointer = entry.load_checked(caller, field::SIZES, 8);
        bases[Slot::Sizes.number(program)] = Some(pointer);
        entry.case(pointer, sizes)
    });
    let mut ports = |base: Value, ports: &[Port], slot: fn(usize) -> Slot| {
        for (i, port) in ports.iter().enumerate() {
            let pointer = entry.load_checked(base, i, port.ty.dtype.bytes());
            bases[slot(i).number(program)] = Some(pointer);
        }
    };
    ports(inputs, &program.inputs, Slot::Input);
    ports(outputs, &program.outputs, Slot::Output);

    let region = bodies.iter().any(Option::is_some).then(|| entry.region(module, &bases, caller));
    let mut steps = Steps { placed, bodies, region, bases, case };
    entry.items(module, &mut steps, &items);
    entry.finish();
    Ok(context)
}

/// What steps are emitted with.
struct Steps<'a> {
    placed: Placed<'a>,
    /// A function for each step of several parts.
    bodies: &'a [Option<FuncId>],
    region: Option<Region>,
    /// The pointer of each slot.
    bases: Vec<Option<Value>>,
    /// Number of the case that the sizes choose.
    case: Option<Value>,
}

/// What the parts of all steps are run with.
struct Region {
    slot: StackSlot,
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
    /// Where sizes lead that are not allowed.
    refused: Block,
    frontend: TargetFrontendConfig,
}

impl Entry<'_> {
    /// Goes on in a block that nothing more will jump to.
    fn start(&mut self, block: Block) {
        self.builder.switch_to_block(block);
        self.builder.seal_block(block);
    }

    /// Leaves with an error when the pointer is null or not aligned.
    fn check(&mut self, pointer: Value, alignment: usize) {
        let next = self.builder.create_block();
        self.builder.ins().brif(pointer, next, &[], self.null, &[]);
        self.start(next);
        if alignment > 1 {
            let low = self.builder.ins().band_imm_u(pointer, alignment as i64 - 1);
            let aligned = self.builder.create_block();
            let zero = self.builder.ins().icmp_imm_s(IntCC::Equal, low, 0);
            self.builder.ins().brif(zero, aligned, &[], self.misaligned, &[]);
            self.start(aligned);
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

    /// Steps, branches and loops in order.
    fn items(&mut self, module: &mut dyn Module, steps: &mut Steps<'_>, items: &[Item<'_>]) {
        for item in items {
            match item {
                Item::Step(number) => self.step(module, steps, *number),
                Item::Branch(condition, then, otherwise) => {
                    let taken = self.load_control(module, steps, condition, types::I8);
                    let [yes, no, next] = [(); 3].map(|()| self.builder.create_block());
                    self.builder.ins().brif(taken, yes, &[], no, &[]);
                    for (block, items) in [(yes, then), (no, otherwise)] {
                        self.start(block);
                        self.items(module, steps, items);
                        self.builder.ins().jump(next, &[]);
                    }
                    self.start(next);
                }
                Item::Switch(cases) => self.choose(module, steps, cases),
                Item::Loop(count, limit, condition, body) => {
                    self.repeat(module, steps, *count, (*limit, *condition), body);
                }
            }
        }
    }

    /// Loads the sizes, leaves with an error when one is not allowed, and gives the number of their case.
    fn case(&mut self, pointer: Value, sizes: &Sizes) -> Value {
        let mut case = self.builder.ins().iconst(types::I64, 0);
        for (number, dim) in sizes.dims.iter().enumerate() {
            let size = self.builder.ins().load(types::I64, memory_flags(), pointer, 8 * number as i32);
            // Smaller ones become very large ones.
            let beyond = self.builder.ins().iadd_imm_s(size, -(dim.first as i64));
            let most = (dim.last - dim.first) as i64;
            let within = self.builder.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, beyond, most);
            self.unless(within);
            let step = self.builder.ins().iconst(types::I64, dim.step as i64);
            let position = self.builder.ins().udiv(beyond, step);
            let exact = self.builder.ins().imul(position, step);
            let exact = self.builder.ins().icmp(IntCC::Equal, exact, beyond);
            self.unless(exact);
            if Some(number) != sizes.batch {
                case = self.builder.ins().imul_imm_s(case, dim.count() as i64);
                case = self.builder.ins().iadd(case, position);
            }
        }
        case
    }

    /// Leaves with an error unless a size is allowed.
    fn unless(&mut self, allowed: Value) {
        let next = self.builder.create_block();
        self.builder.ins().brif(allowed, next, &[], self.refused, &[]);
        self.start(next);
    }

    fn choose(&mut self, module: &mut dyn Module, steps: &mut Steps<'_>, cases: &[Vec<Item<'_>>]) {
        let next = self.builder.create_block();
        let blocks: Vec<Block> = cases.iter().map(|_| self.builder.create_block()).collect();
        let mut switch = Switch::new();
        for (number, &block) in blocks.iter().enumerate() {
            switch.set_entry(number as u128, block);
        }
        let case = steps.case.unwrap_or_else(|| self.builder.ins().iconst(types::I64, 0));
        switch.emit(&mut self.builder, case, self.refused);
        for (&block, items) in blocks.iter().zip(cases) {
            self.start(block);
            self.items(module, steps, items);
            self.builder.ins().jump(next, &[]);
        }
        self.start(next);
    }

    fn repeat(
        &mut self,
        module: &mut dyn Module,
        steps: &mut Steps<'_>,
        count: usize,
        (limit, condition): (Option<&Argument>, Option<&Argument>),
        body: &[Item<'_>],
    ) {
        // As many as pointers have bits for; iterations beyond that would move past all memory.
        let mut end = self.builder.ins().iconst(types::I64, count as i64);
        if let Some(limit) = limit {
            let limit = self.load_control(module, steps, limit, types::I64);
            end = self.builder.ins().smin(end, limit);
        }
        let [head, run, next] = [(); 3].map(|()| self.builder.create_block());
        self.builder.append_block_param(head, types::I64);
        let zero = self.builder.ins().iconst(types::I64, 0);
        self.builder.ins().jump(head, &[zero.into()]);

        self.builder.switch_to_block(head);
        let iteration = self.builder.block_params(head)[0];
        let more = self.builder.ins().icmp(IntCC::SignedLessThan, iteration, end);
        if let Some(condition) = condition {
            let test = self.builder.create_block();
            self.builder.ins().brif(more, test, &[], next, &[]);
            self.start(test);
            let on = self.load_control(module, steps, condition, types::I8);
            self.builder.ins().brif(on, run, &[], next, &[]);
        } else {
            self.builder.ins().brif(more, run, &[], next, &[]);
        }

        self.start(run);
        let slot = Slot::Iteration.number(steps.placed.program);
        let number = match self.pointer {
            types::I64 => iteration,
            narrow => self.builder.ins().ireduce(narrow, iteration),
        };
        let outer = steps.bases[slot].replace(number);
        self.store_iteration(steps);
        self.items(module, steps, body);
        steps.bases[slot] = outer;
        let following = self.builder.ins().iadd_imm_s(iteration, 1);
        self.builder.ins().jump(head, &[following.into()]);
        self.builder.seal_block(head);

        self.start(next);
        // What follows in the loop around this one.
        self.store_iteration(steps);
    }

    /// Puts the number of the iteration where the parts of steps find it.
    fn store_iteration(&mut self, steps: &Steps<'_>) {
        let slot = Slot::Iteration.number(steps.placed.program);
        if let (Some(region), Some(iteration)) = (&steps.region, steps.bases[slot]) {
            let offset = (self.pointer.bytes() as usize * slot) as i32;
            self.builder.ins().stack_store(self.pointer, iteration, region.slot, offset);
        }
    }

    /// Loads what decides on a branch or a loop.
    fn load_control(
        &mut self,
        module: &mut dyn Module,
        steps: &Steps<'_>,
        argument: &Argument,
        ty: types::Type,
    ) -> Value {
        let (program, b) = (steps.placed.program, &mut self.builder);
        let base =
            |_: &mut FunctionBuilder<'_>, _: &mut dyn Module, slot: Slot| steps.bases[slot.number(program)];
        match steps.placed.address(b, module, argument, &mut { base }) {
            Some(address) => b.ins().load(ty, memory_flags(), address, 0),
            None => b.ins().iconst(ty, 0),
        }
    }

    fn step(&mut self, module: &mut dyn Module, steps: &Steps<'_>, number: usize) {
        let (program, bases) = (steps.placed.program, &steps.bases);
        let step = &program.steps[number];
        match (steps.bodies[number], &steps.region) {
            (Some(body), Some(region)) => self.at_once(module, region, body, step.parts.len()),
            _ => step.parts.iter().for_each(|calls| {
                let base =
                    |_: &mut FunctionBuilder<'_>, _: &mut dyn Module, slot: Slot| bases[slot.number(program)];
                steps.placed.emit(&mut self.builder, module, calls, &mut { base });
            }),
        }
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
            slot,
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
        for (block, status) in [
            (self.null, Status::NullPointer),
            (self.misaligned, Status::Misaligned),
            (self.refused, Status::Size),
        ] {
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
