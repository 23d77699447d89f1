//! Short names for the graph's operators, for those ONNX operators that are said in several of them.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op, PadMode, ReduceKind, SliceAxis};
use avocet_ir::tensor::{DType, Shape, Tensor};

use super::super::attributes::{Problem, invalid};
use super::super::import::{Importer, Node};
use super::movement::whole;

impl Importer<'_> {
    /// A constant of f32.
    pub(super) fn floats_of(
        &mut self,
        node: &Node,
        dims: &[usize],
        data: Vec<f32>,
    ) -> Result<Value, Problem> {
        self.afford(data.len().saturating_mul(4))?;
        Ok(self.constant(node, Tensor::f32(dims, data)?))
    }

    /// A 64-bit integer.
    pub(super) fn integer(&mut self, node: &Node, value: i64) -> Result<Value, Problem> {
        Ok(self.constant(node, Tensor::i64([], [value].as_slice())?))
    }

    /// The dimensions in another order.
    pub(super) fn transposed(&mut self, node: &Node, x: Value, perm: &[usize]) -> Result<Value, Problem> {
        match perm.is_sorted() {
            true => Ok(x),
            false => self.add(node, Op::Transpose { perm: perm.into() }, &[x]),
        }
    }

    /// So many elements of an axis from one on.
    pub(super) fn part(
        &mut self,
        node: &Node,
        x: Value,
        axis: usize,
        (start, count): (usize, usize),
    ) -> Result<Value, Problem> {
        let shape = self.ty(x).shape;
        let mut axes = whole(&shape);
        match axes.get_mut(axis) {
            Some(_) if start == 0 && count == shape[axis] => return Ok(x),
            Some(part) => *part = SliceAxis { start, count, step: 1 },
            None => return invalid(format!("part of axis {axis} of {shape}")),
        }
        self.add(node, Op::Slice { axes }, &[x])
    }

    /// One element of an axis, which stays with size 1.
    pub(super) fn one(&mut self, node: &Node, x: Value, axis: usize, at: usize) -> Result<Value, Problem> {
        self.part(node, x, axis, (at, 1))
    }

    /// The parts one after the other along an axis.
    pub(super) fn joined(&mut self, node: &Node, parts: &[Value], axis: usize) -> Result<Value, Problem> {
        match parts {
            [one] => Ok(*one),
            _ => self.add(node, Op::Concat { axis }, parts),
        }
    }

    /// A constant around a tensor.
    pub(super) fn padded(
        &mut self,
        node: &Node,
        x: Value,
        amounts: Vec<(usize, usize)>,
        value: f32,
    ) -> Result<Value, Problem> {
        match amounts.iter().all(|&amount| amount == (0, 0)) {
            true => Ok(x),
            false => self.add(node, Op::Pad { amounts, mode: PadMode::Constant(value) }, &[x]),
        }
    }

    /// A product of matrices.
    pub(super) fn product(&mut self, node: &Node, a: Value, b: Value) -> Result<Value, Problem> {
        self.add(node, Op::MatMul { transpose_a: false, transpose_b: false }, &[a, b])
    }

    /// A reduction; reduced axes stay with size 1.
    pub(super) fn reduced(
        &mut self,
        node: &Node,
        kind: ReduceKind,
        x: Value,
        axes: &[usize],
    ) -> Result<Value, Problem> {
        self.add(node, Op::Reduce { kind, axes: axes.into(), keep_dims: true }, &[x])
    }

    /// The tensor broadcast to a shape.
    pub(super) fn broadcast(&mut self, node: &Node, x: Value, dims: &[usize]) -> Result<Value, Problem> {
        let shape = Shape::new(dims)?;
        match self.ty(x).shape == shape {
            true => Ok(x),
            false => self.add(node, Op::Broadcast { shape }, &[x]),
        }
    }

    /// A function of a tensor and a number of its type.
    pub(super) fn with_number(
        &mut self,
        node: &Node,
        op: Binary,
        x: Value,
        number: f32,
    ) -> Result<Value, Problem> {
        let number = self.number(node, self.ty(x).dtype, number)?;
        self.binary(node, op, x, number)
    }

    /// A function of a tensor of 64-bit integers and an integer.
    pub(super) fn with_integer(
        &mut self,
        node: &Node,
        op: Binary,
        x: Value,
        number: usize,
    ) -> Result<Value, Problem> {
        let number = self.integer(node, i64::try_from(number).unwrap_or(i64::MAX))?;
        self.binary(node, op, x, number)
    }

    /// The sum of some tensors, at least one.
    pub(super) fn sum(&mut self, node: &Node, terms: &[Value]) -> Result<Value, Problem> {
        let Some((&first, rest)) = terms.split_first() else { return invalid("a sum of nothing") };
        rest.iter().try_fold(first, |sum, &term| self.binary(node, Binary::Add, sum, term))
    }

    /// 64-bit indices that are kept within an axis.
    pub(super) fn within(&mut self, node: &Node, indices: Value, extent: usize) -> Result<Value, Problem> {
        let indices = self.cast(node, indices, DType::I64)?;
        let zero = self.integer(node, 0)?;
        let low = self.binary(node, Binary::Max, indices, zero)?;
        self.with_integer(node, Binary::Min, low, extent.saturating_sub(1))
    }
}
