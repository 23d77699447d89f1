//! The kinds of blocks, each as a function from its description to operators.

use avocet_ir::Value;
use avocet_ir::op::{Layout, Op, Pool, PoolKind, SliceAxis};

use super::builder::{BuildError, Builder, ConvSpec, check_name, check_range};
use super::schema::{Activation, Block, Cbam, Eca, Kind, PoolMode, SqueezeExcite, SqueezeOf};
use super::{attention, branches, cells, exits, gates};

/// Most repeats of a block after scaling.
const MOST_REPEATS: usize = 1000;

/// One instance of a block: the description with what repeats and scaling make of it.
struct Instance<'a> {
    block: &'a Block,
    name: String,
    out: usize,
    /// Channels inside, where the block gives them.
    hidden: Option<usize>,
    /// Channels of a squeeze, where the block gives them.
    squeeze: Option<usize>,
    stride: [usize; 2],
}

/// Adds a block with its repeats.
pub(super) fn add(builder: &mut Builder, block: &Block) -> Result<(), BuildError> {
    let allowed = block.kind.keys();
    if let Some(key) = block.given().into_iter().find(|key| !allowed.contains(key)) {
        let list = if allowed.is_empty() { "none".into() } else { allowed.join(", ") };
        return Err(format!("it has no key '{key}'; its keys are: {list}").into());
    }
    let scaled = block.scale.unwrap_or(true);
    let mut repeats = block.repeat.unwrap_or(1);
    check_range("repeat", repeats, MOST_REPEATS)?;
    // The stem and the head are single blocks, which depth leaves alone.
    if scaled && block.repeat.is_some() {
        repeats = builder.scaling.repeats(repeats);
        check_range("repeat, scaled,", repeats, MOST_REPEATS)?;
    }
    if let Some(name) = &block.name {
        check_name(name)?;
    }
    branches::start(builder, block)?;
    if usize::from(block.se.is_some()) + usize::from(block.cbam.is_some()) + usize::from(block.eca.is_some())
        > 1
    {
        return Err("'se', 'cbam' and 'eca' exclude each other".into());
    }
    builder.check_slimmable(block.kind)?;
    let channels = |count: usize| if scaled && count > 0 { builder.scaled(count) } else { count };
    let (out, hidden) = (channels(block.out.unwrap_or(0)), block.hidden.map(channels));
    let squeeze = block.squeeze.map(channels);
    for number in 0..repeats {
        let names = &mut builder.names;
        let name = match (&block.name, block.repeat) {
            (Some(name), None) => format!("{}{name}", names.given),
            (Some(name), Some(_)) => format!("{}{name}.{number}", names.given),
            (None, _) if block.kind == Kind::EarlyExit => format!("exits.{}", builder.exits.len()),
            (None, _) => {
                names.unnamed += 1;
                format!("{}{}", names.numbered, names.unnamed - 1)
            }
        };
        let stride = if number == 0 { block.stride.map_or([1; 2], |s| s.0) } else { [1; 2] };
        let instance = Instance { block, name, out, hidden, squeeze, stride };
        if block.kind == Kind::EarlyExit {
            // It takes nothing of what goes on, and adds nothing to it.
            exits::open(builder, block, &instance.name)?;
            continue;
        }
        let value = build(builder, &instance)?;
        builder.sight.previous = Some(std::mem::replace(&mut builder.sight.value, value));
    }
    branches::join(builder, block)?;
    if let Some(name) = &block.save {
        builder.sight.saved.insert(name.clone(), builder.sight.value);
    }
    Ok(())
}

