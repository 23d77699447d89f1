//! Compiled models in this process: typed, checked, and safe to share between threads.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::{Duration, Instant};

use avocet_ir::program::{Port, Program, Sizes};
use avocet_ir::tensor::{DType, TensorData};
use avocet_ir::{Tensor, TensorType, of_any_type};
use avocet_runtime::{Arena, Context, Pool, Status};
use avocet_target_cranelift::jit::Code;
use thiserror::Error;

use crate::ports::PortError;

/// Why a compiled model did not run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// Another number of inputs than the model has.
    #[error("{got} inputs for a model of {expected}")]
    InputCount {
        /// Inputs that the model has.
        expected: usize,
        /// Inputs that were given.
        got: usize,
    },
    /// An input of another type or shape.
    #[error("input '{name}' is {expected}, but {got} was given")]
    InputType {
        /// Name of the input.
        name: String,
        /// What it is.
        expected: TensorType,
        /// What was given.
        got: TensorType,
    },
    /// A name is not one of the model's, is there twice, or missing.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Inputs for which the model has no sizes.
    #[error("inputs {got} are of no sizes that the model takes: {dims}")]
    Sizes {
        /// What was given.
        got: String,
        /// The model's sizes.
        dims: String,
    },
    /// There is not enough memory for the intermediate tensors.
    #[error("there is no memory for an arena of {0} bytes")]
    Memory(usize),
    /// Threads could not be started; the text says why.
    #[error("starting {threads} threads: {problem}")]
    Threads {
        /// Threads that were asked for.
        threads: usize,
        /// The operating system's reason.
        problem: String,
    },
    /// The compiled code refused its pointers; a defect of avocet.
    #[error("the compiled code returned status {0} (please report this)")]
    Status(i32),
}

/// A compiled model in executable memory. May be shared between threads; each run, or each [`Session`], has its own
/// arena.
#[derive(Debug)]
pub struct Compiled {
    code: Code,
    /// Code of the program's parts, one after the other the same as `code`; only there to be timed one by one.
    parts: Vec<Code>,
    weights: Arena,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    sizes: Option<Sizes>,
    arena_bytes: usize,
}

impl Compiled {
    pub(crate) fn new(code: Code, parts: Vec<Code>, program: &Program) -> Self {
        Compiled {
            code,
            parts,
            weights: Arena::copy_of(&program.constant_block()),
            inputs: program.inputs.clone(),
            outputs: program.outputs.clone(),
            sizes: program.sizes.clone(),
            arena_bytes: program.plan.as_ref().map_or(0, |plan| plan.bytes),
        }
    }

    /// The sizes that follow from the inputs of a run, if there are any: inputs and outputs are of the largest then.
    pub fn sizes(&self) -> Option<&Sizes> {
        self.sizes.as_ref()
    }

    /// Inputs, in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// Outputs, in order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Bytes of intermediate tensors that a run needs.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Runs the model once. For many runs a [`Session`] saves the allocations.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let mut session = self.session()?;
        session.run(inputs)?;
        Ok(session.into_outputs())
    }

    /// Memory for runs one after the other, on the caller's thread.
    pub fn session(&self) -> Result<Session<'_>, RunError> {
        self.session_with_threads(1)
    }

    /// Memory for runs one after the other, and threads to share the work of each run; the results are the same for any
    /// number of threads.
    pub fn session_with_threads(&self, threads: usize) -> Result<Session<'_>, RunError> {
        let failed = |e: std::io::Error| RunError::Threads { threads, problem: e.to_string() };
        let pool = if threads > 1 { Some(Pool::new(threads).map_err(failed)?) } else { None };
        let arena = Arena::try_new(self.arena_bytes).ok_or(RunError::Memory(self.arena_bytes))?;
        let outputs = self.outputs.iter().map(|port| Buffer::new(&port.ty)).collect();
        let types = self.outputs.iter().map(|port| port.ty.clone()).collect();
        Ok(Session { model: self, pool, arena, outputs, types })
    }
}

