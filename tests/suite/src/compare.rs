//! How far a computed tensor is from the expected one.
//!
//! Floats: the largest absolute difference is held against the *scale* of the expected tensor, its largest finite
//! magnitude, because rounding errors of a sum follow the size of its terms, not of its result. NaNs must be at the same
//! positions and infinities must agree in position and sign. All other element types must be equal.

use std::fmt;

use avocet_ir::{Shape, Tensor, TensorData, TensorType};

/// At most this many differing elements are listed in a report.
const LISTED: usize = 8;

/// What was measured of two float tensors that agree, or of equal tensors of another type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Largest absolute difference of two finite elements.
    pub max_difference: f64,
    /// Largest finite magnitude of the expected tensor; 1 when that is zero, so differences from zero are absolute.
    pub scale: f64,
}

impl Agreement {
    /// The largest difference as a part of the scale: what the tolerance limits.
    pub fn relative(&self) -> f64 {
        self.max_difference / self.scale
    }
}

/// One element that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Position, one index for each dimension.
    pub index: Vec<usize>,
    /// The computed element, printed.
    pub actual: String,
    /// The expected element, printed.
    pub expected: String,
}

/// Why two tensors do not agree; its `Display` is the report.
#[derive(Clone, PartialEq)]
pub enum Disagreement {
    /// Element types or shapes differ, so no elements were compared.
    Type {
        /// Type of the computed tensor.
        actual: TensorType,
        /// Type of the expected one.
        expected: TensorType,
    },
    /// Elements differ.
    Elements {
        /// Shape of both tensors.
        shape: Shape,
        /// What was measured on the finite elements.
        measured: Agreement,
        /// The tolerance, as a part of the scale.
        tolerance: f64,
        /// Number of elements that differ by more than the tolerance, or in kind.
        count: usize,
        /// Some of them: those that differ in kind (NaN, infinity) first, then the largest differences.
        worst: Vec<Difference>,
    },
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disagreement::Type { actual, expected } => write!(f, "got {actual} where {expected} is expected"),
            Disagreement::Elements { shape, measured, tolerance, count, worst } => {
                writeln!(f, "{count} of {} elements of {shape} differ", shape.elements())?;
                writeln!(
                    f,
                    "  largest difference {:.3e} = {:.3e} of the scale {:.3e}; allowed {tolerance:.3e}",
                    measured.max_difference,
                    measured.relative(),
                    measured.scale
                )?;
                for Difference { index, actual, expected } in worst {
                    writeln!(f, "  at {index:?}: got {actual}, expected {expected}")?;
                }
                let unlisted = count - worst.len();
                if unlisted > 0 {
                    writeln!(f, "  and {unlisted} more")?;
                }
                Ok(())
            }
        }
    }
}

/// The report, so that `unwrap` and tests that return a `Result` print it readably.
impl fmt::Debug for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Disagreement {}

