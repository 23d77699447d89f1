//! The parts of a program that are timed one by one, and what each of them is: the one place that knows how a program is
//! divided.

use std::collections::{BTreeMap, BTreeSet};

use avocet_ir::Graph;
use avocet_ir::backend::MachineCode;
use avocet_ir::cost::{Work, costs, work};
use avocet_ir::program::{Program, Storage};

use crate::measure::Limits;

/// What is known of a part before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Name of the graph's node.
    pub(crate) node: String,
    /// Its operator; empty for copies that no node asks for.
    pub(crate) operator: String,
    /// Name of the kernel.
    pub(crate) kernel: String,
    /// Multiply-adds of the node as the literature counts them: products with padding too, idle lanes not.
    pub(crate) multiply_adds: u64,
    /// What the kernel does.
    pub(crate) work: Work,
    /// How often it runs at most; 1 where that is not known.
    pub(crate) runs: u64,
    /// Bytes of the constants that it reads.
    pub(crate) weight_bytes: u64,
    /// Bytes of everything else that it reads or writes, each once.
    pub(crate) activation_bytes: u64,
}

impl Part {
    /// Bytes that it moves.
    pub(crate) fn bytes(&self) -> u64 {
        self.weight_bytes + self.activation_bytes
    }

    /// Floating-point operations that this way of computing can't do without: those of the multiply-adds that the node
    /// needs, without activations and idle lanes; or all that the kernel does where it does fewer, as it leaves out
    /// products with padding, and where the node needs no multiply-adds, as in activations and pooling.
    pub(crate) fn operations(&self) -> u64 {
        match self.multiply_adds.saturating_mul(2) {
            0 => self.work.operations,
            needed => needed.min(self.work.operations),
        }
    }

    /// Least time in seconds by the machine's limits. Weights are read once in a run, so they come from where the whole
    /// model (`footprint` bytes) has room; activations were written just before, so from where the part's own bytes have.
    pub(crate) fn bound(&self, limits: &Limits, footprint: u64) -> f64 {
        let weights = limits.transfer(self.weight_bytes, footprint);
        let activations = limits.transfer(self.activation_bytes, self.bytes());
        limits.compute(self.operations()).max(weights + activations)
    }
}

/// Number of parts: a part is a step of the program.
pub(crate) fn count(program: &Program) -> usize {
    program.steps.len()
}

/// A part as a program of its own in the same memory, with the code of its kernels.
pub(crate) fn alone(program: &Program, code: &[MachineCode], part: usize) -> (Program, Vec<MachineCode>) {
    let mut step = program.steps[part].clone();
    let (mut kernels, mut codes) = (Vec::new(), Vec::new());
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    for call in step.parts.iter_mut().flatten() {
        // As in the first iteration of a loop.
        call.arguments.iter_mut().for_each(|argument| argument.stride = 0);
        call.kernel = *numbers.entry(call.kernel).or_insert_with(|| {
            kernels.push(program.kernels[call.kernel].clone());
            codes.push(code[call.kernel].clone());
            codes.len() - 1
        });
    }
    let part = Program {
        name: program.name.clone(),
        inputs: program.inputs.clone(),
        outputs: program.outputs.clone(),
        kernels,
        steps: vec![step],
        controls: Vec::new(),
        sizes: None,
        temporaries: program.temporaries.clone(),
        constants: program.constants.clone(),
        plan: program.plan.clone(),
    };
    (part, codes)
}

/// What each part is. `graph` is the one that the program was made from.
pub(crate) fn parts(program: &Program, graph: &Graph) -> Vec<Part> {
    let works: Vec<Work> = program.kernels.iter().map(work).collect();
    let mut executed: BTreeMap<&str, u64> = BTreeMap::new();
    for call in program.calls() {
        *executed.entry(&call.node).or_default() += works[call.kernel].multiply_adds;
    }
    let mut needed: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    note_needs(graph, &mut needed);
    program
        .steps
        .iter()
        .enumerate()
        .map(|(number, step)| {
            let mut part = Part { runs: runs(program, number), ..Part::default() };
            let mut seen = BTreeSet::new();
            // Multiply-adds that the step does for each node.
            let mut done: BTreeMap<&str, u64> = BTreeMap::new();
            for call in step.calls() {
                let kernel = &program.kernels[call.kernel];
                let (_, operator) = needed.get(call.node.as_str()).copied().unwrap_or_default();
                join(&mut part.node, &call.node);
                join(&mut part.operator, operator);
                join(&mut part.kernel, &kernel.name);
                let own = works[call.kernel];
                *done.entry(call.node.as_str()).or_default() += own.multiply_adds;
                part.work.operations += own.operations;
                part.work.multiply_adds += own.multiply_adds;
                for (argument, buffer) in call.arguments.iter().zip(&kernel.buffers) {
                    if seen.insert((argument.storage, argument.offset)) {
                        match argument.storage {
                            Storage::Constant(_) => part.weight_bytes += buffer.bytes() as u64,
                            _ => part.activation_bytes += buffer.bytes() as u64,
                        }
                    }
                }
            }
            // A node may be several steps, such as padding and convolution: each has its share of what is needed.
            for (node, done) in done {
                let (needed, _) = needed.get(node).copied().unwrap_or_default();
                let all = executed.get(node).copied().unwrap_or_default();
                let share = u128::from(needed) * u128::from(done) / u128::from(all.max(1));
                part.multiply_adds += u64::try_from(share).unwrap_or(u64::MAX);
            }
            part
        })
        .collect()
}

/// How often a step runs at most, where there is a bound that says something.
fn runs(program: &Program, step: usize) -> u64 {
    const MOST: u64 = 1 << 32;
    let runs = program.runs(step) as u64;
    if runs > MOST { 1 } else { runs }
}

/// Multiply-adds that each node needs when it is computed once, and its operator; those of regions as well.
fn note_needs<'a>(graph: &'a Graph, needed: &mut BTreeMap<&'a str, (u64, &'a str)>) {
    for (id, cost) in costs(graph).0 {
        let node = graph.node(id);
        let regions = node.op.regions();
        let own = if regions.is_empty() { cost.multiply_adds } else { 0 };
        needed.entry(&node.name).or_insert((0, node.op.name())).0 += own;
        regions.into_iter().for_each(|region| note_needs(region.graph(), needed));
    }
}

/// Appends a name unless it is there already.
fn join(names: &mut String, name: &str) {
    if names.is_empty() {
        names.push_str(name);
    } else if !name.is_empty() && !names.split(" + ").any(|known| known == name) {
        names.push_str(" + ");
        names.push_str(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_that_can_not_be_left_out() {
        let part = |multiply_adds, operations| {
            let work = Work { operations, multiply_adds: operations / 2 };
            Part { multiply_adds, work, ..Part::default() }.operations()
        };
        assert_eq!(part(10, 24), 20, "idle lanes and activations are no need of the node");
        assert_eq!(part(10, 16), 16, "products with padding that the kernel leaves out");
        assert_eq!(part(0, 7), 7, "nodes without multiply-adds");
    }

    #[test]
    fn names_are_joined_once_each() {
        let mut names = String::new();
        ["a", "a", "", "b", "a"].iter().for_each(|name| join(&mut names, name));
        assert_eq!(names, "a + b");
    }
}
