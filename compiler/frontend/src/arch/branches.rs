//! Branches: blocks that go on from what was kept, that bring what was kept into their result, and that bring images to the
//! size of others, as decoders and pyramids do.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Layout, NearestRounding, Op, Resize, ResizeCoordinates, ResizeMode};

use super::builder::{BuildError, Builder, MOST_PIXELS, check_range};
use super::schema::{Block, SampleMode};

/// What the size of the network's input is called.
const INPUT: &str = "input";

/// What was kept under a name.
fn saved(b: &Builder, name: &str) -> Result<Value, BuildError> {
    let value = b.sight.saved.get(name).copied();
    value.ok_or_else(|| format!("nothing was saved as '{name}' before").into())
}

/// Goes on from what was kept, where the block says so.
pub(super) fn start(b: &mut Builder, block: &Block) -> Result<(), BuildError> {
    if let Some(name) = &block.from {
        b.sight.value = saved(b, name)?;
    }
    Ok(())
}

/// Brings what was kept into the block's result: a sum, a product, more channels.
pub(super) fn join(b: &mut Builder, block: &Block) -> Result<(), BuildError> {
    let x = b.sight.value;
    if let Some(name) = &block.add {
        let other = saved(b, name)?;
        b.sight.value = b.sum(&format!("add.{name}"), x, other)?;
    }
    let x = b.sight.value;
    if let Some(name) = &block.mul {
        let other = saved(b, name)?;
        b.sight.value = product(b, &format!("mul.{name}"), x, other)?;
    }
    let x = b.sight.value;
    if let Some(name) = &block.concat {
        if b.width.is_some() {
            return Err("it joins channels, whose first ones differ between widths".into());
        }
        let other = saved(b, name)?;
        b.channels(x)?;
        b.sight.value = b.add(&format!("concat.{name}"), Op::Concat { axis: 1 }, &[x, other])?;
    }
    Ok(())
}

/// The product of an image and a gate, whichever comes first.
fn product(b: &mut Builder, name: &str, x: Value, y: Value) -> Result<Value, BuildError> {
    let (one, other) = (b.dims(x), b.dims(y));
    let fits = |image: &[usize], gate: &[usize]| match (image, gate) {
        ([n, c, _, _], [m, d, 1, 1]) => n == m && c == d,
        _ => image == gate,
    };
    if !fits(&one, &other) && !fits(&other, &one) {
        return Err(format!("{} and {} can't be multiplied", b.graph.ty(x), b.graph.ty(y)).into());
    }
    b.add(name, Op::Binary(Binary::Mul), &[x, y])
}

/// Sampled at the centres of pixels, as PyTorch's `interpolate` does without `align_corners`.
pub(super) fn resize(b: &mut Builder, block: &Block, name: &str) -> Result<Value, BuildError> {
    let x = b.sight.value;
    b.channels(x)?;
    let dims = b.dims(x);
    let from = [dims[2], dims[3]];
    let size = match (&block.like, block.factor) {
        (Some(name), None) => match saved(b, name) {
            Ok(other) => {
                b.channels(other)?;
                let dims = b.dims(other);
                [dims[2], dims[3]]
            }
            Err(_) if name == INPUT => b.scaling.size,
            Err(error) => return Err(error),
        },
        (None, Some(factor)) => {
            check_range("factor", factor, 64)?;
            from.map(|side| side * factor)
        }
        _ => return Err("it needs either a key 'like', with the name of what was saved, or 'factor'".into()),
    };
    check_range("a side", size[0].max(size[1]), MOST_PIXELS)?;
    let mode = match block.mode.unwrap_or(SampleMode::Bilinear) {
        SampleMode::Bilinear => ResizeMode::Linear,
        SampleMode::Nearest => ResizeMode::Nearest(NearestRounding::RoundPreferFloor),
    };
    let op = Op::Resize(Resize {
        mode,
        coordinates: ResizeCoordinates::HalfPixel,
        size,
        scales: [0, 1].map(|i| size[i] as f32 / from[i] as f32),
        layout: Layout::Nchw,
    });
    b.add(name, op, &[x])
}