/// Room for one output.
#[derive(Debug)]
enum Buffer {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    Bytes(Vec<u8>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

impl Buffer {
    fn new(ty: &TensorType) -> Self {
        let count = ty.shape.elements();
        match ty.dtype {
            DType::F32 => Buffer::F32(vec![0.0; count]),
            DType::I64 => Buffer::I64(vec![0; count]),
            DType::I32 => Buffer::I32(vec![0; count]),
            DType::Bool | DType::U8 => Buffer::Bytes(vec![0; count]),
            DType::I8 => Buffer::I8(vec![0; count]),
            DType::I16 => Buffer::I16(vec![0; count]),
            DType::U16 => Buffer::U16(vec![0; count]),
            DType::U32 => Buffer::U32(vec![0; count]),
            DType::U64 => Buffer::U64(vec![0; count]),
        }
    }

    fn as_mut_ptr(&mut self) -> *mut c_void {
        match self {
            Buffer::F32(data) => data.as_mut_ptr().cast(),
            Buffer::I64(data) => data.as_mut_ptr().cast(),
            Buffer::I32(data) => data.as_mut_ptr().cast(),
            Buffer::Bytes(data) => data.as_mut_ptr().cast(),
            Buffer::I8(data) => data.as_mut_ptr().cast(),
            Buffer::I16(data) => data.as_mut_ptr().cast(),
            Buffer::U16(data) => data.as_mut_ptr().cast(),
            Buffer::U32(data) => data.as_mut_ptr().cast(),
            Buffer::U64(data) => data.as_mut_ptr().cast(),
        }
    }

    /// The first so many elements.
    fn into_data(self, dtype: DType, count: usize) -> TensorData {
        fn first<T: Clone>(mut data: Vec<T>, count: usize) -> Arc<[T]> {
            data.truncate(count);
            data.into()
        }
        match self {
            Buffer::F32(data) => TensorData::F32(first(data, count)),
            Buffer::I64(data) => TensorData::I64(first(data, count)),
            Buffer::I32(data) => TensorData::I32(first(data, count)),
            Buffer::Bytes(data) if dtype == DType::Bool => {
                TensorData::Bool(first(data, count).iter().map(|&b| b != 0).collect())
            }
            Buffer::Bytes(data) => TensorData::U8(first(data, count)),
            Buffer::I8(data) => TensorData::I8(first(data, count)),
            Buffer::I16(data) => TensorData::I16(first(data, count)),
            Buffer::U16(data) => TensorData::U16(first(data, count)),
            Buffer::U32(data) => TensorData::U32(first(data, count)),
            Buffer::U64(data) => TensorData::U64(first(data, count)),
        }
    }
}

fn pointer(tensor: &Tensor) -> *const c_void {
    of_any_type!(tensor.data(), data => data.as_ptr().cast())
}

/// A compiled model with memory of its own for runs one after the other.
#[derive(Debug)]
pub struct Session<'a> {
    model: &'a Compiled,
    pool: Option<Pool>,
    arena: Arena,
    outputs: Vec<Buffer>,
    /// What the outputs of the last run are; what is beyond in the buffers has no meaning.
    types: Vec<TensorType>,
}

impl Session<'_> {
    /// The model.
    pub(crate) fn model(&self) -> &Compiled {
        self.model
    }

    /// Runs the model; the results stay in the session.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<(), RunError> {
        let model = self.model;
        self.invoke(std::slice::from_ref(&model.code), inputs, |_, _| {})
    }

    /// Runs the model part by part; `clock` is told what each took. Without parts it does nothing.
    pub(crate) fn run_parts(
        &mut self,
        inputs: &[Tensor],
        clock: impl FnMut(usize, Duration),
    ) -> Result<(), RunError> {
        let model = self.model;
        self.invoke(&model.parts, inputs, clock)
    }

    /// Calls codes of the model, its own or all of its parts, one after the other.
    fn invoke(
        &mut self,
        codes: &[Code],
        inputs: &[Tensor],
        mut clock: impl FnMut(usize, Duration),
    ) -> Result<(), RunError> {
        let expected = &self.model.inputs;
        if inputs.len() != expected.len() {
            return Err(RunError::InputCount { expected: expected.len(), got: inputs.len() });
        }
        let sizes = self.sizes(inputs)?;
        for (tensor, port) in inputs.iter().zip(expected).filter(|_| self.model.sizes.is_none()) {
            if tensor.ty() != port.ty {
                let (name, expected) = (port.name.clone(), port.ty.clone());
                return Err(RunError::InputType { name, expected, got: tensor.ty() });
            }
        }
        let inputs: Vec<*const c_void> = inputs.iter().map(pointer).collect();
        let outputs: Vec<*mut c_void> = self.outputs.iter_mut().map(Buffer::as_mut_ptr).collect();
        let context = Context::new(self.arena.as_mut_ptr(), self.model.weights.as_ptr());
        let context = self.pool.as_ref().map_or(context, |pool| context.with_pool(pool));
        let context = if sizes.is_empty() { context } else { context.with_sizes(&sizes) };
        for (number, code) in codes.iter().enumerate() {
            let start = Instant::now();
            // SAFETY: inputs were just checked to be of the model's types, or of those for the sizes, outputs were made of
            // the largest and the arena of the plan's size, all exclusively borrowed or owned by this session, and so is the pool; the weights are the
            // program's constants. A part of the program has the same inputs, outputs, plan and constants.
            let status = unsafe { code.invoke(&inputs, &outputs, &context) };
            let time = start.elapsed();
            if status != Status::Ok as i32 {
                return Err(RunError::Status(status));
            }
            clock(number, time);
        }
        Ok(())
    }

    /// The sizes that inputs ask for, none for a model without; notes what outputs will be.
    fn sizes(&mut self, inputs: &[Tensor]) -> Result<Vec<i64>, RunError> {
        let Some(sizes) = &self.model.sizes else { return Ok(Vec::new()) };
        let types: Vec<TensorType> = inputs.iter().map(Tensor::ty).collect();
        let found = sizes.of_inputs(&types);
        let found = found.and_then(|found| Some((sizes.signature(&found)?, found)));
        let (signature, found) = found.ok_or_else(|| RunError::Sizes {
            got: types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            dims: sizes.to_string(),
        })?;
        self.types = signature.outputs;
        Ok(found)
    }

    /// An output's elements after a run, when they are f32.
    pub fn output_f32(&self, number: usize) -> Option<&[f32]> {
        match self.outputs.get(number) {
            Some(Buffer::F32(data)) => data.get(..self.types[number].shape.elements()),
            _ => None,
        }
    }

    /// The outputs of the last run.
    pub fn into_outputs(self) -> Vec<Tensor> {
        let outputs = self.types.iter().zip(self.outputs);
        // A buffer has at least as many elements as the shape says, so no tensor is refused.
        outputs
            .filter_map(|(ty, buffer)| {
                let data = buffer.into_data(ty.dtype, ty.shape.elements());
                Tensor::new(ty.shape.clone(), data).ok()
            })
            .collect()
    }
}
