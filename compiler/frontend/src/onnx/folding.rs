//! Computing constants on the way in: an operator whose inputs are all constant becomes its result.
//!
//! That makes shapes known and whatever the model computes from them vanish. The work is bounded, since a small file can
//! ask for any amount of it; what goes beyond stays in the graph as an operator.

use avocet_ir::Value;
use avocet_ir::op::Op;
use avocet_ir::tensor::{Tensor, TensorType};

use super::attributes::Problem;
use super::import::Importer;

/// A constant of more bytes than this is not computed on the way in.
const MOST_FOLDED_BYTES: usize = 64 << 20;
/// What may be spent on all constants of a model that are computed on the way in: bytes, and elements read, written or
/// multiplied. Models that compute shapes stay far below; a hostile one gets no further.
pub(super) const BUDGET: Cost = Cost { bytes: 1 << 30, work: 1 << 32 };

/// What evaluating an operator takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    bytes: usize,
    work: usize,
}

impl Cost {
    fn of(op: &Op, inputs: &[&Tensor], output: &TensorType) -> Self {
        let elements = output.shape.elements();
        let each = match (op, inputs) {
            (Op::Conv(_), [_, w]) => w.shape().elements() / w.shape()[0].max(1),
            (Op::MatMul { transpose_a, .. }, [a, _]) => {
                a.shape().dims().iter().rev().nth(usize::from(*transpose_a)).copied().unwrap_or(1)
            }
            (Op::Pool(pool), _) => pool.window[0].saturating_mul(pool.window[1]),
            _ => 1,
        };
        let read: usize = inputs.iter().map(|t| t.shape().elements()).fold(0, usize::saturating_add);
        Cost { bytes: output.bytes(), work: elements.saturating_mul(each).saturating_add(read) }
    }
}

impl Importer<'_> {
    /// The operator's result when it has no elements, or all of its inputs are constants and it isn't too much work.
    pub(super) fn folded(&mut self, op: &Op, inputs: &[Value]) -> Result<Option<Tensor>, Problem> {
        let types: Vec<TensorType> = inputs.iter().map(|&v| self.ty(v)).collect();
        let types = avocet_ir::infer::infer(op, &types)?;
        let [ty] = &types[..] else { return Ok(None) };
        if let Some(empty) = Tensor::empty(ty) {
            return Ok(Some(empty));
        }
        let constants: Option<Vec<&Tensor>> = inputs.iter().map(|&v| self.graph.as_constant(v)).collect();
        let Some(constants) = constants.filter(|c| !c.is_empty()) else { return Ok(None) };
        if let Op::Reshape { shape } = op {
            // The data is shared, so that this costs nothing.
            return Ok(Some(constants[0].reshaped(shape.clone())?));
        }
        let cost = Cost::of(op, &constants, ty);
        let left = (self.left.bytes.checked_sub(cost.bytes), self.left.work.checked_sub(cost.work));
        let (true, (Some(bytes), Some(work))) = (cost.bytes <= MOST_FOLDED_BYTES, left) else {
            return Ok(None);
        };
        // What can't be evaluated stays in the graph, where it may be of no use or supported later.
        let result = self.evaluate.evaluate(op, &constants).ok().and_then(|r| r.into_iter().next());
        self.left = Cost { bytes, work };
        // An evaluator that breaks its word must not break the graph.
        Ok(result.filter(|result| result.ty() == *ty))
    }

    /// Accounts for a constant of so many bytes that an operator's function computes itself.
    pub(super) fn afford(&mut self, bytes: usize) -> Result<(), Problem> {
        match self.left.bytes.checked_sub(bytes) {
            Some(left) if bytes <= MOST_FOLDED_BYTES => {
                self.left.bytes = left;
                Ok(())
            }
            _ => Err(Problem::Unsupported(format!("computing a constant of {bytes} bytes"))),
        }
    }
}
