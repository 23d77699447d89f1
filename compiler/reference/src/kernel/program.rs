//! Runs whole programs: the memory plan is taken at its word, so a wrong one shows.

use std::collections::HashSet;

use avocet_ir::kernel::Access;
use avocet_ir::program::{Argument, Call, Item, Port, Program, ProgramError, Signature, Step, Storage};
use avocet_ir::tensor::TensorData;
use avocet_ir::{Tensor, TensorType};

use super::{KernelRunError, Memory, run_kernel};

/// The order in which the parts of each step run: results may not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOrder {
    /// One after the other.
    Written,
    /// One after the other, the last first.
    Reversed,
    /// One call of each part in turn, the last part's first: as if all ran at the same time.
    Interleaved,
}

impl PartOrder {
    fn calls(self, step: &Step) -> Vec<&Call> {
        match self {
            PartOrder::Written => step.calls().collect(),
            PartOrder::Reversed => step.parts.iter().rev().flatten().collect(),
            PartOrder::Interleaved => {
                let longest = step.parts.iter().map(Vec::len).max().unwrap_or(0);
                (0..longest)
                    .flat_map(|i| step.parts.iter().rev().filter_map(move |calls| calls.get(i)))
                    .collect()
            }
        }
    }
}

/// Runs a program, parts in the order in which they are written. With a plan, temporaries are in one arena at their
/// offsets; without, each has its own memory.
///
/// A call that writes a temporary for the first time makes its memory count as unwritten first, unless the call may work
/// in place, so reading what another temporary left there is an error.
pub fn run_program(program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>, KernelRunError> {
    run_program_in(PartOrder::Written, program, inputs)
}

/// Runs a program with the parts of each step in an order.
pub fn run_program_in(
    order: PartOrder,
    program: &Program,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, KernelRunError> {
    program.verify()?;
    if inputs.len() != program.inputs.len() {
        let problem = format!("{} inputs for {}", inputs.len(), program.inputs.len());
        return Err(KernelRunError::Input { number: inputs.len(), problem });
    }
    let types: Vec<TensorType> = inputs.iter().map(Tensor::ty).collect();
    let (sizes, signature) = match &program.sizes {
        None => (Vec::new(), fixed(program)),
        Some(sizes) => {
            let given = sizes.of_inputs(&types);
            given.and_then(|given| Some((given.clone(), sizes.signature(&given)?))).ok_or_else(|| {
                let problem = format!("no sizes are allowed for inputs {types:?}");
                KernelRunError::Input { number: 0, problem }
            })?
        }
    };
    for (number, (got, expected)) in types.iter().zip(&signature.inputs).enumerate() {
        if got != expected {
            return Err(KernelRunError::Input { number, problem: format!("it is {got}, not {expected}") });
        }
    }
    let mut memories: Vec<Memory> = inputs.iter().map(|t| Memory::filled(t.data().to_le_bytes())).collect();
    let outputs = memories.len();
    memories.extend(signature.outputs.iter().map(|ty| Memory::new(ty.bytes())));
    let constants = memories.len();
    memories.extend(program.constants.iter().map(|c| Memory::filled(c.to_le_bytes())));
    let given = memories.len();
    memories.push(Memory::filled(sizes.iter().flat_map(|size| size.to_le_bytes()).collect()));
    let temporaries = memories.len();
    match &program.plan {
        Some(plan) => memories.push(Memory::new(plan.bytes)),
        None => memories.extend(program.temporaries.iter().map(|&bytes| Memory::new(bytes))),
    }
    let bases = Bases { outputs, constants, given, temporaries };
    let items = program.items().ok_or_else(|| ProgramError::Control("they do not nest".into()))?;
    let case = program.sizes.as_ref().and_then(|known| known.case(&sizes)).unwrap_or(0);
    let mut running = Running { order, program, bases, case, memories, begun: HashSet::new() };
    running.items(&items, 0)?;
    let memories = running.memories;
    let results = signature.outputs.iter().zip(&memories[outputs..]);
    results.map(|(ty, memory)| tensor(ty, memory)).collect()
}

/// The types of a program's ports.
fn fixed(program: &Program) -> Signature {
    let types = |ports: &[Port]| ports.iter().map(|port| port.ty.clone()).collect();
    Signature { inputs: types(&program.inputs), outputs: types(&program.outputs) }
}

/// Numbers of the first memory of each kind; inputs come first.
struct Bases {
    outputs: usize,
    constants: usize,
    given: usize,
    temporaries: usize,
}

/// A program as it runs.
struct Running<'a> {
    order: PartOrder,
    program: &'a Program,
    bases: Bases,
    /// The case that the sizes choose.
    case: usize,
    memories: Vec<Memory>,
    /// Temporaries that were written.
    begun: HashSet<usize>,
}

impl Running<'_> {
    /// Runs items within an iteration of the innermost loop.
    fn items(&mut self, items: &[Item<'_>], iteration: usize) -> Result<(), KernelRunError> {
        for item in items {
            match item {
                Item::Step(number) => {
                    for call in self.order.calls(&self.program.steps[*number]) {
                        self.call(call, iteration)?;
                    }
                }
                Item::Switch(cases) => self.items(&cases[self.case], iteration)?,
                Item::Branch(condition, then, otherwise) => {
                    let taken = if self.byte(condition, iteration) != 0 { then } else { otherwise };
                    self.items(taken, iteration)?;
                }
                Item::Loop(count, limit, condition, body) => {
                    let limit = limit.map_or(*count as i64, |limit| self.integer(limit, iteration));
                    for next in 0..(*count as i64).min(limit).max(0) as usize {
                        if condition.is_some_and(|condition| self.byte(condition, next) == 0) {
                            break;
                        }
                        self.items(body, next)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The memory that an argument is in, and where.
    fn place(&self, argument: &Argument, iteration: usize) -> (usize, usize) {
        let offset = (argument.offset as i64 + argument.stride * iteration as i64) as usize;
        match (argument.storage, &self.program.plan) {
            (Storage::Input(i), _) => (i, offset),
            (Storage::Output(i), _) => (self.bases.outputs + i, offset),
            (Storage::Constant(i), _) => (self.bases.constants + i, offset),
            (Storage::Size(i), _) => (self.bases.given, 8 * i + offset),
            (Storage::Temporary(i), Some(plan)) => (self.bases.temporaries, plan.offsets[i] + offset),
            (Storage::Temporary(i), None) => (self.bases.temporaries + i, offset),
        }
    }

    fn byte(&self, argument: &Argument, iteration: usize) -> u8 {
        let (memory, offset) = self.place(argument, iteration);
        self.memories[memory].bytes()[offset]
    }

    fn integer(&self, argument: &Argument, iteration: usize) -> i64 {
        let (memory, offset) = self.place(argument, iteration);
        let bytes = &self.memories[memory].bytes()[offset..][..8];
        bytes.iter().rev().fold(0, |number, &byte| number << 8 | i64::from(byte))
    }

    fn call(&mut self, call: &Call, iteration: usize) -> Result<(), KernelRunError> {
        let kernel = &self.program.kernels[call.kernel];
        for (number, (argument, buffer)) in call.arguments.iter().zip(&kernel.buffers).enumerate() {
            let Storage::Temporary(temporary) = argument.storage else { continue };
            let in_place = call.in_place.iter().any(|&(_, write)| write == number);
            if buffer.access == Access::Write && self.begun.insert(temporary) && !in_place {
                let (memory, start) = self.place(&argument.storage.into(), 0);
                self.memories[memory].poison(start, self.program.temporaries[temporary]);
            }
        }
        let buffers: Vec<_> = call.arguments.iter().map(|a| self.place(a, iteration)).collect();
        run_kernel(kernel, &mut self.memories, &buffers)
    }
}

fn tensor(ty: &TensorType, memory: &Memory) -> Result<Tensor, KernelRunError> {
    let data = TensorData::from_le_bytes(ty.dtype, memory.bytes());
    let broken = |problem: String| KernelRunError::Kernel { kernel: "output".into(), problem };
    if !memory.is_written() {
        return Err(broken("parts of an output were never written".into()));
    }
    Tensor::new(ty.shape.clone(), data).map_err(|e| broken(e.to_string()))
}
