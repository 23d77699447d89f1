//! One step of a recurrent layer: what the gates become, by the kind of cell.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op, Unary};
use avocet_ir::tensor::DType;

use super::super::super::attributes::{Problem, unsupported};
use super::super::super::import::{Importer, Node};
use super::{Layer, cut};

/// An activation with its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Activation {
    Function(Unary),
    /// `alpha * x + beta`.
    Affine(f32, f32),
    /// `alpha * tanh(beta * x)`.
    ScaledTanh(f32, f32),
    /// `x` above `alpha`, else 0.
    Thresholded(f32),
    /// `x / (1 + |x|)`.
    Softsign,
}

impl Activation {
    /// By name; takes the parameters that it has from the lists.
    pub(super) fn named(
        name: &str,
        alphas: &mut impl Iterator<Item = f32>,
        betas: &mut impl Iterator<Item = f32>,
    ) -> Result<Self, Problem> {
        let mut alpha = |default: f32| alphas.next().unwrap_or(default);
        let mut beta = |default: f32| betas.next().unwrap_or(default);
        Ok(match name.to_ascii_lowercase().as_str() {
            "relu" => Activation::Function(Unary::Relu),
            "tanh" => Activation::Function(Unary::Tanh),
            "sigmoid" => Activation::Function(Unary::Sigmoid),
            "affine" => Activation::Affine(alpha(1.0), beta(0.0)),
            "leakyrelu" => Activation::Function(Unary::LeakyRelu { alpha: alpha(0.01) }),
            "thresholdedrelu" => Activation::Thresholded(alpha(1.0)),
            "scaledtanh" => Activation::ScaledTanh(alpha(1.0), beta(1.0)),
            "hardsigmoid" => Activation::Function(Unary::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) }),
            "elu" => Activation::Function(Unary::Elu { alpha: alpha(1.0) }),
            "softsign" => Activation::Softsign,
            "softplus" => Activation::Function(Unary::Softplus),
            other => return unsupported(format!("activation {}", other.escape_debug())),
        })
    }
}

/// One step of a direction, within the loop's body.
pub(super) struct Step<'a> {
    pub(super) node: &'a Node<'a>,
    pub(super) layer: &'a Layer,
    pub(super) activations: &'a [Activation],
    pub(super) recurrent: Value,
}

