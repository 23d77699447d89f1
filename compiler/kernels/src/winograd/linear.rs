//! One-dimensional transforms as vector code, in few instructions and with few values alive.

use avocet_ir::kernel::{KernelBuilder, ValueId};

use super::points::Points;

/// A sum of values times constants. Values that are not there are zeros.
fn sum(
    b: &mut KernelBuilder,
    lanes: usize,
    terms: impl Iterator<Item = (f64, Option<ValueId>)>,
) -> Option<ValueId> {
    let mut terms: Vec<(f64, ValueId)> =
        terms.filter_map(|(c, value)| Some((c, value?))).filter(|(c, _)| *c != 0.0).collect();
    // One that needs no multiplication first.
    let first = terms.iter().position(|(c, _)| *c == 1.0).unwrap_or(0);
    if first >= terms.len() {
        return None;
    }
    let first = terms.remove(first);
    let start = scaled(b, lanes, first.0, first.1);
    Some(terms.into_iter().fold(start, |sum, (c, value)| add_scaled(b, lanes, sum, c, value)))
}

fn scaled(b: &mut KernelBuilder, lanes: usize, factor: f64, value: ValueId) -> ValueId {
    if factor == 1.0 {
        return value;
    }
    let factor = b.f32(lanes, factor as f32);
    b.mul(value, factor)
}

/// `sum + factor * value`.
fn add_scaled(b: &mut KernelBuilder, lanes: usize, sum: ValueId, factor: f64, value: ValueId) -> ValueId {
    if factor == 1.0 {
        return b.add(sum, value);
    }
    if factor == -1.0 {
        return b.sub(sum, value);
    }
    let factor = b.f32(lanes, factor as f32);
    b.mul_add(value, factor, sum)
}

/// Positions whose transforms of pixels are computed together: one, or the two of a pair of points.
pub(super) fn position_groups(points: Points) -> Vec<Vec<usize>> {
    let mut groups = vec![vec![0]];
    groups.extend((0..points.pairs.len()).map(|k| vec![2 * k + 1, 2 * k + 2]));
    groups.push(vec![points.edge() - 1]);
    groups
}

/// The transform of pixels at the positions of one group. Pixels that are not there are zeros.
pub(super) fn pixels(
    b: &mut KernelBuilder,
    lanes: usize,
    points: Points,
    group: &[usize],
    pixels: &[Option<ValueId>],
) -> Vec<Option<ValueId>> {
    let row = points.input_row(group[0]);
    let terms = |odd: usize, divisor: f64| {
        let own = row.iter().zip(pixels).skip(odd).step_by(2);
        own.map(move |(&c, &pixel)| (c / divisor, pixel)).rev()
    };
    let [_] = group else {
        // The odd part's highest coefficient is the point itself.
        let factor = points.pairs[(group[0] - 1) / 2];
        let even = sum(b, lanes, terms(0, 1.0));
        let odd = sum(b, lanes, terms(1, factor));
        return [factor, -factor]
            .map(|factor| match (even, odd) {
                (Some(even), Some(odd)) => Some(add_scaled(b, lanes, even, factor, odd)),
                (None, Some(odd)) => Some(scaled(b, lanes, factor, odd)),
                (even, None) => even,
            })
            .to_vec();
    };
    // All of one parity: the other part is empty.
    let all: Vec<_> = terms(0, 1.0).chain(terms(1, 1.0)).collect();
    vec![sum(b, lanes, all.into_iter())]
}

/// The results `wanted`, all even or all odd numbers, from the products at all positions. `product` gives one; it is asked
/// for each at most once.
pub(super) fn results(
    b: &mut KernelBuilder,
    lanes: usize,
    points: Points,
    wanted: &[usize],
    mut product: impl FnMut(&mut KernelBuilder, usize) -> ValueId,
) -> Vec<ValueId> {
    let odd = wanted.first().is_some_and(|number| number % 2 == 1);
    let ends = if odd { points.outputs() - 1 } else { 0 };
    // The product at 0 counts in the first result only, that at infinity in the last only.
    let mut end = None;
    if wanted.contains(&ends) {
        end = Some(product(b, if odd { points.edge() - 1 } else { 0 }));
    }
    let pairs: Vec<ValueId> = (0..points.pairs.len())
        .map(|k| {
            let (plus, minus) = (product(b, 2 * k + 1), product(b, 2 * k + 2));
            if odd { b.sub(plus, minus) } else { b.add(plus, minus) }
        })
        .collect();
    wanted
        .iter()
        .map(|&number| {
            let own = end.filter(|_| number == ends).map(|end| (1.0, Some(end)));
            let powers = points.pairs.iter().map(|p| p.powi(number as i32));
            let terms = powers.zip(&pairs).map(|(c, &pair)| (c, Some(pair)));
            // There is always a pair.
            sum(b, lanes, own.into_iter().chain(terms)).unwrap_or(pairs[0])
        })
        .collect()
}
