//! The seam through which constant folding evaluates an operator.
//!
//! Frontends and passes must be able to compute constants, but may not know the reference interpreter (no stage knows
//! its oracle). The driver hands them one as `&dyn Evaluate`.

use crate::op::Op;
use crate::tensor::Tensor;

/// Evaluates single operators on constant tensors.
pub trait Evaluate {
    /// The outputs of `op` on `inputs`, or the reason why it can't be evaluated (say, an element type it doesn't know).
    ///
    /// `Op::Input` and fused epilogues are never passed.
    fn evaluate(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>, String>;
}