fn build(b: &mut Builder, instance: &Instance) -> Result<Value, BuildError> {
    let (block, name, x) = (instance.block, instance.name.as_str(), b.sight.value);
    let activation = block.activation.unwrap_or(b.file.defaults.activation);
    match block.kind {
        Kind::Conv => {
            let spec = spec(b, instance, 1)?;
            b.conv(name, x, spec)
        }
        Kind::DepthwiseSeparable => {
            let full = spec(b, instance, 3)?;
            let channels = b.channels(x)?;
            let depthwise = ConvSpec { out: channels, groups: channels, ..full };
            let y = b.conv(&format!("{name}.depthwise"), x, depthwise)?;
            let activation = block.project_activation.unwrap_or(activation);
            b.conv(&format!("{name}.pointwise"), y, ConvSpec { activation, ..pointwise(full) })
        }
        Kind::InvertedResidual | Kind::Mbconv => inverted_residual(b, instance, activation),
        Kind::FusedMbconv => fused(b, instance, activation),
        Kind::Bottleneck => bottleneck(b, instance, activation),
        Kind::Basic => basic(b, instance, activation),
        Kind::ShuffleUnit => shuffle_unit(b, instance),
        Kind::Fire => fire(b, instance, activation),
        Kind::Cell => {
            let cell = b.cell(block.cell.as_deref().ok_or("it needs a key 'cell'")?)?;
            let filters = block.out.ok_or("it needs a key 'out': channels of the states")?;
            let [stride, other] = instance.stride;
            if stride != other {
                return Err("a cell's stride is one number".into());
            }
            cells::add(b, name, cell, filters, stride, block.project_previous.unwrap_or(true))
        }
        Kind::Pool => pool(b, instance),
        Kind::Resize => branches::resize(b, block, name),
        Kind::GlobalPool => b.global_pool(name, x, block.keep.unwrap_or(false)),
        Kind::Flatten => b.flatten(name, x),
        Kind::Dropout => Ok(x),
        Kind::Activation => b.activate(name, x, activation),
        Kind::Dense => {
            let out = block.out.ok_or("it needs a key 'out'")?;
            b.dense(name, x, out, block.activation.unwrap_or(Activation::None))
        }
        Kind::Classifier => {
            let classes = block.classes.ok_or("it needs a key 'classes'")?;
            let pooled = b.pooled(name, x)?;
            b.dense(name, pooled, classes, Activation::None)
        }
        Kind::Cbam => attention::cbam(b, name, x, block.cbam.as_ref().unwrap_or(&Cbam::default())),
        Kind::Eca => attention::eca(b, name, x, block.eca.as_ref().unwrap_or(&Eca::default())),
        Kind::SkipGate => gates::skip(b, block, name),
        Kind::Moe => gates::experts(b, block, name),
        // It has no value of its own.
        Kind::EarlyExit => Ok(x),
        Kind::Condconv => {
            let spec = spec(b, instance, 1)?;
            gates::mixed_conv(b, name, block.experts, spec)
        }
    }
}

/// The convolution that the block's keys describe.
fn spec(b: &Builder, instance: &Instance, kernel: usize) -> Result<ConvSpec, BuildError> {
    let block = instance.block;
    if instance.out == 0 {
        return Err("it needs a key 'out', at least 1".into());
    }
    Ok(ConvSpec {
        out: instance.out,
        kernel: block.kernel.map_or([kernel; 2], |k| k.0),
        stride: instance.stride,
        dilation: block.dilation.unwrap_or(1),
        groups: block.groups.unwrap_or(1),
        norm: block.norm.unwrap_or(true),
        bias: block.bias.unwrap_or(true),
        activation: block.activation.unwrap_or(b.file.defaults.activation),
        padding: block.padding.unwrap_or(b.file.defaults.padding),
    })
}

/// The same as a 1x1 convolution of stride 1.
fn pointwise(spec: ConvSpec) -> ConvSpec {
    ConvSpec { kernel: [1; 2], stride: [1; 2], dilation: 1, groups: 1, ..spec }
}

/// Sandler et al., MobileNetV2, 2018; with `se`, Tan et al., MnasNet, 2018.
fn inverted_residual(
    b: &mut Builder,
    instance: &Instance,
    activation: Activation,
) -> Result<Value, BuildError> {
    let (block, name, x) = (instance.block, &instance.name, b.sight.value);
    let full = spec(b, instance, 3)?;
    let channels = b.channels(x)?;
    let hidden = match (instance.hidden, block.expand) {
        (Some(_), Some(_)) => return Err("'hidden' and 'expand' exclude each other".into()),
        (Some(hidden), None) => hidden,
        (None, expand) => {
            let expand = expand.unwrap_or(6);
            check_range("expand", expand, 64)?;
            channels * expand
        }
    };
    let mut y = x;
    if hidden != channels {
        y = b.conv(&format!("{name}.expand"), y, ConvSpec { out: hidden, ..pointwise(full) })?;
    }
    y = b.conv(&format!("{name}.depthwise"), y, ConvSpec { out: hidden, groups: hidden, ..full })?;
    let usual = SqueezeExcite {
        ratio: 0.25,
        of: SqueezeOf::Input,
        divisor: 1,
        activation: None,
        gate: Activation::Sigmoid,
    };
    let has_usual = block.kind == Kind::Mbconv && block.cbam.is_none() && block.eca.is_none();
    let se = block.se.as_ref().or(has_usual.then_some(&usual));
    if let Some(se) = se {
        y = b.squeeze_excite(&format!("{name}.se"), y, channels, se, activation)?;
    }
    let y =
        b.conv(&format!("{name}.project"), y, ConvSpec { activation: Activation::None, ..pointwise(full) })?;
    residual(b, instance, y)
}

