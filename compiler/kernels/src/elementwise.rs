//! Elementwise operators on whole tensors, with broadcasting: `Unary`, `Binary` and what follows them as an epilogue.

use avocet_ir::kernel::{Access, Element, KernelBuilder};
use avocet_ir::op::{EpilogueStep, Op};
use avocet_ir::{DType, Shape};

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::math;
use crate::problem::Problem;
use crate::{scalars, view};

/// Loads each operand by its strides over the collapsed view, applies the functions, stores.
pub(crate) fn generate(problem: &Problem, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    if problem.inputs.iter().any(|ty| ty.dtype != DType::F32) || problem.output.dtype != DType::F32 {
        return scalars::elementwise(problem, emitter);
    }
    let own = match problem.op {
        Op::Unary(_) | Op::Identity => 1,
        Op::Binary(_) => 2,
        op => {
            return Err(LowerError::unsupported(
                problem,
                format!("{} as an elementwise operator", op.name()),
            ));
        }
    };
    let shape = &problem.output.shape;
    let mut shapes: Vec<&Shape> = problem.inputs[..own].iter().map(|ty| &ty.shape).collect();
    for step in problem.epilogue {
        if let EpilogueStep::Binary { operand, .. } = step {
            shapes.extend(problem.inputs.get(*operand).map(|ty| &ty.shape));
        }
    }
    let mut groups = view::collapse(shape, &shapes);
    if let (Some(last @ 2..), false) = (groups.last_mut(), problem.is_dense()) {
        // Rows are apart.
        *last -= 1;
        groups.push(1);
    }
    let extents = view::extents(shape, &groups);

    let mut b = KernelBuilder::new(problem.op.name());
    let mut operands = Vec::new();
    let mut sources = Vec::new();
    let mut in_place = Vec::new();
    for (number, ty) in problem.inputs[..own].iter().enumerate() {
        let strides = view::strides(&ty.shape, shape, &groups)
            .ok_or_else(|| LowerError::unsupported(problem, format!("broadcasting of {ty}")))?;
        let strides = problem.input_strides(number, strides);
        let length = problem.input_length(number);
        let buffer = b.buffer(format!("x{number}"), Element::F32, length, Access::Read);
        if problem.is_like_result(number) && problem.constants[number].is_none() {
            in_place.push((number, own));
        }
        operands.push(Operand::Input(number));
        sources.push((buffer, strides));
    }
    let y = b.buffer("y", Element::F32, problem.result_length(), Access::Write);
    operands.push(Operand::Output);
    let epilogue = Epilogue::new(problem, &groups, &mut b, &mut operands)?;
    in_place.extend(epilogue.in_place(own));

    let result = problem.result_strides(view::strides(shape, shape, &groups).unwrap_or_default());
    let (&innermost, outer) = extents.split_last().unwrap_or((&1, &[]));
    view::nest(&mut b, outer, |b, coordinates| {
        b.blocks(innermost, lanes, |b, position, valid| {
            let mut at = coordinates.clone();
            at.push(position);
            let loaded: Vec<_> = sources
                .iter()
                .map(|(buffer, strides)| {
                    let index = view::index(&at, strides);
                    match strides.last() {
                        Some(0) | None => b.load_broadcast(lanes, *buffer, index),
                        Some(_) => b.load_partial(lanes, valid, *buffer, index),
                    }
                })
                .collect();
            let value = match (problem.op, &loaded[..]) {
                (Op::Unary(function), [x, ..]) => math::unary(b, *function, *x),
                (Op::Binary(function), [x, y]) => math::binary(b, *function, *x, *y),
                _ => loaded[0],
            };
            let value = epilogue.apply(b, value, &at, valid);
            b.store_partial(y, view::index(&at, &result), value, valid);
        });
    });
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}
