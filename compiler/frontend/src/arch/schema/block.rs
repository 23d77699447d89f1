//! Blocks: their kinds, and the keys that each kind has.

use serde::Deserialize;

use super::{Activation, Cbam, Eca, Extents, PaddingRule, SqueezeExcite};

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
    /// Another height and width.
    Resize,
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
    /// Attention by channels and by positions, alone.
    Cbam,
    /// Efficient channel attention, alone.
    Eca,
    /// Blocks that run or not, as the image says (SkipNet, ConvNet-AIG).
    SkipGate,
    /// Experts, of which the image chooses some (Shazeer et al.).
    Moe,
    /// A classifier that ends the computation when it is sure (BranchyNet, MSDNet).
    EarlyExit,
    /// Convolution with weights mixed for each image (CondConv).
    Condconv,
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

/// How pixels are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleMode {
    /// Interpolated between the four around.
    Bilinear,
    /// The nearest.
    Nearest,
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
    pub kernel: Option<Extents>,
    /// Step of the window.
    pub stride: Option<Extents>,
    /// Distance between taps.
    pub dilation: Option<usize>,
    /// Groups of channels.
    pub groups: Option<usize>,
    /// Whether a batch normalisation follows (else a bias).
    pub norm: Option<bool>,
    /// Whether a convolution without normalisation has a bias.
    pub bias: Option<bool>,
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
    /// Attention by channels and by positions, before the input is added.
    pub cbam: Option<Cbam>,
    /// Efficient channel attention, before the input is added.
    pub eca: Option<Eca>,
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
    /// Blocks within the block.
    pub body: Option<Vec<Block>>,
    /// From which result on a gate is open.
    pub threshold: Option<f64>,
    /// Number of experts.
    pub experts: Option<usize>,
    /// How many of them are chosen.
    pub top_k: Option<usize>,
    /// Whether a pooled image stays one, of one pixel.
    pub keep: Option<bool>,
    /// Name of what has the size that is resized to.
    pub like: Option<String>,
    /// How many times larger an image becomes.
    pub factor: Option<usize>,
    /// How pixels are sampled.
    pub mode: Option<SampleMode>,
    /// Whether compound scaling applies; yes if left out.
    pub scale: Option<bool>,
    /// Takes what was kept under this name in place of the result before.
    pub from: Option<String>,
    /// Keeps the result under this name.
    pub save: Option<String>,
    /// Adds what was kept under this name to the result.
    pub add: Option<String>,
    /// Multiplies the result with what was kept under this name; one of them may have a single pixel.
    pub mul: Option<String>,
    /// Appends the channels of what was kept under this name.
    pub concat: Option<String>,
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
            Kind::Resize => "resize",
            Kind::GlobalPool => "global_pool",
            Kind::Flatten => "flatten",
            Kind::Dropout => "dropout",
            Kind::Activation => "activation",
            Kind::Dense => "dense",
            Kind::Classifier => "classifier",
            Kind::Cbam => "cbam",
            Kind::Eca => "eca",
            Kind::SkipGate => "skip_gate",
            Kind::Moe => "moe",
            Kind::EarlyExit => "early_exit",
            Kind::Condconv => "condconv",
        }
    }

    /// Keys that belong to the kind, beyond `type`, `name`, `repeat`, `from`, `save`, `add`, `mul` and `concat`.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Conv => &[
                "out",
                "kernel",
                "stride",
                "dilation",
                "groups",
                "norm",
                "bias",
                "activation",
                "padding",
                "scale",
            ],
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
                "cbam",
                "eca",
                "residual",
                "scale",
            ],
            Kind::FusedMbconv => &[
                "out",
                "kernel",
                "stride",
                "activation",
                "padding",
                "expand",
                "se",
                "cbam",
                "eca",
                "residual",
                "scale",
            ],
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
                "cbam",
                "eca",
                "scale",
            ],
            Kind::Basic => {
                &["out", "kernel", "stride", "activation", "padding", "se", "cbam", "eca", "scale"]
            }
            Kind::ShuffleUnit => &["out", "kernel", "stride", "activation", "padding", "scale"],
            Kind::Fire => &["squeeze", "out", "activation", "scale"],
            Kind::Cell => &["cell", "out", "stride", "project_previous"],
            Kind::Pool => &["pool", "kernel", "stride", "padding", "ceil"],
            Kind::Resize => &["like", "factor", "mode"],
            Kind::GlobalPool => &["keep"],
            Kind::Flatten | Kind::Dropout => &[],
            Kind::Activation => &["activation"],
            Kind::Dense => &["out", "activation"],
            Kind::Classifier => &["classes"],
            Kind::Cbam => &["cbam"],
            Kind::Eca => &["eca"],
            Kind::SkipGate => &["body", "hidden", "threshold", "residual"],
            Kind::Moe => &["body", "experts", "top_k"],
            Kind::EarlyExit => &["body", "classes"],
            Kind::Condconv => &[
                "out",
                "experts",
                "kernel",
                "stride",
                "dilation",
                "groups",
                "norm",
                "activation",
                "padding",
                "scale",
            ],
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
            ("bias", self.bias.is_some()),
            ("activation", self.activation.is_some()),
            ("project_activation", self.project_activation.is_some()),
            ("padding", self.padding.is_some()),
            ("expand", self.expand.is_some()),
            ("hidden", self.hidden.is_some()),
            ("se", self.se.is_some()),
            ("cbam", self.cbam.is_some()),
            ("eca", self.eca.is_some()),
            ("residual", self.residual.is_some()),
            ("squeeze", self.squeeze.is_some()),
            ("pool", self.pool.is_some()),
            ("ceil", self.ceil.is_some()),
            ("classes", self.classes.is_some()),
            ("cell", self.cell.is_some()),
            ("project_previous", self.project_previous.is_some()),
            ("body", self.body.is_some()),
            ("threshold", self.threshold.is_some()),
            ("experts", self.experts.is_some()),
            ("top_k", self.top_k.is_some()),
            ("keep", self.keep.is_some()),
            ("like", self.like.is_some()),
            ("factor", self.factor.is_some()),
            ("mode", self.mode.is_some()),
            ("scale", self.scale.is_some()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(key, _)| key).collect()
    }
}
