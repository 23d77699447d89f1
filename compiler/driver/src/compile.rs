//! The way from a model to machine code: passes, schedules, kernels, memory plan, code.

use avocet_ir::Graph;
use avocet_ir::backend::{Backend, MachineCode};
use avocet_ir::kernel::Element;
use avocet_ir::program::Program;
use avocet_ir::schedule::Schedules;
use avocet_kernels::{join_cases, lower};
use avocet_passes::partition::{Partition, partition};
use avocet_passes::schedule::{Machine, ScheduleOptions, schedule};
use avocet_passes::sharing::Packings;
use avocet_passes::tuned::{self, Applied};
use avocet_passes::{Context, memory, run_all};
use avocet_reference::Reference;
use avocet_target_cranelift::emit::compile_kernels;
use avocet_target_spec::Target;

pub use avocet_target_cranelift::emit::Weights;

use crate::artifact::Artifact;
use crate::backends::Backends;
use crate::error::Error;
use crate::model::Model;
use crate::tune::Tuned;

/// How a model is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the C functions and files; by default the model's, with what C does not allow replaced by underscores.
    pub name: Option<String>,
    /// Where the weights of what is written are.
    pub weights: Weights,
    /// Verify the graph after every pass and check the memory plan twice: on in debug builds.
    pub verify: bool,
    /// Only methods whose rounding errors are those of plain sums. Without it convolutions may go by Winograd's method
    /// and matrix products by Strassen's, which round a little more.
    pub exact: bool,
    /// Most parts that the work of an operator is divided into, for hosts that run it on several threads; 1 for none. The
    /// results are the same for any number of threads.
    pub parts: usize,
    /// Whether operators between which much would be stored are computed together, strip by strip.
    pub fuse: bool,
    /// Choices that were measured, which take the place of the cost model's.
    pub tuned: Tuned,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: None,
            weights: Weights::Embedded,
            verify: cfg!(debug_assertions),
            exact: false,
            parts: 4,
            fuse: true,
            tuned: Tuned::default(),
        }
    }
}

/// Where a compilation is, for progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After a pass of this name.
    Pass(String),
    /// A case of the sizes that are given at the call is being read and lowered.
    Case {
        /// Its number, from 1.
        number: usize,
        /// Cases in all.
        of: usize,
    },
    /// Kernels are being generated.
    Lowering,
    /// Memory is being planned.
    Planning,
    /// Machine code of so many kernels is being made.
    Code {
        /// Kernels done.
        done: usize,
        /// Kernels in all.
        of: usize,
    },
}

impl Model {
    /// Compiles the model for a target.
    pub fn compile(&self, target: &Target, options: &Options) -> Result<Artifact, Error> {
        self.compile_with(target, options, &|_| {})
    }

    /// Compiles the model and tells where it is.
    pub fn compile_with(
        &self,
        target: &Target,
        options: &Options,
        progress: &(dyn Fn(Stage) + Sync),
    ) -> Result<Artifact, Error> {
        let name = match &options.name {
            Some(name) if is_identifier(name) => name.clone(),
            Some(name) => return Err(Error::Name(name.clone())),
            None => identifier(self.name()),
        };
        let backend = Backends::new(target)?;
        let machine = machine(target, &backend);
        let (graph, schedules, applied, program) = match self.dynamic() {
            None => self.lowered(target, &machine, options, None, progress)?,
            Some(dynamic) => {
                let of = dynamic.count();
                // The last case is the largest: the others use its weights where they can.
                let largest = dynamic.case(of.saturating_sub(1))?;
                let mut packings = Packings::default();
                largest.scheduled(target, &machine, options, Some(&mut packings), &|_| {})?;
                drop(largest);
                let mut last = None;
                let mut failed = None;
                let cases = (0..of).map_while(|case| {
                    progress(Stage::Case { number: case + 1, of });
                    let model = dynamic.case(case);
                    let lowered =
                        |model: Model| model.lowered(target, &machine, options, Some(&mut packings), &|_| {});
                    match model.and_then(lowered) {
                        Ok((graph, schedules, applied, program)) => {
                            last = Some((graph, schedules, applied));
                            Some(Ok(program))
                        }
                        Err(error) => {
                            failed = Some(error);
                            None
                        }
                    }
                });
                let dims = (dynamic.dims.clone(), dynamic.batch);
                let program = join_cases(dims, dynamic.batched.clone(), machine.lanes == 1, cases);
                if let Some(error) = failed {
                    return Err(error);
                }
                let mut program = program?;
                program.name = self.name().into();
                let (graph, schedules, applied) = last.ok_or_else(|| Error::Memory("no case".into()))?;
                (graph, schedules, applied, program)
            }
        };
        let (program, code) = finish(program, &backend, options.verify, progress)?;
        Ok(Artifact {
            name,
            target: target.clone(),
            weights: options.weights,
            graph,
            schedules,
            applied,
            program,
            code,
        })
    }