/// Compares a computed tensor with the expected one. `tolerance` is a part of the expected tensor's scale; it does not
/// matter for element types other than f32.
pub fn compare(actual: &Tensor, expected: &Tensor, tolerance: f64) -> Result<Agreement, Disagreement> {
    if actual.ty() != expected.ty() {
        return Err(Disagreement::Type { actual: actual.ty(), expected: expected.ty() });
    }
    let shape = expected.shape();
    match (actual.data(), expected.data()) {
        (TensorData::F32(actual), TensorData::F32(expected)) => {
            compare_floats(shape, actual, expected, tolerance)
        }
        (TensorData::I64(actual), TensorData::I64(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::I32(actual), TensorData::I32(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::Bool(actual), TensorData::Bool(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::U8(actual), TensorData::U8(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::I8(actual), TensorData::I8(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::I16(actual), TensorData::I16(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::U16(actual), TensorData::U16(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::U32(actual), TensorData::U32(expected)) => compare_exactly(shape, actual, expected),
        (TensorData::U64(actual), TensorData::U64(expected)) => compare_exactly(shape, actual, expected),
        _ => unreachable!("the element types were compared above"),
    }
}

/// Compares and panics with the report, headed by `what`, when the tensors do not agree.
#[track_caller]
pub fn assert_close(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) -> Agreement {
    match compare(actual, expected, tolerance) {
        Ok(agreement) => agreement,
        Err(disagreement) => panic!("{what}: {disagreement}"),
    }
}

/// Indices of the `k` largest values, largest first; the smaller index goes first among equals, NaN goes last.
pub fn top_k(values: &[f32], k: usize) -> Vec<usize> {
    let rank = |&index: &usize| if values[index].is_nan() { f32::NEG_INFINITY } else { values[index] };
    let mut indices: Vec<usize> = (0..values.len()).collect();
    indices.sort_by(|a, b| values[*a].is_nan().cmp(&values[*b].is_nan()).then(rank(b).total_cmp(&rank(a))));
    indices.truncate(k);
    indices
}

/// Difference of two floats: `None` when they differ in kind, zero when they are the same infinity or both NaN.
fn difference(actual: f32, expected: f32) -> Option<f64> {
    if actual.is_finite() && expected.is_finite() {
        Some((f64::from(actual) - f64::from(expected)).abs())
    } else if actual == expected || (actual.is_nan() && expected.is_nan()) {
        Some(0.0)
    } else {
        None
    }
}

fn compare_floats(
    shape: &Shape,
    actual: &[f32],
    expected: &[f32],
    tolerance: f64,
) -> Result<Agreement, Disagreement> {
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    let scale = if largest == 0.0 { 1.0 } else { largest };
    let limit = tolerance * scale;

    let mut max_difference = 0.0;
    let mut failures = Vec::new();
    for (position, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let difference = difference(a, e);
        max_difference = difference.unwrap_or(0.0).max(max_difference);
        // An unknown difference counts as infinite, which also sorts it to the front of the report.
        let difference = difference.unwrap_or(f64::INFINITY);
        if difference > limit {
            failures.push((difference, position));
        }
    }
    let measured = Agreement { max_difference, scale };
    if failures.is_empty() {
        return Ok(measured);
    }
    failures.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positions: Vec<usize> = failures.into_iter().map(|(_, position)| position).collect();
    Err(report(shape, actual, expected, &positions, measured, tolerance))
}

fn compare_exactly<T: PartialEq + fmt::Debug>(
    shape: &Shape,
    actual: &[T],
    expected: &[T],
) -> Result<Agreement, Disagreement> {
    let measured = Agreement { max_difference: 0.0, scale: 1.0 };
    let positions: Vec<usize> = (0..expected.len()).filter(|&i| actual[i] != expected[i]).collect();
    if positions.is_empty() {
        return Ok(measured);
    }
    Err(report(shape, actual, expected, &positions, measured, 0.0))
}

fn report<T: fmt::Debug>(
    shape: &Shape,
    actual: &[T],
    expected: &[T],
    positions: &[usize],
    measured: Agreement,
    tolerance: f64,
) -> Disagreement {
    let worst = positions.iter().take(LISTED).map(|&position| Difference {
        index: shape
            .strides()
            .iter()
            .zip(shape.dims())
            .map(|(stride, dim)| position / stride % dim)
            .collect(),
        actual: format!("{:?}", actual[position]),
        expected: format!("{:?}", expected[position]),
    });
    let (shape, count, worst) = (shape.clone(), positions.len(), worst.collect());
    Disagreement::Elements { shape, measured, tolerance, count, worst }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn floats(values: &[f32]) -> Tensor {
        Tensor::f32([values.len()], values).unwrap()
    }

    #[test]
    fn differences_are_relative_to_the_largest_expected_element() {
        let agreement = compare(&floats(&[100.0, 0.5]), &floats(&[100.0, 0.0]), 0.005).unwrap();
        assert_eq!(agreement, Agreement { max_difference: 0.5, scale: 100.0 });
        assert_eq!(agreement.relative(), 0.005);
        compare(&floats(&[100.0, 0.5]), &floats(&[100.0, 0.0]), 0.004).unwrap_err();
        compare(&floats(&[0.0, 0.5]), &floats(&[0.0, 0.0]), 0.4).unwrap_err();
    }

    #[test]
    fn infinite_expectations_do_not_widen_the_scale() {
        let infinity = f32::INFINITY;
        compare(&floats(&[infinity, 1.5]), &floats(&[infinity, 1.0]), 0.4).unwrap_err();
        compare(&floats(&[infinity, 1.0]), &floats(&[infinity, 1.0]), 0.0).unwrap();
    }

    #[test]
    fn special_values_must_agree_in_kind() {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        compare(&floats(&[nan, -infinity]), &floats(&[nan, -infinity]), 0.0).unwrap();
        for (actual, expected) in [
            (nan, 1.0),
            (1.0, nan),
            (infinity, -infinity),
            (f32::MAX, infinity),
            (infinity, f32::MAX),
            (nan, infinity),
        ] {
            compare(&floats(&[actual]), &floats(&[expected]), 1e9).unwrap_err();
        }
    }

    #[test]
    fn other_types_must_be_equal() {
        let bytes =
            |values: &[u8]| Tensor::new(Shape::new([2]).unwrap(), TensorData::U8(Arc::from(values))).unwrap();
        compare(&bytes(&[1, 2]), &bytes(&[1, 2]), 0.0).unwrap();
        compare(&bytes(&[1, 2]), &bytes(&[1, 3]), 9.0).unwrap_err();
    }

    #[test]
    fn types_are_compared_first() {
        let error = compare(&floats(&[1.0]), &Tensor::scalar_f32(1.0), 0.0).unwrap_err();
        assert_eq!(error.to_string(), "got f32[1] where f32[] is expected");
    }

    #[test]
    fn the_report_lists_the_worst_elements_first() {
        let actual = Tensor::f32([2, 2], [1.0, 2.5, 3.0, f32::NAN]).unwrap();
        let expected = Tensor::f32([2, 2], [1.0, 2.0, 4.0, 4.0]).unwrap();
        let report = compare(&actual, &expected, 0.01).unwrap_err().to_string();
        assert_eq!(
            report,
            "3 of 4 elements of [2,2] differ\n  \
             largest difference 1.000e0 = 2.500e-1 of the scale 4.000e0; allowed 1.000e-2\n  \
             at [1, 1]: got NaN, expected 4.0\n  \
             at [1, 0]: got 3.0, expected 4.0\n  \
             at [0, 1]: got 2.5, expected 2.0\n"
        );
    }

    #[test]
    #[should_panic(expected = "logits: 9 of 9 elements of [9] differ")]
    fn assert_close_names_what_was_compared() {
        assert_close("logits", &floats(&[1.0; 9]), &floats(&[0.0; 9]), 0.1);
    }

    #[test]
    fn top_k_breaks_ties_by_index_and_puts_nan_last() {
        assert_eq!(top_k(&[1.0, f32::NAN, 3.0, 3.0, f32::NEG_INFINITY], 9), [2, 3, 0, 4, 1]);
        assert_eq!(top_k(&[1.0, 2.0], 1), [1]);
    }
}
