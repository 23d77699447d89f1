//! The parts that blocks are made of: convolutions with normalisation and activation, gates, dense layers.
//!
//! Tensor names are `BLOCK.PART.conv.weight`, `BLOCK.PART.conv.bias`, `BLOCK.PART.norm.{weight,bias,running_mean,
//! running_var}`, and `BLOCK.PART.{weight,bias}` of dense layers.

use std::collections::{BTreeMap, BTreeSet};

use avocet_ir::op::{Binary, Conv, Layout, Op, Padding, ReduceKind, Unary};
use avocet_ir::{Graph, Shape, TensorType, Value};

use super::blocks;
use super::exits::{self, Exit};
pub(super) use super::failure::BuildError;
use super::regions::Sight;
use super::scaling::{Scaling, round_channels};
use super::schema::{Activation, Block, Cell, File, PaddingRule, SqueezeExcite, SqueezeOf};
use super::slimmable::Width;
use crate::weights::{Role, Weights};

/// Most channels of a tensor.
const MOST_CHANNELS: usize = 1 << 17;
/// Most rows or columns of an image.
pub(super) const MOST_PIXELS: usize = 1 << 16;
/// Longest name in bytes.
const MOST_NAME: usize = 200;
/// Most nodes of a graph.
const MOST_NODES: usize = 1 << 17;
/// Most learned numbers of a network: 8 GiB of f32.
const MOST_PARAMETERS: usize = 1 << 31;

/// One convolution with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvSpec {
    pub(super) out: usize,
    /// Rows and columns.
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: usize,
    pub(super) groups: usize,
    /// Batch normalisation, or else a bias.
    pub(super) norm: bool,
    /// Whether there is a bias where there is no normalisation.
    pub(super) bias: bool,
    pub(super) activation: Activation,
    pub(super) padding: PaddingRule,
}

/// How the tensors of blocks are named.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// What the names that blocks give start with.
    pub(super) given: String,
    /// What those of unnamed blocks start with.
    pub(super) numbered: String,
    /// Unnamed blocks so far.
    pub(super) unnamed: usize,
}

