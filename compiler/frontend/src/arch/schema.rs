//! The data of an architecture description, the same for TOML, YAML and JSON.

use std::collections::BTreeMap;

use avocet_ir::op::Unary;
use serde::Deserialize;

use crate::weights::Rule;

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

/// Kinds of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Convolution, batch normalisation, activation.
    Conv,
    /// Depthwise, then pointwise convolution (MobileNet).
    DepthwiseSeparable,
    /// Expansion, depthwise convolution, projection (MobileNetV2).
    InvertedResidual,
    /// The same with squeeze-and-excitation (MnasNet, EfficientNet).
    Mbconv,
    /// Dense convolution, projection (EfficientNetV2).
    FusedMbconv,
    /// 1x1, 3x3 in groups, 1x1, with a shortcut (ResNet, ResNeXt).
    Bottleneck,
    /// Two 3x3 with a shortcut (ResNet).
    Basic,
    /// Channel split, branch, concatenation, shuffle (ShuffleNetV2).
    ShuffleUnit,
    /// Squeeze, then 1x1 and 3x3 side by side (SqueezeNet).
    Fire,
    /// A cell of the section `cells`.
    Cell,
    /// Maximum or average over windows.
    Pool,
    /// Mean over the image, flattened.
    GlobalPool,
    /// The image as a vector.
    Flatten,
    /// Does nothing in inference.
    Dropout,
    /// Activation alone.
    Activation,
    /// Fully connected layer.
    Dense,
    /// Mean over the image, dropout, fully connected layer.
    Classifier,
}

/// Kind of pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolMode {
    /// Largest.
    Max,
    /// Mean of what is inside the image.
    Average,
}

/// A block. Which keys belong to which kind is checked when it is built.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Name, first part of its tensors' names; numbered among the unnamed if left out.
    pub name: Option<String>,
    /// How often it follows itself; only the first has the stride.
    pub repeat: Option<usize>,
    /// Output channels.
    pub out: Option<usize>,
    /// Height and width of the window.
    pub kernel: Option<usize>,
    /// Step of the window.
    pub stride: Option<usize>,
    /// Distance between taps.
    pub dilation: Option<usize>,
    /// Groups of channels.
    pub groups: Option<usize>,
    /// Whether a batch normalisation follows (else a bias).
    pub norm: Option<bool>,
    /// Activation.
    pub activation: Option<Activation>,
    /// Activation after the last convolution.
    pub project_activation: Option<Activation>,
    /// Padding.
    pub padding: Option<PaddingRule>,
    /// Channels inside relative to the input's.
    pub expand: Option<usize>,
    /// Channels inside.
    pub hidden: Option<usize>,
    /// Squeeze-and-excitation.
    pub se: Option<SqueezeExcite>,
    /// Whether the input is added to the result where shapes allow.
    pub residual: Option<bool>,
    /// Channels of the squeeze.
    pub squeeze: Option<usize>,
    /// Kind of pooling.
    pub pool: Option<PoolMode>,
    /// Whether a last window may reach out of the image.
    pub ceil: Option<bool>,
    /// Results of a classifier.
    pub classes: Option<usize>,
    /// Name of a cell.
    pub cell: Option<String>,
    /// Whether the cell has an earlier result as its previous state (else its own input, as it is).
    pub project_previous: Option<bool>,
    /// Whether compound scaling applies; yes if left out.
    pub scale: Option<bool>,
    /// Keeps the result under this name.
    pub save: Option<String>,
    /// Adds what was kept under this name to the result.
    pub add: Option<String>,
}

impl Kind {
    /// Name in descriptions and messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Conv => "conv",
            Kind::DepthwiseSeparable => "depthwise_separable",
            Kind::InvertedResidual => "inverted_residual",
            Kind::Mbconv => "mbconv",
            Kind::FusedMbconv => "fused_mbconv",
            Kind::Bottleneck => "bottleneck",
            Kind::Basic => "basic",
            Kind::ShuffleUnit => "shuffle_unit",
            Kind::Fire => "fire",
            Kind::Cell => "cell",
            Kind::Pool => "pool",
            Kind::GlobalPool => "global_pool",
            Kind::Flatten => "flatten",
            Kind::Dropout => "dropout",
            Kind::Activation => "activation",
            Kind::Dense => "dense",
            Kind::Classifier => "classifier",
        }
    }

    /// Keys that belong to the kind, beyond `type`, `name`, `repeat`, `save` and `add`.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Conv => {
                &["out", "kernel", "stride", "dilation", "groups", "norm", "activation", "padding", "scale"]
            }
            Kind::DepthwiseSeparable => &[
                "out",
                "kernel",
                "stride",
                "dilation",
                "activation",
                "project_activation",
                "padding",
                "scale",
            ],
            Kind::InvertedResidual | Kind::Mbconv => &[
                "out",
                "kernel",
                "stride",
                "dilation",
                "activation",
                "padding",
                "expand",
                "hidden",
                "se",
                "residual",
                "scale",
            ],
            Kind::FusedMbconv => {
                &["out", "kernel", "stride", "activation", "padding", "expand", "se", "residual", "scale"]
            }
            Kind::Bottleneck => &[
                "out",
                "hidden",
                "kernel",
                "stride",
                "dilation",
                "groups",
                "activation",
                "padding",
                "se",
                "scale",
            ],
            Kind::Basic => &["out", "kernel", "stride", "activation", "padding", "se", "scale"],
            Kind::ShuffleUnit => &["out", "kernel", "stride", "activation", "padding", "scale"],
            Kind::Fire => &["squeeze", "out", "activation", "scale"],
            Kind::Cell => &["cell", "out", "stride", "project_previous"],
            Kind::Pool => &["pool", "kernel", "stride", "padding", "ceil"],
            Kind::GlobalPool | Kind::Flatten | Kind::Dropout => &[],
            Kind::Activation => &["activation"],
            Kind::Dense => &["out", "activation"],
            Kind::Classifier => &["classes"],
        }
    }
}

impl Block {
    /// The optional keys that are there.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let all = [
            ("out", self.out.is_some()),
            ("kernel", self.kernel.is_some()),
            ("stride", self.stride.is_some()),
            ("dilation", self.dilation.is_some()),
            ("groups", self.groups.is_some()),
            ("norm", self.norm.is_some()),
            ("activation", self.activation.is_some()),
            ("project_activation", self.project_activation.is_some()),
            ("padding", self.padding.is_some()),
            ("expand", self.expand.is_some()),
            ("hidden", self.hidden.is_some()),
            ("se", self.se.is_some()),
            ("residual", self.residual.is_some()),
            ("squeeze", self.squeeze.is_some()),
            ("pool", self.pool.is_some()),
            ("ceil", self.ceil.is_some()),
            ("classes", self.classes.is_some()),
            ("cell", self.cell.is_some()),
            ("project_previous", self.project_previous.is_some()),
            ("scale", self.scale.is_some()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(key, _)| key).collect()
    }
}
