//! Operands in all the forms that instruction selection tells apart, and values that are worth trying.

use avocet_backend_tests::check::words;
use avocet_ir::kernel::{Access, Affine, BufferId, Element, KernelBuilder, UnaryOp, ValueId};

/// Floats at the borders of everything: zeros, denormals, halves, borders of integers, infinities, NaN.
pub(crate) const FLOATS: [f32; 32] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.5,
    2.5,
    -2.5,
    3.5,
    -0.3,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-40,
    -1e-45,
    8_388_607.5,
    -8_388_608.5,
    16_777_217.0,
    2_147_483_520.0,
    2_147_483_648.0,
    -2_147_483_648.0,
    -2_147_483_904.0,
    3e9,
    -3e9,
    1e20,
    0.1,
    -7.25,
    123.456,
    0.999_999_94,
    1e-20,
];

/// Integers at the borders of everything.
pub(crate) const INTEGERS: [i32; 16] = [
    0,
    1,
    -1,
    2,
    31,
    32,
    255,
    -256,
    65_535,
    46_341,
    16_777_217,
    1_000_000_007,
    i32::MAX,
    i32::MIN,
    i32::MAX - 1,
    i32::MIN + 1,
];

/// The values of an element by their bits.
pub(crate) fn values(element: Element) -> Vec<u32> {
    match element {
        Element::F32 => FLOATS.iter().map(|f| f.to_bits()).collect(),
        _ => INTEGERS.iter().map(|&i| i as u32).collect(),
    }
}

/// All combinations of two values, as two buffers; the number of elements is a multiple of every number of lanes.
pub(crate) fn pairs(element: Element) -> (Vec<u8>, Vec<u8>) {
    let values = values(element);
    let left = values.iter().flat_map(|&v| std::iter::repeat_n(v, values.len()));
    let right = values.iter().cycle().take(values.len() * values.len()).copied();
    (words(left), words(right))
}

/// How an operand comes to an operation. Back ends may fold a load that is used once, and constants, into instructions,
/// and may overwrite what is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A load that is used only here.
    Loaded,
    /// A value that is used again afterwards.
    Kept,
    /// A computed value that is used only here.
    Fresh,
    /// One element in all lanes, used only here.
    Broadcast,
    /// A constant: the value of this number.
    Constant(usize),
}

/// All forms, with some constants; zero is one of them.
pub(crate) const FORMS: [Form; 7] = [
    Form::Loaded,
    Form::Kept,
    Form::Fresh,
    Form::Broadcast,
    Form::Constant(0),
    Form::Constant(3),
    Form::Constant(9),
];

/// An operand of a form; `keep` gets it if it is to be used again.
pub(crate) fn operand(
    b: &mut KernelBuilder,
    form: Form,
    lanes: usize,
    (buffer, index): (BufferId, &Affine),
    keep: &mut Vec<ValueId>,
) -> ValueId {
    let element = b.element(buffer);
    match form {
        Form::Loaded => b.load(lanes, buffer, index.clone()),
        Form::Kept => {
            let value = b.load(lanes, buffer, index.clone());
            keep.push(value);
            value
        }
        Form::Fresh => {
            // Twice the same change of a sign leaves every value as it is.
            let value = b.load(lanes, buffer, index.clone());
            let value = b.unary(UnaryOp::Neg, value);
            b.unary(UnaryOp::Neg, value)
        }
        Form::Broadcast => b.load_broadcast(lanes, buffer, index.clone()),
        Form::Constant(number) => match element {
            Element::F32 => b.f32(lanes, FLOATS[number]),
            _ => b.i32(lanes, INTEGERS[number]),
        },
    }
}

/// A kernel that applies a function to all elements of its buffers, operands in the given forms, and stores each result
/// and each operand that is used again.
pub(crate) fn apply(
    lanes: usize,
    inputs: &[(Element, Form)],
    result: Element,
    elements: usize,
    function: &dyn Fn(&mut KernelBuilder, &[ValueId]) -> ValueId,
) -> avocet_ir::kernel::Kernel {
    let mut b = KernelBuilder::new("test");
    let buffers: Vec<BufferId> =
        (0..inputs.len()).map(|i| b.buffer(format!("x{i}"), inputs[i].0, elements, Access::Read)).collect();
    let y = b.buffer("y", result, elements, Access::Write);
    let kept: Vec<Option<BufferId>> = inputs
        .iter()
        .map(|&(element, form)| {
            (form == Form::Kept).then(|| b.buffer("kept", element, elements, Access::Write))
        })
        .collect();
    b.repeat(elements / lanes, |b, i| {
        let index = i * lanes;
        let mut keep = Vec::new();
        let operands: Vec<ValueId> = inputs
            .iter()
            .zip(&buffers)
            .map(|(&(_, form), &buffer)| operand(b, form, lanes, (buffer, &index), &mut keep))
            .collect();
        let value = function(b, &operands);
        b.store(y, index.clone(), value);
        for (&buffer, &value) in kept.iter().flatten().zip(&keep) {
            b.store(buffer, index.clone(), value);
        }
    });
    b.finish()
}
