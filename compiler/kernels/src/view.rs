//! Views: consecutive dimensions of the result collapsed into fewer, and how operands broadcast over them.
//!
//! A view of a tensor of dimensions `[1,56,56,24]` in groups `[3,1]` is a matrix of 3136 rows and 24 columns. An operand
//! that broadcasts to the tensor has one stride for each group, zero where it is constant.

use avocet_ir::Shape;
use avocet_ir::kernel::{Affine, KernelBuilder};

/// The extents of the groups: `groups` says how many dimensions of `shape` each takes.
pub(crate) fn extents(shape: &Shape, groups: &[usize]) -> Vec<usize> {
    let mut start = 0;
    groups
        .iter()
        .map(|&count| {
            let extent = shape.dims()[start..start + count].iter().product();
            start += count;
            extent
        })
        .collect()
}

/// Strides in elements of an operand over the groups, or `None` when it broadcasts over a part of a group.
pub(crate) fn strides(operand: &Shape, shape: &Shape, groups: &[usize]) -> Option<Vec<usize>> {
    let missing = shape.rank().checked_sub(operand.rank())?;
    let mut dims = vec![1; missing];
    dims.extend_from_slice(operand.dims());
    let mut strides = vec![0; groups.len()];
    let (mut end, mut step) = (shape.rank(), 1);
    for (group, &count) in groups.iter().enumerate().rev() {
        let start = end - count;
        let (inside, outside) = (&dims[start..end], &shape.dims()[start..end]);
        if inside == outside {
            strides[group] = if outside.iter().all(|&d| d == 1) { 0 } else { step };
        } else if inside.iter().any(|&d| d != 1) {
            return None;
        }
        step *= inside.iter().product::<usize>();
        end = start;
    }
    Some(strides)
}

/// The fewest groups over which all operands have strides; greedy from the innermost dimension.
pub(crate) fn collapse(shape: &Shape, operands: &[&Shape]) -> Vec<usize> {
    let rank = shape.rank();
    let mut groups: Vec<usize> = Vec::new();
    let mut end = rank;
    while end > 0 {
        let mut count = 1;
        while count < end {
            // The dimensions outside this group one by one: only this group is in question.
            let mut trial = vec![1; end - count - 1];
            trial.push(count + 1);
            trial.extend(groups.iter().rev());
            if operands.iter().any(|operand| strides(operand, shape, &trial).is_none()) {
                break;
            }
            count += 1;
        }
        groups.push(count);
        end -= count;
    }
    if groups.is_empty() {
        groups.push(0);
    }
    groups.reverse();
    groups
}

/// What is done at each point of a nest of loops.
type Body<'a> = Box<dyn FnOnce(&mut KernelBuilder, Vec<Affine>) + 'a>;

/// Loops over all of the extents; the closure gets the coordinates.
pub(crate) fn nest(
    b: &mut KernelBuilder,
    extents: &[usize],
    body: impl FnOnce(&mut KernelBuilder, Vec<Affine>),
) {
    fn level(b: &mut KernelBuilder, extents: &[usize], mut coordinates: Vec<Affine>, body: Body<'_>) {
        match extents {
            [] => body(b, coordinates),
            [extent, inner @ ..] => b.repeat(*extent, |b, index| {
                coordinates.push(index);
                level(b, inner, coordinates, body);
            }),
        }
    }
    // Boxed, so that the recursion does not make a new closure type at each level.
    level(b, extents, Vec::new(), Box::new(body));
}

/// The sum of coordinates times strides.
pub(crate) fn index(coordinates: &[Affine], strides: &[usize]) -> Affine {
    coordinates.iter().zip(strides).fold(Affine::default(), |sum, (c, &stride)| sum + c * stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).expect("small")
    }

    #[test]
    fn operands_have_strides_over_groups() {
        let image = shape(&[2, 5, 7, 24]);
        assert_eq!(strides(&shape(&[24]), &image, &[3, 1]), Some(vec![0, 1]));
        assert_eq!(strides(&image, &image, &[3, 1]), Some(vec![24, 1]));
        assert_eq!(strides(&shape(&[2, 1, 1, 24]), &image, &[3, 1]), None);
        assert_eq!(strides(&shape(&[2, 1, 1, 24]), &image, &[1, 2, 1]), Some(vec![24, 0, 1]));
        assert_eq!(strides(&shape(&[5, 7, 1]), &image, &[1, 2, 1]), Some(vec![0, 1, 0]));
        assert_eq!(extents(&image, &[1, 2, 1]), [2, 35, 24]);
    }

    #[test]
    fn dimensions_collapse_as_far_as_operands_allow() {
        let image = shape(&[2, 5, 7, 24]);
        assert_eq!(collapse(&image, &[&image]), [4]);
        assert_eq!(collapse(&image, &[&image, &shape(&[24])]), [3, 1]);
        assert_eq!(collapse(&image, &[&image, &shape(&[2, 1, 1, 24])]), [1, 2, 1]);
        assert_eq!(collapse(&shape(&[1, 5, 7, 24]), &[&shape(&[1, 1, 1, 24])]), [3, 1]);
        assert_eq!(collapse(&Shape::scalar(), &[]), [0]);
    }
}
