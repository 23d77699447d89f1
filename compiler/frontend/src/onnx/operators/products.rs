//! Matrix products.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op};
use avocet_ir::tensor::Tensor;

use super::super::attributes::{Problem, invalid};
use super::super::import::{Importer, Node};

const PLAIN: Op = Op::MatMul { transpose_a: false, transpose_b: false };

/// Vectors become matrices of one row or column, and the result loses that dimension again.
pub(super) fn matmul(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (mut a, mut b) = (node.input(0)?, node.input(1)?);
    let (left, right) = (importer.ty(a), importer.ty(b));
    let (row, column) = (left.shape.rank() == 1, right.shape.rank() == 1);
    if row {
        a = importer.reshape(node, a, &[1, left.shape[0]])?;
    }
    if column {
        b = importer.reshape(node, b, &[right.shape[0], 1])?;
    }
    let product = importer.add(node, PLAIN, &[a, b])?;
    let mut dims = importer.ty(product).dims().to_vec();
    let rank = dims.len();
    if column {
        dims.remove(rank - 1);
    }
    if row {
        dims.remove(rank - 2);
    }
    Ok(vec![importer.reshape(node, product, &dims)?])
}

/// `alpha * A * B + beta * C`.
pub(super) fn gemm(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    for matrix in [a, b].map(|m| importer.ty(m)) {
        if matrix.shape.rank() != 2 {
            return invalid(format!("{matrix} is not a matrix"));
        }
    }
    let flag = |name| node.attributes.flag(name, false);
    let op = Op::MatMul { transpose_a: flag("transA")?, transpose_b: flag("transB")? };
    let mut y = importer.add(node, op, &[a, b])?;
    y = scaled(importer, node, y, node.attributes.float("alpha", 1.0)?)?;
    let beta = node.attributes.float("beta", 1.0)?;
    if let Some(c) = node.optional(2).filter(|_| beta != 0.0) {
        let c = scaled(importer, node, c, beta)?;
        let sum = importer.add(node, Op::Binary(Binary::Add), &[y, c])?;
        if importer.ty(sum) != importer.ty(y) {
            return invalid(format!("{} does not broadcast to {}", importer.ty(c), importer.ty(y)));
        }
        y = sum;
    }
    Ok(vec![y])
}

fn scaled(importer: &mut Importer, node: &Node, x: Value, factor: f32) -> Result<Value, Problem> {
    if factor == 1.0 {
        return Ok(x);
    }
    let factor = importer.constant(node, Tensor::scalar_f32(factor));
    importer.add(node, Op::Binary(Binary::Mul), &[x, factor])
}
