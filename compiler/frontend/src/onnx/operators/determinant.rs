//! Det: determinants by expansion along rows, all subsets of columns of one size at a time.
//!
//! The determinant of the first r rows and r columns is a sum over these columns: the element in row r times that of the first
//! r - 1 rows and the other columns, with alternating signs. Sums of products only, nothing is divided, and each subset is computed
//! once; the number of subsets bounds the size of matrices.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op, ReduceKind};
use avocet_ir::tensor::{Shape, Tensor};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};

/// Largest matrices: 2^10 subsets of columns.
const MOST: usize = 10;

/// The last two dimensions are square matrices.
pub(super) fn determinant(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let Some((outer, &[size, columns])) = ty.dims().split_last_chunk() else {
        return invalid(format!("a determinant of {ty}"));
    };
    if size != columns || size == 0 {
        return invalid(format!("a determinant of {ty}"));
    }
    if size > MOST {
        return unsupported(format!("determinants of matrices of {size} rows; at most {MOST} are supported"));
    }
    let count = Shape::new(outer)?.elements();
    let matrices = importer.reshape(node, x, &[count, size, size])?;
    let subsets = |bits: u32| -> Vec<usize> {
        (0usize..1 << size).filter(|subset| subset.count_ones() == bits).collect()
    };
    // The first row's elements are determinants of one row and column.
    let mut minors = importer.one(node, matrices, 1, 0)?;
    minors = importer.reshape(node, minors, &[count, size])?;
    let mut before = subsets(1);
    for row in 1..size {
        let now = subsets(row as u32 + 1);
        let (mut elements, mut others, mut signs) = (Vec::new(), Vec::new(), Vec::new());
        for subset in &now {
            let members = (0..size).filter(|column| subset >> column & 1 == 1);
            for (place, column) in members.enumerate() {
                elements.push(column as i64);
                let other = subset & !(1 << column);
                // Subsets are in order, and all of one size are there.
                others.push(before.binary_search(&other).unwrap_or(0) as i64);
                signs.push(if (row + place).is_multiple_of(2) { 1.0 } else { -1.0 });
            }
        }
        let length = elements.len();
        let line = importer.one(node, matrices, 1, row)?;
        let line = importer.reshape(node, line, &[count, size])?;
        let mut taken = |from: Value, places: Vec<i64>| -> Result<Value, Problem> {
            let places = importer.constant(node, Tensor::i64([length], places)?);
            importer.add(node, Op::Gather { axis: 1 }, &[from, places])
        };
        let (elements, others) = (taken(line, elements)?, taken(minors, others)?);
        let signs = importer.floats_of(node, &[length], signs)?;
        let products = importer.binary(node, Binary::Mul, elements, others)?;
        let products = importer.binary(node, Binary::Mul, products, signs)?;
        let terms = importer.reshape(node, products, &[count, now.len(), row + 1])?;
        let sums = importer.reduced(node, ReduceKind::Sum, terms, &[2])?;
        minors = importer.reshape(node, sums, &[count, now.len()])?;
        before = now;
    }
    Ok(vec![importer.reshape(node, minors, outer)?])
}
