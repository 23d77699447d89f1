//! Epilogues: the elementwise steps that a kernel applies to its result before storing it.
//!
//! A generator works on some view of the result (see [`crate::view`]); the epilogue loads each operand at the position of
//! the vector at hand, by the strides that the operand has over the view.

use avocet_ir::kernel::{Access, Affine, BufferId, Element, KernelBuilder, ValueId};
use avocet_ir::op::{Binary, EpilogueStep, Unary};

use crate::emitter::{Emitter, Operand};
use crate::lower::LowerError;
use crate::math;
use crate::problem::Problem;
use crate::view;

/// An epilogue in the terms of one kernel.
#[derive(Debug)]
pub(crate) struct Epilogue {
    steps: Vec<Step>,
    /// Buffers of operands as large as the result, which may share its memory.
    whole: Vec<usize>,
}

#[derive(Debug)]
enum Step {
    Unary(Unary),
    Binary { op: Binary, swapped: bool, source: Source },
}

#[derive(Debug)]
enum Source {
    /// The same number everywhere.
    Immediate(f32),
    /// An operand in memory and its strides over the view.
    Memory(BufferId, Vec<usize>),
}

impl Source {
    fn load(&self, b: &mut KernelBuilder, lanes: usize, coordinates: &[Affine], valid: usize) -> ValueId {
        match self {
            Source::Immediate(number) => b.f32(lanes, *number),
            Source::Memory(buffer, strides) => {
                let index = view::index(coordinates, strides);
                match strides.last() {
                    Some(0) | None => b.load_broadcast(lanes, *buffer, index),
                    Some(_) => b.load_partial(lanes, valid, *buffer, index),
                }
            }
        }
    }
}

impl Epilogue {
    /// Whether all operands have strides over these groups of the result's dimensions.
    pub(crate) fn fits(problem: &Problem, groups: &[usize]) -> bool {
        problem.epilogue.iter().all(|step| match step {
            EpilogueStep::Unary(_) => true,
            EpilogueStep::Binary { operand, .. } => {
                let shape = problem.inputs.get(*operand).map(|ty| &ty.shape);
                shape.is_some_and(|s| view::strides(s, &problem.output.shape, groups).is_some())
            }
        })
    }

    /// Declares a buffer for each operand, after those that the generator has declared and listed in `operands`.
    pub(crate) fn new(
        problem: &Problem,
        groups: &[usize],
        b: &mut KernelBuilder,
        operands: &mut Vec<Operand>,
    ) -> Result<Self, LowerError> {
        let mut epilogue = Epilogue { steps: Vec::new(), whole: Vec::new() };
        for step in problem.epilogue {
            let step = match *step {
                EpilogueStep::Unary(unary) => Step::Unary(unary),
                EpilogueStep::Binary { op, operand, swapped } => {
                    let source = epilogue.source(problem, groups, b, operands, operand)?;
                    Step::Binary { op, swapped, source }
                }
            };
            epilogue.steps.push(step);
        }
        Ok(epilogue)
    }

    fn source(
        &mut self,
        problem: &Problem,
        groups: &[usize],
        b: &mut KernelBuilder,
        operands: &mut Vec<Operand>,
        operand: usize,
    ) -> Result<Source, LowerError> {
        if let Some(value) = problem.constants.get(operand).copied().flatten().and_then(|t| t.single_f32()) {
            return Ok(Source::Immediate(value));
        }
        let shape = &problem.inputs[operand].shape;
        let strides = view::strides(shape, &problem.output.shape, groups).ok_or_else(|| {
            LowerError::unsupported(problem, format!("an epilogue operand of shape {shape} in this kernel"))
        })?;
        let strides = problem.input_strides(operand, strides);
        if problem.is_like_result(operand) && problem.constants[operand].is_none() {
            self.whole.push(operands.len());
        }
        let name = format!("e{}", operands.len());
        let buffer = b.buffer(name, Element::F32, problem.input_length(operand), Access::Read);
        operands.push(Operand::Input(operand));
        Ok(Source::Memory(buffer, strides))
    }