impl Step<'_> {
    fn gate(&self, importer: &mut Importer, gates: Value, number: usize) -> Result<Value, Problem> {
        cut(importer, self.node, gates, number * self.layer.hidden, self.layer.hidden)
    }

    /// The state's product with the recurrent weights of gates from one on.
    fn product(
        &self,
        importer: &mut Importer,
        state: Value,
        first: usize,
        gates: usize,
    ) -> Result<Value, Problem> {
        let mut weights = self.recurrent;
        if gates < self.layer.cell.gates() {
            let hidden = self.layer.hidden;
            weights = importer.part(self.node, weights, 0, (first * hidden, gates * hidden))?;
        }
        importer.add(self.node, Op::MatMul { transpose_a: false, transpose_b: true }, &[state, weights])
    }

    fn add(&self, importer: &mut Importer, a: Value, b: Value) -> Result<Value, Problem> {
        importer.binary(self.node, Binary::Add, a, b)
    }

    fn multiply(&self, importer: &mut Importer, a: Value, b: Value) -> Result<Value, Problem> {
        importer.binary(self.node, Binary::Mul, a, b)
    }

    /// An activation of a clipped gate.
    fn activated(&self, importer: &mut Importer, number: usize, mut x: Value) -> Result<Value, Problem> {
        let node = self.node;
        if let Some(clip) = self.layer.clip {
            x = importer.unary(node, Unary::Clip { low: -clip, high: clip }, x)?;
        }
        match self.activations[number] {
            Activation::Function(function) => importer.unary(node, function, x),
            Activation::Affine(alpha, beta) => {
                let (alpha, beta) =
                    (importer.number(node, DType::F32, alpha)?, importer.number(node, DType::F32, beta)?);
                let scaled = self.multiply(importer, x, alpha)?;
                self.add(importer, scaled, beta)
            }
            Activation::ScaledTanh(alpha, beta) => {
                let (alpha, beta) =
                    (importer.number(node, DType::F32, alpha)?, importer.number(node, DType::F32, beta)?);
                let inner = self.multiply(importer, x, beta)?;
                let inner = importer.unary(node, Unary::Tanh, inner)?;
                self.multiply(importer, inner, alpha)
            }
            Activation::Thresholded(alpha) => {
                let (alpha, zero) =
                    (importer.number(node, DType::F32, alpha)?, importer.number(node, DType::F32, 0.0)?);
                let above = importer.compare(node, Comparison::Less, alpha, x)?;
                importer.choose(node, above, x, zero)
            }
            Activation::Softsign => {
                let one = importer.number(node, DType::F32, 1.0)?;
                let size = importer.unary(node, Unary::Abs, x)?;
                let size = self.add(importer, size, one)?;
                importer.binary(node, Binary::Div, x, size)
            }
        }
    }

    pub(super) fn plain(
        &self,
        importer: &mut Importer,
        state: Value,
        gates: Value,
    ) -> Result<Vec<Value>, Problem> {
        let product = self.product(importer, state, 0, 1)?;
        let sum = self.add(importer, product, gates)?;
        Ok(vec![self.activated(importer, 0, sum)?])
    }

    /// Gates: update, reset, hidden.
    pub(super) fn gru(
        &self,
        importer: &mut Importer,
        state: Value,
        gates: Value,
        bias: Option<Value>,
    ) -> Result<Vec<Value>, Problem> {
        let (update, reset, candidate);
        if self.layer.linear_before_reset {
            let product = self.product(importer, state, 0, 3)?;
            let both = |this: &Self, importer: &mut Importer, number: usize| {
                let (a, b) = (this.gate(importer, product, number)?, this.gate(importer, gates, number)?);
                this.add(importer, a, b)
            };
            let sums = [both(self, importer, 0)?, both(self, importer, 1)?];
            update = self.activated(importer, 0, sums[0])?;
            reset = self.activated(importer, 0, sums[1])?;
            let mut inner = self.gate(importer, product, 2)?;
            if let Some(bias) = bias {
                inner = self.add(importer, inner, bias)?;
            }
            let inner = self.multiply(importer, reset, inner)?;
            let outer = self.gate(importer, gates, 2)?;
            let sum = self.add(importer, inner, outer)?;
            candidate = self.activated(importer, 1, sum)?;
        } else {
            let product = self.product(importer, state, 0, 2)?;
            let outer = cut(importer, self.node, gates, 0, 2 * self.layer.hidden)?;
            let sum = self.add(importer, product, outer)?;
            let sum = self.activated(importer, 0, sum)?;
            update = self.gate(importer, sum, 0)?;
            reset = self.gate(importer, sum, 1)?;
            let left = self.multiply(importer, reset, state)?;
            let inner = self.product(importer, left, 2, 1)?;
            let outer = self.gate(importer, gates, 2)?;
            let sum = self.add(importer, inner, outer)?;
            candidate = self.activated(importer, 1, sum)?;
        }
        // (1 - z) * candidate + z * state.
        let difference = importer.binary(self.node, Binary::Sub, state, candidate)?;
        let change = self.multiply(importer, update, difference)?;
        Ok(vec![self.add(importer, candidate, change)?])
    }

    /// Gates: input, output, forget, cell.
    pub(super) fn lstm(
        &self,
        importer: &mut Importer,
        [state, cell]: [Value; 2],
        gates: Value,
        peepholes: Option<Value>,
    ) -> Result<Vec<Value>, Problem> {
        let product = self.product(importer, state, 0, 4)?;
        let sum = self.add(importer, product, gates)?;
        let mut parts = Vec::new();
        for number in 0..4 {
            parts.push(self.gate(importer, sum, number)?);
        }
        let peek = |this: &Self, importer: &mut Importer, part: Value, number: usize, cell: Value| {
            let Some(peepholes) = peepholes else { return Ok(part) };
            let weights = this.gate(importer, peepholes, number)?;
            let seen = this.multiply(importer, weights, cell)?;
            this.add(importer, part, seen)
        };
        let input = peek(self, importer, parts[0], 0, cell)?;
        let input = self.activated(importer, 0, input)?;
        let forget = if self.layer.input_forget {
            let one = importer.number(self.node, DType::F32, 1.0)?;
            importer.binary(self.node, Binary::Sub, one, input)?
        } else {
            let forget = peek(self, importer, parts[2], 2, cell)?;
            self.activated(importer, 0, forget)?
        };
        let candidate = self.activated(importer, 1, parts[3])?;
        let kept = self.multiply(importer, forget, cell)?;
        let added = self.multiply(importer, input, candidate)?;
        let next = self.add(importer, kept, added)?;
        let output = peek(self, importer, parts[1], 1, next)?;
        let output = self.activated(importer, 0, output)?;
        let shown = self.activated(importer, 2, next)?;
        Ok(vec![self.multiply(importer, output, shown)?, next])
    }
}