/// Tan and Le, EfficientNetV2, 2021.
fn fused(b: &mut Builder, instance: &Instance, activation: Activation) -> Result<Value, BuildError> {
    let (block, name, x) = (instance.block, &instance.name, b.sight.value);
    let full = spec(b, instance, 3)?;
    let (channels, expand) = (b.channels(x)?, block.expand.unwrap_or(1));
    check_range("expand", expand, 64)?;
    if expand == 1 {
        let mut y = b.conv(&format!("{name}.fused"), x, full)?;
        if let Some(se) = &block.se {
            y = b.squeeze_excite(&format!("{name}.se"), y, channels, se, activation)?;
        }
        return residual(b, instance, y);
    }
    let mut y = b.conv(&format!("{name}.fused"), x, ConvSpec { out: channels * expand, ..full })?;
    if let Some(se) = &block.se {
        y = b.squeeze_excite(&format!("{name}.se"), y, channels, se, activation)?;
    }
    let y =
        b.conv(&format!("{name}.project"), y, ConvSpec { activation: Activation::None, ..pointwise(full) })?;
    residual(b, instance, y)
}

/// Attention, if there is any; then adds the block's input where the shapes are the same and the block does not say no.
fn residual(b: &mut Builder, instance: &Instance, y: Value) -> Result<Value, BuildError> {
    let y = attention::within(b, instance.block, &instance.name, y)?;
    let same = b.graph.ty(b.sight.value) == b.graph.ty(y);
    match (instance.block.residual, same) {
        (Some(true), _) | (None, true) => b.sum(&format!("{}.residual", instance.name), y, b.sight.value),
        _ => Ok(y),
    }
}

/// He et al., ResNet, 2015 (stride in the 3x3, as torchvision); in groups, Xie et al., ResNeXt, 2016.
fn bottleneck(b: &mut Builder, instance: &Instance, activation: Activation) -> Result<Value, BuildError> {
    let (name, x) = (&instance.name, b.sight.value);
    let full = spec(b, instance, 3)?;
    let hidden = instance.hidden.unwrap_or((full.out / 4).max(1));
    let y = b.conv(&format!("{name}.reduce"), x, ConvSpec { out: hidden, ..pointwise(full) })?;
    let y = b.conv(&format!("{name}.spatial"), y, ConvSpec { out: hidden, ..full })?;
    let y =
        b.conv(&format!("{name}.expand"), y, ConvSpec { activation: Activation::None, ..pointwise(full) })?;
    shortcut(b, instance, full, y, activation)
}

/// He et al., ResNet, 2015.
fn basic(b: &mut Builder, instance: &Instance, activation: Activation) -> Result<Value, BuildError> {
    let (name, x) = (&instance.name, b.sight.value);
    let full = spec(b, instance, 3)?;
    let y = b.conv(&format!("{name}.first"), x, full)?;
    let second = ConvSpec { stride: [1; 2], activation: Activation::None, ..full };
    let y = b.conv(&format!("{name}.second"), y, second)?;
    shortcut(b, instance, full, y, activation)
}

/// The input, projected where shapes differ, is added; then the activation.
fn shortcut(
    b: &mut Builder,
    instance: &Instance,
    full: ConvSpec,
    mut y: Value,
    activation: Activation,
) -> Result<Value, BuildError> {
    let (name, x) = (&instance.name, b.sight.value);
    let channels = b.channels(x)?;
    if let Some(se) = &instance.block.se {
        y = b.squeeze_excite(&format!("{name}.se"), y, channels, se, activation)?;
    }
    y = attention::within(b, instance.block, name, y)?;
    let mut shortcut = x;
    if full.stride != [1; 2] || channels != full.out {
        let spec = ConvSpec { activation: Activation::None, stride: full.stride, ..pointwise(full) };
        shortcut = b.conv(&format!("{name}.shortcut"), x, spec)?;
    }
    let y = b.sum(&format!("{name}.residual"), y, shortcut)?;
    b.activate(name, y, activation)
}