    /// The graph after all passes, with schedules, not yet in parts. With `packings`, weights are packed as they are there
    /// already where that costs little.
    fn scheduled(
        &self,
        target: &Target,
        machine: &Machine,
        options: &Options,
        packings: Option<&mut Packings>,
        progress: &dyn Fn(Stage),
    ) -> Result<(Graph, Schedules, Applied), Error> {
        let graph = self.optimised(options, progress)?;
        let schedule_options = ScheduleOptions { exact: options.exact };
        let mut schedules = schedule(&graph, machine, schedule_options)?;
        let choices = options.tuned.choices(target, options.exact);
        let applied = tuned::apply(&graph, &mut schedules, machine, schedule_options, &choices);
        if let Some(packings) = packings {
            packings.share(&graph, &mut schedules, machine, schedule_options);
        }
        Ok((graph, schedules, applied))
    }

    /// The model as a program without a memory plan, and what it was made from.
    fn lowered(
        &self,
        target: &Target,
        machine: &Machine,
        options: &Options,
        packings: Option<&mut Packings>,
        progress: &dyn Fn(Stage),
    ) -> Result<(Graph, Schedules, Applied, Program), Error> {
        let (graph, mut schedules, applied) = self.scheduled(target, machine, options, packings, progress)?;
        let choices = Partition { parts: options.parts, fuse: options.fuse };
        partition(&graph, &mut schedules, machine, &choices);
        progress(Stage::Lowering);
        let program = lower(&graph, &schedules)?;
        Ok((graph, schedules, applied, program))
    }

    /// The graph after all passes.
    pub(crate) fn optimised(&self, options: &Options, progress: &dyn Fn(Stage)) -> Result<Graph, Error> {
        let mut graph = self.graph().clone();
        let context = Context { verify: options.verify, ..Context::new(&Reference) };
        run_all(&mut graph, &context, &mut |pass, _, _| progress(Stage::Pass(pass.into())))?;
        Ok(graph)
    }
}

/// What schedules must know of a target.
pub(crate) fn machine(target: &Target, backend: &dyn Backend) -> Machine {
    Machine {
        lanes: backend.lanes(Element::F32),
        registers: backend.vector_registers(),
        multiply_add: target.issue.multiply_add as usize,
        loads: target.issue.loads as usize,
        l2: target.caches.l2 as usize,
        permutes: backend.permutes(),
        strassen: matches!(target.triple.architecture, target_lexicon::Architecture::X86_64),
    }
}

/// The program of a scheduled graph, planned, and its machine code.
pub(crate) fn generate(
    graph: &Graph,
    schedules: &Schedules,
    backend: &dyn Backend,
    verify: bool,
    progress: &(dyn Fn(Stage) + Sync),
) -> Result<(Program, Vec<MachineCode>), Error> {
    progress(Stage::Lowering);
    finish(lower(graph, schedules)?, backend, verify, progress)
}

/// A program with its memory plan, and its machine code.
fn finish(
    mut program: Program,
    backend: &dyn Backend,
    verify: bool,
    progress: &(dyn Fn(Stage) + Sync),
) -> Result<(Program, Vec<MachineCode>), Error> {
    progress(Stage::Planning);
    let plan = memory::plan(&program).map_err(|e| Error::Memory(e.to_string()))?;
    if verify {
        memory::checker::check(&program, &plan).map_err(|e| Error::Memory(e.to_string()))?;
    }
    program.plan = Some(plan);
    let of = program.kernels.len();
    let code = compile_kernels(&program, backend, &|done| progress(Stage::Code { done, of }))?;
    Ok((program, code))
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The name with what C does not allow replaced.
fn identifier(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(100).collect();
    if !is_identifier(&out) {
        out.insert_str(0, "net_");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        for (name, expected) in
            [("mobilenet-v2", "mobilenet_v2"), ("2d", "net_2d"), ("", "net_"), ("naïve", "na_ve")]
        {
            assert_eq!(identifier(name), expected);
            assert!(is_identifier(expected));
        }
        assert!(!is_identifier("a b") && !is_identifier("3x") && !is_identifier(""));
    }
}
