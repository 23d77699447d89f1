//! Indices: sums of a constant and of loop variables times constants.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Sub};

/// A loop variable; each loop of a kernel has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variable(pub usize);

/// `constant + sum of coefficient * variable`, in elements.
///
/// Sizes of tensors fit in `isize` with room (see [`crate::tensor::Shape`]), so kernels can't make these sums overflow;
/// they saturate all the same, and the verifier then refuses the access.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Affine {
    /// The constant.
    pub constant: i64,
    /// Coefficients by variable, sorted, none zero.
    terms: Vec<(Variable, i64)>,
}

impl Affine {
    /// Coefficients by variable, sorted; none is zero.
    pub fn terms(&self) -> &[(Variable, i64)] {
        &self.terms
    }

    /// The value when the variables have these values.
    pub fn evaluate(&self, value: impl Fn(Variable) -> i64) -> i64 {
        self.terms.iter().fold(self.constant, |sum, &(v, c)| sum.saturating_add(c.saturating_mul(value(v))))
    }

    /// The index times a factor that may be negative.
    pub fn scaled(&self, factor: i64) -> Affine {
        if factor == 0 {
            return Affine::default();
        }
        Affine {
            constant: self.constant.saturating_mul(factor),
            terms: self.terms.iter().map(|&(v, c)| (v, c.saturating_mul(factor))).collect(),
        }
    }

    /// Smallest and largest value when each variable runs from 0 to its count less one.
    pub fn range(&self, count: impl Fn(Variable) -> usize) -> (i64, i64) {
        let (mut low, mut high) = (self.constant, self.constant);
        for &(variable, coefficient) in &self.terms {
            let last = i64::try_from(count(variable)).unwrap_or(i64::MAX).saturating_sub(1);
            let reach = coefficient.saturating_mul(last);
            low = low.saturating_add(reach.min(0));
            high = high.saturating_add(reach.max(0));
        }
        (low, high)
    }
}

impl From<i64> for Affine {
    fn from(constant: i64) -> Self {
        Affine { constant, terms: Vec::new() }
    }
}

impl From<usize> for Affine {
    fn from(constant: usize) -> Self {
        i64::try_from(constant).unwrap_or(i64::MAX).into()
    }
}

impl From<Variable> for Affine {
    fn from(variable: Variable) -> Self {
        Affine { constant: 0, terms: vec![(variable, 1)] }
    }
}

impl<T: Into<Affine>> Add<T> for Affine {
    type Output = Affine;
    fn add(self, other: T) -> Affine {
        let other = other.into();
        if other.terms.is_empty() {
            return Affine { constant: self.constant.saturating_add(other.constant), terms: self.terms };
        }
        let mut terms: BTreeMap<Variable, i64> = self.terms.into_iter().collect();
        for (variable, coefficient) in other.terms {
            let sum = terms.entry(variable).or_insert(0);
            *sum = sum.saturating_add(coefficient);
        }
        Affine {
            constant: self.constant.saturating_add(other.constant),
            terms: terms.into_iter().filter(|&(_, c)| c != 0).collect(),
        }
    }
}

impl<T: Into<Affine>> Add<T> for &Affine {
    type Output = Affine;
    fn add(self, other: T) -> Affine {
        self.clone() + other
    }
}

impl Sub<usize> for Affine {
    type Output = Affine;
    fn sub(mut self, other: usize) -> Affine {
        self.constant = self.constant.saturating_sub(i64::try_from(other).unwrap_or(i64::MAX));
        self
    }
}

impl Mul<usize> for Affine {
    type Output = Affine;
    fn mul(self, factor: usize) -> Affine {
        self.scaled(i64::try_from(factor).unwrap_or(i64::MAX))
    }
}

impl Mul<usize> for &Affine {
    type Output = Affine;
    fn mul(self, factor: usize) -> Affine {
        self.scaled(i64::try_from(factor).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (variable, coefficient)) in self.terms.iter().enumerate() {
            let (sign, size) = (if *coefficient < 0 { "-" } else { "+" }, coefficient.unsigned_abs());
            match (i, sign) {
                (0, "+") => {}
                (0, _) => f.write_str("-")?,
                _ => write!(f, " {sign} ")?,
            }
            match size {
                1 => write!(f, "i{}", variable.0)?,
                _ => write!(f, "{size}*i{}", variable.0)?,
            }
        }
        match (self.terms.is_empty(), self.constant) {
            (true, c) => write!(f, "{c}"),
            (false, 0) => Ok(()),
            (false, c) if c < 0 => write!(f, " - {}", c.unsigned_abs()),
            (false, c) => write!(f, " + {c}"),
        }
    }
}