/// Ma et al., ShuffleNetV2, 2018.
fn shuffle_unit(b: &mut Builder, instance: &Instance) -> Result<Value, BuildError> {
    let (name, x) = (&instance.name, b.sight.value);
    let full = spec(b, instance, 3)?;
    let channels = b.channels(x)?;
    if !full.out.is_multiple_of(2) {
        return Err(format!("{} output channels can't be halved", full.out).into());
    }
    let half = full.out / 2;
    let depthwise =
        |channels| ConvSpec { out: channels, groups: channels, activation: Activation::None, ..full };
    let point = ConvSpec { out: half, ..pointwise(full) };
    let (left, right) = if full.stride == [1; 2] {
        if channels != full.out {
            return Err(format!("with stride 1 it keeps its channels: {channels}, not {}", full.out).into());
        }
        let dims = b.dims(x);
        let part = |start: usize| {
            let mut axes: Vec<SliceAxis> =
                dims.iter().map(|&count| SliceAxis { start: 0, count, step: 1 }).collect();
            axes[1] = SliceAxis { start, count: half, step: 1 };
            Op::Slice { axes }
        };
        let left = b.add(&format!("{name}.left"), part(0), &[x])?;
        (left, b.add(&format!("{name}.right"), part(half), &[x])?)
    } else {
        let left = b.conv(&format!("{name}.left.depthwise"), x, depthwise(channels))?;
        (b.conv(&format!("{name}.left.pointwise"), left, point)?, x)
    };
    let right = b.conv(&format!("{name}.right.first"), right, point)?;
    let right = b.conv(&format!("{name}.right.depthwise"), right, depthwise(half))?;
    let right = b.conv(&format!("{name}.right.second"), right, point)?;
    let y = b.add(&format!("{name}.concat"), Op::Concat { axis: 1 }, &[left, right])?;
    b.add(&format!("{name}.shuffle"), Op::ChannelShuffle { groups: 2, axis: 1 }, &[y])
}

/// Iandola et al., SqueezeNet, 2016; `out` channels are halved between the two branches.
fn fire(b: &mut Builder, instance: &Instance, activation: Activation) -> Result<Value, BuildError> {
    let (name, x) = (&instance.name, b.sight.value);
    let squeeze = instance.squeeze.ok_or("it needs a key 'squeeze'")?;
    let full = ConvSpec { norm: false, activation, ..spec(b, instance, 3)? };
    if !full.out.is_multiple_of(2) {
        return Err(format!("{} output channels can't be halved", full.out).into());
    }
    let y = b.conv(&format!("{name}.squeeze"), x, ConvSpec { out: squeeze, ..pointwise(full) })?;
    let small = b.conv(&format!("{name}.expand1"), y, ConvSpec { out: full.out / 2, ..pointwise(full) })?;
    let large = b.conv(&format!("{name}.expand3"), y, ConvSpec { out: full.out / 2, ..full })?;
    b.add(&format!("{name}.concat"), Op::Concat { axis: 1 }, &[small, large])
}

fn pool(b: &mut Builder, instance: &Instance) -> Result<Value, BuildError> {
    let (block, x) = (instance.block, b.sight.value);
    let kernel = block.kernel.ok_or("it needs a key 'kernel'")?.0;
    let rule = block.padding.unwrap_or(b.file.defaults.padding);
    let padding = b.padding(x, kernel, instance.stride, 1, rule)?;
    let kind = match block.pool.ok_or("it needs a key 'pool': max or average")? {
        PoolMode::Max => PoolKind::Max,
        PoolMode::Average => PoolKind::Average { count_padding: false },
    };
    let op = Op::Pool(Pool {
        kind,
        window: kernel,
        strides: instance.stride,
        dilations: [1; 2],
        padding,
        ceil_mode: block.ceil.unwrap_or(false),
        layout: Layout::Nchw,
    });
    b.add(&instance.name, op, &[x])
}