    /// Pairs for [`Emitter::call_at`]: operands that may share the memory of the result's buffer.
    pub(crate) fn in_place(&self, output: usize) -> Vec<(usize, usize)> {
        self.whole.iter().map(|&operand| (operand, output)).collect()
    }

    /// What sums begin with that [`Epilogue::finish`] is applied to: the bias where the first step adds one number for each
    /// channel, which saves an addition of each vector, else zero. Coordinates as for `apply`.
    pub(crate) fn start(
        &self,
        b: &mut KernelBuilder,
        lanes: usize,
        coordinates: &[Affine],
        valid: usize,
    ) -> ValueId {
        match self.bias() {
            Some(source) => source.load(b, lanes, coordinates, valid),
            None => b.f32(lanes, 0.0),
        }
    }

    /// Applies the steps to a sum that began with [`Epilogue::start`].
    pub(crate) fn finish(
        &self,
        b: &mut KernelBuilder,
        sum: ValueId,
        coordinates: &[Affine],
        valid: usize,
    ) -> ValueId {
        let done = usize::from(self.bias().is_some());
        Self::apply_steps(&self.steps[done..], b, sum, coordinates, valid)
    }

    /// What the first step adds, when it is one number for each channel.
    fn bias(&self) -> Option<&Source> {
        match self.steps.first()? {
            Step::Binary { op: Binary::Add, source: source @ Source::Memory(_, strides), .. } => {
                let (channel, others) = strides.split_last()?;
                (*channel != 0 && others.iter().all(|&stride| stride == 0)).then_some(source)
            }
            _ => None,
        }
    }

    /// Applies the steps to a vector whose first lane is at these coordinates of the view; lanes run along the last.
    pub(crate) fn apply(
        &self,
        b: &mut KernelBuilder,
        value: ValueId,
        coordinates: &[Affine],
        valid: usize,
    ) -> ValueId {
        Self::apply_steps(&self.steps, b, value, coordinates, valid)
    }

    fn apply_steps(
        steps: &[Step],
        b: &mut KernelBuilder,
        mut value: ValueId,
        coordinates: &[Affine],
        valid: usize,
    ) -> ValueId {
        let lanes = b.ty(value).lanes;
        for step in steps {
            value = match step {
                Step::Unary(unary) => math::unary(b, *unary, value),
                Step::Binary { op, swapped, source } => {
                    let other = source.load(b, lanes, coordinates, valid);
                    let (left, right) = if *swapped { (other, value) } else { (value, other) };
                    math::binary(b, *op, left, right)
                }
            };
        }
        value
    }
}

/// Sums whose epilogues are interleaved. Functions such as GELU are long chains; with two the networks that have many were
/// measured to be 0.5 to 1.7 % faster, with three no more, with eight, which need too many registers, slower.
const INTERLEAVED: usize = 2;

/// Calls the closure for each sum of a block, two at a time.
pub(crate) fn each(
    b: &mut KernelBuilder,
    sums: &[ValueId],
    mut finish: impl FnMut(&mut KernelBuilder, usize, ValueId),
) {
    for start in (0..sums.len()).step_by(INTERLEAVED) {
        let count = INTERLEAVED.min(sums.len() - start);
        b.interleaved(count, |b, i| finish(b, start + i, sums[start + i]));
    }
}

/// Calls a kernel whose operands are given one for each buffer, the result at `output`.
pub(crate) fn call(
    emitter: &mut Emitter,
    kernel: avocet_ir::kernel::Kernel,
    operands: Vec<Operand>,
    in_place: Vec<(usize, usize)>,
) {
    emitter.call_at(kernel, operands.into_iter().map(|operand| (operand, 0)).collect(), in_place);
}