/// A graph in the making.
pub(super) struct Builder<'a> {
    pub(super) graph: Graph,
    /// What blocks see of what was computed before.
    pub(super) sight: Sight,
    pub(super) file: &'a File,
    pub(super) scaling: &'a Scaling,
    pub(super) names: Names,
    /// Exits so far, whose branches are open.
    pub(super) exits: Vec<Exit>,
    /// How deep the block is within others.
    pub(super) depth: usize,
    /// Nodes of the graphs around this one, and of finished regions.
    pub(super) nodes: usize,
    /// The width that is being built, of a network that has several.
    pub(super) width: Option<Width>,
    weights: Weights,
    /// Names of the tensors so far.
    tensors: BTreeSet<String>,
    parameters: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        file: &'a File,
        batch: usize,
        scaling: &'a Scaling,
        weights: Weights,
    ) -> Result<Self, BuildError> {
        let [height, width] = scaling.size;
        let dims = [batch, file.input.channels, height, width];
        if dims.contains(&0) {
            return Err(format!("the input {dims:?} has a dimension of size zero").into());
        }
        for (what, value, most) in [
            ("the input's size", height.max(width), MOST_PIXELS),
            ("the input's channels", dims[1], MOST_CHANNELS),
            ("the batch", batch, MOST_PIXELS),
        ] {
            check_range(what, value, most)?;
        }
        let ty = TensorType::f32(dims).map_err(|e| e.to_string())?;
        let mut graph = Graph::new(file.name.clone());
        let name = file.input.name.clone().unwrap_or_else(|| "input".into());
        check_name(&name)?;
        let value = graph.add(name, Op::Input(ty), &[])?;
        let names = Names { given: String::new(), numbered: "blocks.".into(), unnamed: 0 };
        let sight = Sight { value, previous: None, saved: BTreeMap::new(), thresholds: None, head: None };
        let mut builder = Builder {
            graph,
            sight,
            file,
            scaling,
            names,
            exits: Vec::new(),
            depth: 0,
            nodes: 0,
            width: None,
            weights,
            tensors: BTreeSet::new(),
            parameters: 0,
        };
        exits::prepare(&mut builder)?;
        Ok(builder)
    }

    /// Adds blocks, one after the other.
    pub(super) fn blocks(&mut self, blocks: &[Block]) -> Result<(), BuildError> {
        for (number, block) in blocks.iter().enumerate() {
            blocks::add(self, block).map_err(|e| match e {
                BuildError::Weights(_) => e,
                e => BuildError::Within(number, block.kind.name(), Box::new(e)),
            })?;
        }
        Ok(())
    }

    /// Adds the whole network; its results by name.
    pub(super) fn network(&mut self) -> Result<Vec<(&'static str, Value)>, BuildError> {
        let file = self.file;
        self.blocks(&file.blocks)?;
        exits::close(self)
    }

    /// The finished graph.
    pub(super) fn finish(mut self, results: Vec<(&'static str, Value)>) -> Result<Graph, BuildError> {
        for (name, value) in results {
            self.graph.add_output(name, value);
        }
        self.weights.finish()?;
        Ok(self.graph)
    }

    /// Dimensions of a value.
    pub(super) fn dims(&self, value: Value) -> Vec<usize> {
        self.graph.ty(value).dims().to_vec()
    }

    /// Channels of an image.
    pub(super) fn channels(&self, value: Value) -> Result<usize, BuildError> {
        match self.dims(value)[..] {
            [_, channels, _, _] => Ok(channels),
            _ => Err(format!("it needs an image, but gets {}", self.graph.ty(value)).into()),
        }
    }

    /// A cell by its name.
    pub(super) fn cell(&self, name: &str) -> Result<&'a Cell, BuildError> {
        let known = || self.file.cells.keys().cloned().collect::<Vec<_>>().join(", ");
        self.file
            .cells
            .get(name)
            .ok_or_else(|| format!("there is no cell '{name}'; known are: {}", known()).into())
    }

    pub(super) fn add(&mut self, name: &str, op: Op, inputs: &[Value]) -> Result<Value, BuildError> {
        if self.nodes + self.graph.len() >= MOST_NODES {
            return Err(format!("the network has more than {MOST_NODES} nodes").into());
        }
        Ok(self.graph.add(name, op, inputs)?)
    }

    pub(super) fn tensor(&mut self, name: &str, dims: &[usize], role: Role) -> Result<Value, BuildError> {
        let count = dims.iter().try_fold(1usize, |product, &d| product.checked_mul(d));
        let total =
            count.and_then(|count| self.parameters.checked_add(count)).filter(|&t| t <= MOST_PARAMETERS);
        self.parameters =
            total.ok_or_else(|| format!("'{name}' brings the network over {MOST_PARAMETERS} parameters"))?;
        if let Some(tensor) = self.width.as_ref().and_then(|width| width.narrowed(name, dims)) {
            return Ok(self.graph.constant(name, tensor?));
        }
        // Two blocks of one name would silently share weights.
        if !self.tensors.insert(name.into()) {
            return Err(format!("there is a tensor '{name}' already: give the block another name").into());
        }
        let tensor = self.weights.tensor(name, dims, role)?;
        if let Some(width) = &mut self.width {
            width.keep(name, &tensor);
        }
        Ok(self.graph.constant(name, tensor))
    }

    /// An activation, if it is one.
    pub(super) fn activate(
        &mut self,
        name: &str,
        x: Value,
        activation: Activation,
    ) -> Result<Value, BuildError> {
        match activation.function() {
            Some(function) => self.add(&format!("{name}.activation"), Op::Unary(function), &[x]),
            None => Ok(x),
        }
    }

    /// A convolution, then normalisation or bias, then activation.
    pub(super) fn conv(&mut self, name: &str, x: Value, spec: ConvSpec) -> Result<Value, BuildError> {
        let y = self.plain_conv(name, x, spec)?;
        self.after_conv(name, y, spec)
    }

    /// The same with weights that are made from their dimensions and role.
    pub(super) fn conv_by(
        &mut self,
        name: &str,
        x: Value,
        spec: ConvSpec,
        weights: impl FnOnce(&mut Self, [usize; 4], Role) -> Result<Value, BuildError>,
    ) -> Result<Value, BuildError> {
        let y = self.plain_conv_by(name, x, spec, weights)?;
        self.after_conv(name, y, spec)
    }

    fn after_conv(&mut self, name: &str, mut y: Value, spec: ConvSpec) -> Result<Value, BuildError> {
        if spec.norm {
            y = self.norm(name, y)?;
        } else if spec.bias {
            let (out, tensor) = (spec.out, format!("{name}.conv.bias"));
            let bias = self.tensor_as(&tensor, &[out], &[out, 1, 1], Role::Bias)?;
            y = self.add(&format!("{name}.bias"), Op::Binary(Binary::Add), &[y, bias])?;
        }
        self.activate(name, y, spec.activation)
    }

    /// A convolution and nothing else.
    pub(super) fn plain_conv(&mut self, name: &str, x: Value, spec: ConvSpec) -> Result<Value, BuildError> {
        let tensor = format!("{name}.conv.weight");
        self.plain_conv_by(name, x, spec, |b, dims, role| b.tensor(&tensor, &dims, role))
    }

    fn plain_conv_by(
        &mut self,
        name: &str,
        x: Value,
        spec: ConvSpec,
        weights: impl FnOnce(&mut Self, [usize; 4], Role) -> Result<Value, BuildError>,
    ) -> Result<Value, BuildError> {
        let channels = self.channels(x)?;
        let ConvSpec { out, kernel, stride, dilation, groups, activation, padding, .. } = spec;
        check_range("channels", out, MOST_CHANNELS)?;
        check_range("groups", groups, MOST_CHANNELS)?;
        if !channels.is_multiple_of(groups) {
            return Err(format!("{groups} groups do not divide {channels} channels").into());
        }
        self.check_groups(groups, channels)?;
        let padding = self.padding(x, kernel, stride, dilation, padding)?;
        let per_group = channels / groups;
        let [height, width] = kernel;
        let fan_in = per_group * height * width;
        let role = Role::Weight { fan_in, rectified: activation != Activation::None };
        let weight = weights(self, [out, per_group, height, width], role)?;
        let op = Op::Conv(Conv {
            strides: stride,
            dilations: [dilation; 2],
            padding,
            groups,
            layout: Layout::Nchw,
        });
        self.add(&format!("{name}.conv"), op, &[x, weight])
    }

    /// A tensor that has another shape in the graph than where it comes from.
    pub(super) fn tensor_as(
        &mut self,
        name: &str,
        dims: &[usize],
        shape: &[usize],
        role: Role,
    ) -> Result<Value, BuildError> {
        let flat = self.tensor(name, dims, role)?;
        let tensor = self.graph.as_constant(flat).cloned();
        let shape = Shape::new(shape).map_err(|e| e.to_string())?;
        let reshaped = tensor.and_then(|t| t.reshaped(shape).ok()).ok_or("a tensor of another size")?;
        // The first form has no other user.
        self.graph.remove(flat.node)?;
        Ok(self.graph.constant(name, reshaped))
    }

    /// Batch normalisation.
    pub(super) fn norm(&mut self, name: &str, x: Value) -> Result<Value, BuildError> {
        let channels = self.channels(x)?;
        let mut inputs = vec![x];
        for (part, role) in [
            ("weight", Role::Scale),
            ("bias", Role::Bias),
            ("running_mean", Role::Mean),
            ("running_var", Role::Variance),
        ] {
            let tensor = match &self.width {
                Some(width) => format!("{name}.norm.{}.{part}", width.number),
                None => format!("{name}.norm.{part}"),
            };
            inputs.push(self.tensor(&tensor, &[channels], role)?);
        }
        let epsilon = self.file.defaults.epsilon;
        self.add(&format!("{name}.norm"), Op::BatchNorm { epsilon, axis: 1 }, &inputs)
    }

    /// Padding of a window by a rule.
    pub(super) fn padding(
        &self,
        x: Value,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: usize,
        rule: PaddingRule,
    ) -> Result<Padding, BuildError> {
        let [rows, columns] = [0, 1].map(|i| [("kernel", kernel[i]), ("stride", stride[i])]);
        for (what, value) in rows.into_iter().chain(columns).chain([("dilation", dilation)]) {
            check_range(what, value, 1024)?;
        }
        let span = kernel.map(|size| (size - 1) * dilation + 1);
        Ok(match rule {
            PaddingRule::Valid => Padding::default(),
            PaddingRule::Symmetric => Padding::symmetric((span[0] - 1) / 2, (span[1] - 1) / 2),
            PaddingRule::Same => {
                let dims = self.dims(x);
                let [.., height, width] = dims[..] else { return Err("it needs an image".into()) };
                let total = |size: usize, i: usize| {
                    ((size.div_ceil(stride[i]) - 1) * stride[i] + span[i]).saturating_sub(size)
                };
                let [rows, columns] = [total(height, 0), total(width, 1)];
                let (top, left) = (rows / 2, columns / 2);
                Padding { top, left, bottom: rows - top, right: columns - left }
            }
        })
    }

    /// Squeeze-and-excitation on `x`; `input` are the channels of the block's input.
    pub(super) fn squeeze_excite(
        &mut self,
        name: &str,
        x: Value,
        input: usize,
        se: &SqueezeExcite,
        activation: Activation,
    ) -> Result<Value, BuildError> {
        let channels = self.channels(x)?;
        let base = match se.of {
            SqueezeOf::Input => input,
            SqueezeOf::Expanded => channels,
        };
        if !(0.0..=16.0).contains(&se.ratio) || !(1..=1024).contains(&se.divisor) {
            return Err("se.ratio must be from 0 to 16 and se.divisor from 1 to 1024".into());
        }
        let squeezed = base as f64 * se.ratio;
        let squeezed = match se.divisor {
            1 => (squeezed.floor() as usize).max(1),
            divisor => round_channels(squeezed, divisor),
        };
        let spec = ConvSpec {
            out: squeezed,
            kernel: [1; 2],
            stride: [1; 2],
            dilation: 1,
            groups: 1,
            norm: false,
            bias: true,
            activation: se.activation.unwrap_or(activation),
            padding: PaddingRule::Valid,
        };
        let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![2, 3], keep_dims: true };
        let pooled = self.add(&format!("{name}.pool"), mean, &[x])?;
        let reduced = self.conv(&format!("{name}.reduce"), pooled, spec)?;
        let spec = ConvSpec { out: channels, activation: se.gate, ..spec };
        let gate = self.conv(&format!("{name}.expand"), reduced, spec)?;
        self.add(name, Op::Binary(Binary::Mul), &[x, gate])
    }

    /// What a dense layer can work on: the mean over the image, or what is none as it is.
    pub(super) fn pooled(&mut self, name: &str, x: Value) -> Result<Value, BuildError> {
        if self.dims(x).len() == 4 { self.global_pool(name, x, false) } else { Ok(x) }
    }

    /// The mean over the image, as a matrix of a row for each image, or as images of one pixel.
    pub(super) fn global_pool(&mut self, name: &str, x: Value, keep_dims: bool) -> Result<Value, BuildError> {
        self.channels(x)?;
        let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![2, 3], keep_dims };
        self.add(&format!("{name}.pool"), mean, &[x])
    }

    /// Everything but the batch in one dimension.
    pub(super) fn flatten(&mut self, name: &str, x: Value) -> Result<Value, BuildError> {
        let dims = self.dims(x);
        let (Some(&batch), true) = (dims.first(), dims.len() != 2) else { return Ok(x) };
        let rest = dims[1..].iter().product::<usize>();
        let shape = Shape::new([batch, rest]).map_err(|e| e.to_string())?;
        self.add(&format!("{name}.flatten"), Op::Reshape { shape }, &[x])
    }

    /// A fully connected layer with bias.
    pub(super) fn dense(
        &mut self,
        name: &str,
        x: Value,
        out: usize,
        activation: Activation,
    ) -> Result<Value, BuildError> {
        check_range("units", out, MOST_CHANNELS)?;
        let x = self.flatten(name, x)?;
        let inputs = self.dims(x)[1];
        let role = Role::Weight { fan_in: inputs, rectified: activation != Activation::None };
        let weight = self.tensor(&format!("{name}.weight"), &[out, inputs], role)?;
        let bias = self.tensor(&format!("{name}.bias"), &[out], Role::Bias)?;
        let op = Op::MatMul { transpose_a: false, transpose_b: true };
        let y = self.add(&format!("{name}.product"), op, &[x, weight])?;
        let y = self.add(name, Op::Binary(Binary::Add), &[y, bias])?;
        self.activate(name, y, activation)
    }

    /// The sum of two values of the same shape.
    pub(super) fn sum(&mut self, name: &str, a: Value, b: Value) -> Result<Value, BuildError> {
        let (left, right) = (self.graph.ty(a), self.graph.ty(b));
        if left != right {
            return Err(format!("{left} and {right} can't be added").into());
        }
        self.add(name, Op::Binary(Binary::Add), &[a, b])
    }

    /// `max(x, 0)`.
    pub(super) fn relu(&mut self, name: &str, x: Value) -> Result<Value, BuildError> {
        self.add(&format!("{name}.relu"), Op::Unary(Unary::Relu), &[x])
    }
}

/// That a name can stand in messages, listings and file formats.
pub(super) fn check_name(name: &str) -> Result<(), BuildError> {
    match name.is_empty() || name.len() > MOST_NAME || name.chars().any(char::is_control) {
        true => {
            let shown: String = name.escape_debug().take(MOST_NAME).collect();
            Err(format!("'{shown}' is no name: expected 1 to {MOST_NAME} printable characters").into())
        }
        false => Ok(()),
    }
}

/// That a size is from 1 to a limit.
pub(super) fn check_range(what: &str, value: usize, most: usize) -> Result<(), BuildError> {
    match (1..=most).contains(&value) {
        true => Ok(()),
        false => Err(format!("{what} is {value}, expected 1 to {most}").into()),
    }
}
