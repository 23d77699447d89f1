//! From machine code to an object file: kernels as local functions, the entry function, the weights.

use std::sync::atomic::{AtomicUsize, Ordering};

use avocet_ir::backend::{Backend, BackendError, MachineCode};
use avocet_ir::program::{ALIGNMENT, Program};
use avocet_target_spec::Target;
use cranelift_codegen::Context;
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, ModuleError};
use cranelift_object::{ObjectBuilder, ObjectModule};
use thiserror::Error;

use crate::calls::{Placed, body_signature};
use crate::isa::{IsaError, Use, isa};
use crate::unwind::{self, Framed};
use crate::{entry, frame};

/// Why machine code could not be made or placed.
#[derive(Debug, Error)]
pub enum EmitError {
    /// A kernel could not be compiled.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The target is not supported.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// Cranelift refused something.
    #[error("placing machine code: {0}")]
    Module(#[source] Box<ModuleError>),
    /// The object file could not be written.
    #[error("writing the object file: {0}")]
    Object(String),
    /// Branches and loops of the program do not nest.
    #[error("the program's branches and loops do not nest")]
    Controls,
    /// The program has no memory plan.
    #[error("the program has no memory plan")]
    Unplanned,
    /// This process can't run code for the target.
    #[error("target '{target}' is not what this process runs on: {problem}")]
    NotHost {
        /// Name of the target.
        target: String,
        /// What differs.
        problem: String,
    },
}

impl From<ModuleError> for EmitError {
    fn from(error: ModuleError) -> Self {
        EmitError::Module(Box::new(error))
    }
}

/// Where the constants are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// In the object's read-only data.
    Embedded,
    /// Passed by the caller in the context.
    External,
}

/// Compiles all kernels of a program, on as many threads as there are cores; `progress` is told how many are done, from
/// any of them. The result is in the kernels' order.
pub fn compile_kernels(
    program: &Program,
    backend: &dyn Backend,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<MachineCode>, BackendError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(program.kernels.len());
    let mut results: Vec<Option<Result<MachineCode, BackendError>>> = Vec::new();
    results.resize_with(program.kernels.len(), || None);
    let next = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(kernel) = program.kernels.get(number) else { return done };
                        done.push((number, backend.compile(kernel)));
                        progress(finished.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => done.into_iter().for_each(|(number, result)| results[number] = Some(result)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    let missing = |number: usize| BackendError {
        kernel: program.kernels[number].name.clone(),
        problem: "it was not compiled".into(),
    };
    results.into_iter().enumerate().map(|(n, r)| r.unwrap_or_else(|| Err(missing(n)))).collect()
}

/// Puts kernels, weights, the functions of steps with several parts and the entry function `{symbol}_invoke` into a module.
/// The result is the entry function, and all functions with what they do to their callers' frames.
pub(crate) fn define(
    module: &mut dyn Module,
    program: &Program,
    code: &[MachineCode],
    symbol: &str,
    weights: Weights,
) -> Result<(FuncId, Vec<Framed>), EmitError> {
    if program.plan.is_none() && !program.temporaries.is_empty() {
        return Err(EmitError::Unplanned);
    }
    let mut kernels = Vec::with_capacity(code.len());
    let mut functions = Vec::with_capacity(code.len() + program.steps.len() + 1);
    for (kernel, code) in program.kernels.iter().zip(code) {
        let signature = crate::translate::signature(kernel.buffers.len(), module.isa());
        let name = format!("{symbol}_kernel_{}", kernel.name);
        let id = module.declare_function(&name, Linkage::Local, &signature)?;
        module.define_function_bytes(id, code.alignment, &code.bytes, &[])?;
        functions.push(Framed { function: id, bytes: code.bytes.len(), changes: code.frame.clone() });
        kernels.push(id);
    }
    let data = match weights {
        Weights::Embedded if !program.constants.is_empty() => Some(weights_data(module, program, symbol)?),
        _ => None,
    };
    let (constants, _) = program.constant_layout();
    let placed = Placed { program, kernels: &kernels, weights: data, constants: &constants };
    let mut bodies = Vec::with_capacity(program.steps.len());
    for (number, step) in program.steps.iter().enumerate() {
        let body = match step.parts.len() {
            0 | 1 => None,
            _ => {
                let mut context = placed.body(module, &step.parts);
                let name = format!("{symbol}_step_{number}");
                let id = module.declare_function(&name, Linkage::Local, &body_signature(module.isa()))?;
                functions.push(define_function(module, id, &mut context)?);
                Some(id)
            }
        };
        bodies.push(body);
    }
    let mut context = entry::build(placed, module, &bodies)?;
    let name = format!("{symbol}_invoke");
    let id = module.declare_function(&name, Linkage::Export, &entry::signature(module.isa()))?;
    functions.push(define_function(module, id, &mut context)?);
    Ok((id, functions))
}

/// Compiles a function into the module.
fn define_function(
    module: &mut dyn Module,
    function: FuncId,
    context: &mut Context,
) -> Result<Framed, EmitError> {
    module.define_function(function, context)?;
    let code = context.compiled_code().ok_or_else(|| EmitError::Object("a function has no code".into()))?;
    let changes = frame::changes(code, module.isa()).map_err(EmitError::Object)?;
    Ok(Framed { function, bytes: code.buffer.data().len(), changes })
}

fn weights_data(module: &mut dyn Module, program: &Program, symbol: &str) -> Result<DataId, EmitError> {
    let id = module.declare_data(&format!("{symbol}_weights"), Linkage::Local, false, false)?;
    let mut description = DataDescription::new();
    description.define(program.constant_block().into_boxed_slice());
    description.set_align(ALIGNMENT as u64);
    module.define_data(id, &description)?;
    Ok(id)
}

/// A relocatable, position-independent object file that defines `{symbol}_invoke` and needs nothing.
pub fn object(
    program: &Program,
    code: &[MachineCode],
    target: &Target,
    symbol: &str,
    weights: Weights,
) -> Result<Vec<u8>, EmitError> {
    let names = cranelift_module::default_libcall_names();
    let isa = isa(target, Use::Object)?;
    let mut module = ObjectModule::new(ObjectBuilder::new(isa.clone(), program.name.as_bytes(), names)?);
    let (_, functions) = define(&mut module, program, code, symbol, weights)?;
    let mut product = module.finish();
    unwind::add_to_object(&mut product, isa.as_ref(), &functions).map_err(EmitError::Object)?;
    product.emit().map_err(|e| EmitError::Object(e.to_string()))
}
