//! The data of an architecture description, the same for TOML, YAML and JSON.

mod block;
mod extents;

use std::collections::BTreeMap;

use avocet_ir::op::Unary;
use serde::Deserialize;

use crate::weights::Rule;
pub use block::{Block, Kind, PoolMode, SampleMode};
pub use extents::Extents;

/// A whole description.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Version of the format: 1.
    pub version: u32,
    /// Name of the network.
    pub name: String,
    /// The input.
    pub input: Input,
    /// What blocks do where they say nothing.
    #[serde(default)]
    pub defaults: Defaults,
    /// Compound scaling.
    pub compound: Option<Compound>,
    /// Widths of which a call chooses one.
    pub slimmable: Option<Slimmable>,
    /// Weights.
    #[serde(default)]
    pub weights: WeightsSection,
    /// Searched cells by name.
    #[serde(default)]
    pub cells: BTreeMap<String, Cell>,
    /// The blocks, in order.
    pub blocks: Vec<Block>,
}

/// The network's input: an image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name; `input` if left out.
    pub name: Option<String>,
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Defaults of blocks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Activation after convolutions.
    pub activation: Activation,
    /// Added to variances by batch normalisation.
    pub epsilon: f32,
    /// How images are padded.
    pub padding: PaddingRule,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { activation: Activation::Relu, epsilon: 1e-5, padding: PaddingRule::Symmetric }
    }
}

/// How images are padded before windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaddingRule {
    /// Half of the window on each side, as PyTorch models have it.
    Symmetric,
    /// TensorFlow's SAME: as much as makes `ceil(size / stride)` positions, the odd one after.
    Same,
    /// None.
    Valid,
}

/// An activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// None.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * relu6(x + 3) / 6`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `x * sigmoid(x)`.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Gaussian error linear unit.
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The graph's function, if there is one.
    pub(crate) fn function(self) -> Option<Unary> {
        Some(match self {
            Activation::None => return None,
            Activation::Relu => Unary::Relu,
            Activation::Relu6 => Unary::Clip { low: 0.0, high: 6.0 },
            Activation::HardSwish => Unary::HardSwish,
            Activation::HardSigmoid => Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
            Activation::Silu => Unary::Silu,
            Activation::Sigmoid => Unary::Sigmoid,
            Activation::Gelu => Unary::Gelu,
            Activation::Tanh => Unary::Tanh,
        })
    }
}

/// Compound scaling (Tan and Le, EfficientNet, 2019): depth by `alpha^phi`, width by `beta^phi`, resolution by
/// `gamma^phi`, or by what `table` says for a phi.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compound {
    /// The coefficient.
    #[serde(default)]
    pub phi: u32,
    /// Base of the depth.
    pub alpha: f64,
    /// Base of the width.
    pub beta: f64,
    /// Base of the resolution.
    pub gamma: f64,
    /// Widths are rounded to a multiple of this.
    #[serde(default = "eight")]
    pub divisor: usize,
    /// Factors that were published for single values of phi, in place of the powers.
    #[serde(default)]
    pub table: Vec<Coefficients>,
}

fn eight() -> usize {
    8
}

/// Factors for one phi.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coefficients {
    /// The coefficient.
    pub phi: u32,
    /// Factor of the channels.
    pub width: f64,
    /// Factor of the repeats.
    pub depth: f64,
    /// Height and width of the input.
    pub resolution: usize,
}

/// Several widths with one set of weights (Yu et al., Slimmable Neural Networks, 2019). An input `width` says at each call
/// which one is computed: its place in the list, or the nearest place that there is. Narrower networks use the first
/// channels of the widest one's weights, and batch normalisations of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slimmable {
    /// Factors of the channels, ascending; the last is 1.
    pub widths: Vec<f64>,
    /// Narrower widths are rounded to a multiple of this.
    #[serde(default = "eight")]
    pub divisor: usize,
}

/// Where weights come from; without a file they are random.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeightsSection {
    /// Seed of random weights.
    pub seed: u64,
    /// A `.safetensors`, `.pth` or `.pt` file in the description's folder.
    pub file: Option<String>,
    /// Rules that turn documented names into the file's.
    pub map: Vec<Rule>,
}

/// Squeeze-and-excitation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqueezeExcite {
    /// Channels of the squeeze relative to what `of` names.
    pub ratio: f64,
    /// What the ratio refers to.
    #[serde(default)]
    pub of: SqueezeOf,
    /// The squeeze's channels are rounded to a multiple of this.
    #[serde(default = "one")]
    pub divisor: usize,
    /// Activation after the squeeze; the block's own if left out.
    pub activation: Option<Activation>,
    /// Activation of the gate.
    #[serde(default = "sigmoid")]
    pub gate: Activation,
}

fn one() -> usize {
    1
}

fn sigmoid() -> Activation {
    Activation::Sigmoid
}

/// What a squeeze's ratio refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqueezeOf {
    /// The block's input channels.
    #[default]
    Input,
    /// The channels after the expansion.
    Expanded,
}

/// Attention by channels, then by positions (Woo et al., CBAM: Convolutional Block Attention Module, 2018).
///
/// Channels: the image's mean and its maximum go through one and the same two layers, `C / reduction` channels and ReLU
/// between them; the sigmoid of their sum multiplies each channel. Positions: the maximum and the mean over the channels,
/// in this order, go through a convolution to one channel and batch normalisation; its sigmoid multiplies each position.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cbam {
    /// Channels relative to those between the two layers, which are rounded down and at least one.
    pub reduction: usize,
    /// Height and width of the window over positions: odd.
    pub kernel: usize,
    /// Whether a batch normalisation follows the convolution, as in the authors' code, or a bias.
    pub norm: bool,
}

impl Default for Cbam {
    fn default() -> Self {
        Cbam { reduction: 16, kernel: 7, norm: true }
    }
}

/// Efficient channel attention (Wang et al., ECA-Net, 2020): the sigmoid of a convolution over the channels' means, without
/// bias, multiplies each channel. The window is `t = floor(|(log2(C) + b) / gamma|)`, or `t + 1` where that is even.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Eca {
    /// The window's width, in place of what `gamma` and `b` give: odd.
    pub kernel: Option<usize>,
    /// Divides the logarithm.
    pub gamma: f64,
    /// Added to the logarithm.
    pub b: f64,
}

impl Default for Eca {
    fn default() -> Self {
        Eca { kernel: None, gamma: 2.0, b: 1.0 }
    }
}

/// A searched cell (Zoph et al., NASNet): pairs of operations on earlier states, whose results are added.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Each pair: `[operation, state, operation, state]`. States are `previous`, `current`, and the pairs' results by
    /// number from 0. Operations are `separable3`, `separable5`, `separable7`, `average3`, `max3` and `identity`.
    pub combine: Vec<[String; 4]>,
    /// States whose concatenation is the result.
    pub concat: Vec<String>,
}
