//! What an operator becomes when the transposition of its input moves behind it: its attributes name other dimensions.
//!
//! Throughout, the operator's input is `transpose(x, perm)`: its dimension `i` is dimension `perm[i]` of `x`.

use avocet_ir::Shape;
use avocet_ir::op::Op;

use crate::rewrite::inverse;

/// The operator on `x`, and the permutation that turns its result into what it was; nothing if the operator cares
/// about the order of the dimensions.
pub(super) fn sunk(op: &Op, perm: &[usize]) -> Option<(Op, Vec<usize>)> {
    let same = |op: Op| Some((op, perm.to_vec()));
    match op {
        Op::Unary(_) | Op::Cast { .. } | Op::Identity => same(op.clone()),
        Op::BatchNorm { epsilon, axis } => same(Op::BatchNorm { epsilon: *epsilon, axis: perm[*axis] }),
        Op::Softmax { axis } => same(Op::Softmax { axis: perm[*axis] }),
        Op::ChannelShuffle { groups, axis } => {
            same(Op::ChannelShuffle { groups: *groups, axis: perm[*axis] })
        }
        Op::Slice { axes } => same(Op::Slice { axes: unpermuted(axes, perm) }),
        Op::Pad { amounts, mode } => same(Op::Pad { amounts: unpermuted(amounts, perm), mode: *mode }),
        // A broadcast that adds dimensions in front would need a longer permutation.
        Op::Broadcast { shape } if shape.rank() == perm.len() => {
            let shape = Shape::new(unpermuted(shape.dims(), perm)).ok()?;
            same(Op::Broadcast { shape })
        }
        Op::Reduce { kind, axes, keep_dims } => {
            let mut reduced: Vec<usize> = axes.iter().map(|&axis| perm[axis]).collect();
            reduced.sort_unstable();
            let behind = match keep_dims {
                true => perm.to_vec(),
                false => {
                    let kept: Vec<usize> =
                        (0..perm.len()).filter(|i| !axes.contains(i)).map(|i| perm[i]).collect();
                    // The kept dimensions move up to fill the gaps.
                    kept.iter().map(|p| kept.iter().filter(|q| *q < p).count()).collect()
                }
            };
            Some((Op::Reduce { kind: *kind, axes: reduced, keep_dims: *keep_dims }, behind))
        }
        _ => None,
    }
}

/// A list with an entry for each dimension of the transposed tensor, as one for the dimensions of `x`.
pub(super) fn unpermuted<T: Copy>(items: &[T], perm: &[usize]) -> Vec<T> {
    inverse(perm).into_iter().map(|i| items[i]).collect()
}

/// A reshape of `transpose(x, perm)` to `to`, as a reshape of `x` and a transposition behind it.
///
/// A reshape splits and merges runs of neighbouring dimensions. That works as well on `x` if the dimensions of each run
/// are neighbours there, in the same order; the runs then swap places behind the reshape. Dimensions of size one are
/// neighbours of everything.
pub(super) fn sunk_reshape(perm: &[usize], from: &Shape, to: &Shape) -> Option<(Shape, Vec<usize>)> {
    let transposed: Vec<usize> = perm.iter().map(|&p| from[p]).collect();
    // Position of each dimension of x among those larger than one.
    let rank = |dim: usize| from.dims()[..dim].iter().filter(|&&d| d != 1).count();
    let mut keyed = Vec::new();
    let mut key = 0;
    for (before, after) in runs(&transposed, to.dims())? {
        let ranks: Vec<usize> = before.filter(|&i| transposed[i] != 1).map(|i| rank(perm[i])).collect();
        if ranks.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            return None;
        }
        // A run of units only stays with the run before it.
        key = ranks.first().copied().unwrap_or(key);
        keyed.push((key, after));
    }
    keyed.sort_by_key(|&(key, _)| key);
    let order: Vec<usize> = keyed.into_iter().flat_map(|(_, after)| after).collect();
    let shape = Shape::new(order.iter().map(|&dim| to[dim]).collect::<Vec<_>>()).ok()?;
    Some((shape, inverse(&order)))
}

/// A run of dimensions before and the run of as many elements after.
type Run = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The shortest runs of dimensions that hold the same elements before and after a reshape; nothing for empty tensors.
fn runs(before: &[usize], after: &[usize]) -> Option<Vec<Run>> {
    if before.contains(&0) || after.contains(&0) {
        return None;
    }
    let (mut i, mut j) = (0, 0);
    let mut runs = Vec::new();
    while i < before.len() || j < after.len() {
        let (from, to) = (i, j);
        let mut sizes = (1, 1);
        loop {
            // At the start of a run both sides take a dimension, later the one that lags behind.
            let start = i == from && j == to;
            if start || sizes.0 < sizes.1 {
                match before.get(i) {
                    Some(dim) => (sizes.0, i) = (sizes.0 * dim, i + 1),
                    None if start => {}
                    None => return None,
                }
            }
            if start || sizes.0 > sizes.1 {
                match after.get(j) {
                    Some(dim) => (sizes.1, j) = (sizes.1 * dim, j + 1),
                    None if start => {}
                    None if sizes.0 > sizes.1 => return None,
                    None => {}
                }
            }
            if sizes.0 == sizes.1 {
                break;
            }
        }
        runs.push((from..i, to..j));
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_reshape() {
        assert_eq!(runs(&[2, 3, 4], &[6, 4]), Some(vec![(0..2, 0..1), (2..3, 1..2)]));
        assert_eq!(runs(&[5], &[1, 5, 1]), Some(vec![(0..1, 0..2), (1..1, 2..3)]));
        assert_eq!(runs(&[5, 1, 1], &[5]), Some(vec![(0..1, 0..1), (1..2, 1..1), (2..3, 1..1)]));
        assert_eq!(runs(&[2, 3], &[3, 2]), Some(vec![(0..2, 0..2)]));
        assert_eq!(runs(&[], &[]), Some(vec![]));
        assert_eq!(runs(&[0, 2], &[2, 0]), None);
    }

    #[test]
    fn flattening_the_image_before_tokens() {
        let shape = |dims: &[usize]| Shape::new(dims).expect("small");
        // [1,7,7,64] -> (NCHW) [1,64,7,7] -> [1,64,49]: on x, [1,49,64] and then its transposition.
        let sunk = sunk_reshape(&[0, 3, 1, 2], &shape(&[1, 7, 7, 64]), &shape(&[1, 64, 49]));
        assert_eq!(sunk, Some((shape(&[1, 49, 64]), vec![0, 2, 1])));
        // Channels and rows merged: not neighbours in x.
        assert_eq!(sunk_reshape(&[0, 3, 1, 2], &shape(&[1, 7, 7, 64]), &shape(&[1, 448, 7])), None);
    }
}
