//! What a compiled model executes on its target, without running it: instructions of one inference, and how many of them
//! are multiply-adds.
//!
//! Kernels have static loops only, so counting is exact ([`count`](self) says where not) and needs neither the processor
//! nor an emulator; tests hold it against what an emulator executes. The few instructions between kernels' calls are not
//! counted. What comes in is an [`Artifact`]; what goes out says nothing about time.

mod aarch64;
mod count;
mod instruction;
mod riscv;
mod table;
mod x86;

use std::collections::BTreeMap;

use avocet_ir::cost::{costs, work};
use serde::Serialize;

use crate::artifact::Artifact;
use crate::error::Error;
use crate::sizes::SizesError;
use count::{Count, count};
use instruction::Instruction;

pub use table::table;

/// What one inference executes.
#[derive(Clone, Debug, Serialize)]
pub struct Simulation {
    /// Name of the model.
    pub model: String,
    /// Name of the target.
    pub target: String,
    /// Multiply-adds of the network, as the literature counts them.
    pub needed_multiply_adds: u64,
    /// Whether counts are upper bounds, since kernels have branches other than those of their loops.
    pub at_most: bool,
    /// All kernels.
    pub total: Share,
    /// By the kind of kernel, the largest first.
    pub kinds: Vec<Share>,
    /// By the graph's node that is computed, in the order of execution.
    pub nodes: Vec<Share>,
    /// The loops with multiply-adds that have no other within, of each kernel that is called.
    pub inner_loops: Vec<InnerLoop>,
}

/// A loop of the machine code that has no other within.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InnerLoop {
    /// Name of the kernel.
    pub kernel: String,
    /// Its instructions.
    pub instructions: u64,
    /// Those of them that multiply and add.
    pub multiply_add_instructions: u64,
    /// Those of them that use the stack.
    pub stack_instructions: u64,
    /// How often it runs in one inference.
    pub iterations: u64,
}

/// What some of the calls execute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// What they have in common.
    pub name: String,
    /// Calls of kernels.
    pub calls: u64,
    /// Instructions.
    pub instructions: u64,
    /// Instructions that multiply and add; where the target has none, those that multiply.
    pub multiply_add_instructions: u64,
    /// Multiply-adds of single numbers that these do, idle lanes of tails included.
    pub multiply_adds: u64,
    /// Instructions in loops that have no other within.
    pub inner_instructions: u64,
    /// Those of them that multiply and add.
    pub inner_multiply_add_instructions: u64,
    /// Those of them that use the stack: values that did not stay in registers.
    pub inner_stack_instructions: u64,
}

impl Share {
    /// Multiply-adds as a part of the instructions of inner loops; 0 where there are none.
    pub fn of_inner_loops(&self) -> f64 {
        self.inner_multiply_add_instructions as f64 / self.inner_instructions.max(1) as f64
    }

    fn add(&mut self, count: &Count, multiply_adds: u64, times: u64) {
        let add = |sum: &mut u64, one: u64| *sum = sum.saturating_add(one.saturating_mul(times));
        add(&mut self.calls, 1);
        add(&mut self.instructions, count.all.instructions);
        add(&mut self.multiply_add_instructions, count.all.multiply_adds);
        add(&mut self.multiply_adds, multiply_adds);
        add(&mut self.inner_instructions, count.inner.instructions);
        add(&mut self.inner_multiply_add_instructions, count.inner.multiply_adds);
        add(&mut self.inner_stack_instructions, count.inner.stack);
    }
}

/// Counts what one inference executes.
pub fn simulate(artifact: &Artifact) -> Result<Simulation, Error> {
    let program = artifact.program();
    if let Some(sizes) = &program.sizes {
        return Err(SizesError::OneSize("a count of instructions", sizes.to_string()).into());
    }
    let counts = program.kernels.iter().zip(&artifact.code).map(|(kernel, code)| {
        let count = count(kernel, &code.bytes, decoder(artifact)?);
        count.map_err(|problem| Error::Simulate { kernel: kernel.name.clone(), problem })
    });
    let counts = counts.collect::<Result<Vec<Count>, Error>>()?;
    let mut total = Share { name: "all".into(), ..Share::default() };
    let (mut kinds, mut nodes): (Vec<Share>, Vec<Share>) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls = vec![0u64; counts.len()];
    let all = program.steps.iter().enumerate().flat_map(|(number, step)| {
        let runs = program.runs(number) as u64;
        step.calls().map(move |call| (call, runs))
    });
    for (call, runs) in all {
        let (count, kernel) = (&counts[call.kernel], &program.kernels[call.kernel]);
        let multiply_adds = work(kernel).multiply_adds;
        total.add(count, multiply_adds, runs);
        calls[call.kernel] = calls[call.kernel].saturating_add(runs);
        let kind = kernel.name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
        let kind = kinds.iter().position(|share| share.name == kind).unwrap_or_else(|| {
            kinds.push(Share { name: kind.into(), ..Share::default() });
            kinds.len() - 1
        });
        kinds[kind].add(count, multiply_adds, runs);
        let node = *places.entry(&call.node).or_insert_with(|| {
            nodes.push(Share { name: call.node.clone(), ..Share::default() });
            nodes.len() - 1
        });
        nodes[node].add(count, multiply_adds, runs);
    }
    kinds.sort_by_key(|share| std::cmp::Reverse(share.instructions));
    let mut inner_loops = Vec::new();
    for ((kernel, count), calls) in program.kernels.iter().zip(&counts).zip(calls) {
        let loops = count.loops.iter().filter(|(body, _)| body.multiply_adds > 0);
        inner_loops.extend(loops.map(|&(body, times)| InnerLoop {
            kernel: kernel.name.clone(),
            instructions: body.instructions,
            multiply_add_instructions: body.multiply_adds,
            stack_instructions: body.stack,
            iterations: times.saturating_mul(calls),
        }));
    }
    Ok(Simulation {
        model: artifact.program().name.clone(),
        target: artifact.target().name.clone(),
        needed_multiply_adds: costs(artifact.graph()).1.multiply_adds,
        // Of two branches both count, of loops as many iterations as there can be.
        at_most: !program.controls.is_empty() || program.calls().any(|call| counts[call.kernel].at_most),
        total,
        kinds,
        nodes,
        inner_loops,
    })
}

type Decoder = Box<dyn Fn(&[u8], usize) -> Option<Instruction>>;

/// What reads the target's instructions.
fn decoder(artifact: &Artifact) -> Result<Decoder, Error> {
    use target_lexicon::Architecture;
    let target = artifact.target();
    let fused = target.vector.fma;
    match target.triple.architecture {
        Architecture::X86_64 => Ok(Box::new(move |code, place| x86::decode(code, place, fused))),
        Architecture::Aarch64(_) => Ok(Box::new(aarch64::decode)),
        Architecture::Riscv64(_) => Ok(Box::new(riscv::decode)),
        other => Err(Error::Simulate { kernel: String::new(), problem: format!("{other} can't be read") }),
    }
}
