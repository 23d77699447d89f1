//! The matrices of Winograd's method, from the points at which polynomials are evaluated.
//!
//! The points are 0, pairs `p` and `-p`, and infinity. With pairs, a transform and its mirror image share the even and
//! the odd part of their sums.

/// Points of a one-dimensional transform with a window of 3.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points {
    /// The positive ones.
    pub(super) pairs: &'static [f64],
}

impl Points {
    /// The points for tiles with an edge of so many results.
    ///
    /// All coefficients that follow are exact in f32. For tiles of 4 the usual 1 and 2 have three times the error of these
    /// two, because the numbers that the larger point's powers bring in differ more in size.
    pub(super) fn of(output: usize) -> Option<Self> {
        match output {
            2 => Some(Points { pairs: &[1.0] }),
            4 => Some(Points { pairs: &[0.75, 1.5] }),
            _ => None,
        }
    }

    /// Results of a transform.
    pub(super) fn outputs(self) -> usize {
        self.pairs.len() * 2
    }

    /// Pixels of a transform, and positions: those of 0, of each pair (the positive point first), of infinity.
    pub(super) fn edge(self) -> usize {
        self.outputs() + 2
    }

    /// Positions of the two-dimensional transform.
    pub(super) fn positions(self) -> usize {
        self.edge() * self.edge()
    }

    /// The finite points.
    fn finite(self) -> Vec<f64> {
        std::iter::once(0.0).chain(self.pairs.iter().flat_map(|&p| [p, -p])).collect()
    }

    /// Coefficients of the transform of pixels at a position: those of the product of `x - q` over all other points `q`.
    pub(super) fn input_row(self, position: usize) -> Vec<f64> {
        let mut row = vec![1.0];
        for (i, q) in self.finite().into_iter().enumerate() {
            if i != position {
                row.push(0.0);
                for k in (0..row.len()).rev() {
                    row[k] = if k == 0 { 0.0 } else { row[k - 1] } - q * row[k];
                }
            }
        }
        row.resize(self.edge(), 0.0);
        row
    }

    /// Coefficients of the transform of weights at a position.
    pub(super) fn weight_row(self, position: usize) -> [f64; 3] {
        let finite = self.finite();
        let Some(&p) = finite.get(position) else { return [0.0, 0.0, 1.0] };
        let others = finite.iter().enumerate().filter(|(i, _)| *i != position);
        let scale: f64 = others.map(|(_, q)| p - q).product();
        [1.0 / scale, p / scale, p * p / scale]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_exact_in_f32() {
        for output in [2, 4] {
            let points = Points::of(output).expect("known");
            for position in 0..points.edge() {
                let exact = |&c: &f64| f64::from(c as f32) == c;
                assert!(points.input_row(position).iter().all(exact));
            }
            assert!(
                points
                    .pairs
                    .iter()
                    .all(|p| f64::from(p.powi(output as i32 - 1) as f32) == p.powi(3.min(output as i32 - 1)))
            );
        }
    }

    #[test]
    fn a_convolution_of_three_taps() {
        for output in [2, 4] {
            let points = Points::of(output).expect("known");
            let pixels: Vec<f64> = (0..points.edge()).map(|i| (i * i) as f64 - 3.5).collect();
            let taps = [0.5, -2.0, 3.25];
            let products: Vec<f64> = (0..points.edge())
                .map(|position| {
                    let dot = |row: &[f64], values: &[f64]| -> f64 {
                        row.iter().zip(values).map(|(a, b)| a * b).sum()
                    };
                    dot(&points.input_row(position), &pixels) * dot(&points.weight_row(position), &taps)
                })
                .collect();
            for i in 0..output {
                let finite = points.finite();
                let mut got: f64 = finite.iter().zip(&products).map(|(p, m)| p.powi(i as i32) * m).sum();
                if i + 1 == output {
                    got += products[points.edge() - 1];
                }
                let expected: f64 = (0..3).map(|k| pixels[i + k] * taps[k]).sum();
                assert!((got - expected).abs() < 1e-12, "{got} {expected}");
            }
        }
    }
}
