//! The frame of depthwise convolution and pooling: channels in vectors, windows by segments.
//!
//! For each segment of rows and of columns (see [`crate::window`]) the loops over vectors of channels, rows and blocks of
//! columns are written once; what happens to the taps of a block is the caller's.

use avocet_ir::Shape;
use avocet_ir::kernel::{Affine, BufferId, KernelBuilder, ValueId};
use avocet_ir::op::Padding;
use avocet_ir::schedule::Outer;

use crate::epilogue;
use crate::window::{Axis, Segment};

/// A window operator on channels-last images, whose result has a whole number of channels for each of the image's.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    batch: usize,
    /// Channels of the image, and how many the result has for each of them.
    channels: usize,
    multiplier: usize,
    /// Elements between neighbouring pixels of the image and of the result: their channels, or more where those are a
    /// range of more.
    pitch: [usize; 2],
    height: Axis,
    width: Axis,
}

/// One block of neighbouring positions in a row, for one vector of channels.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Index in the image of the first tap that is inside, at the first position, of the vector's first channel.
    pub(crate) image: Affine,
    /// Coordinates in the result of the first position: batch, row, column, channel.
    pub(crate) at: [Affine; 4],
    /// Positions.
    pub(crate) columns: usize,
    /// What it shares with its neighbours.
    pub(crate) strip: Strip,
}

/// Blocks of one row with the same taps inside the image, for one vector of channels.
#[derive(Clone, Debug)]
pub(crate) struct Strip {
    /// First channel of the vector, in the result.
    pub(crate) channel: Affine,
    /// Channels of the vector that exist.
    pub(crate) valid: usize,
    /// Lanes of the vector.
    pub(crate) lanes: usize,
    /// The segment of rows that it is in.
    pub(crate) rows: Segment,
    /// The segment of columns.
    pub(crate) row: Segment,
}

impl Sliding {
    /// The operator on an image of this shape with a result of that.
    pub(crate) fn new(
        image: &Shape,
        result: &Shape,
        window: [usize; 2],
        strides: [usize; 2],
        dilations: [usize; 2],
        padding: Padding,
    ) -> Self {
        let axis = |i: usize, before: usize, after: usize| Axis {
            extent: image[i + 1],
            window: window[i],
            stride: strides[i],
            dilation: dilations[i],
            before,
            after,
            positions: result[i + 1],
        };
        Sliding {
            batch: image[0],
            channels: image[3],
            multiplier: result[3] / image[3].max(1),
            pitch: [image[3], result[3]],
            height: axis(0, padding.top, padding.bottom),
            width: axis(1, padding.left, padding.right),
        }
    }

    /// The same on an image and a result with so many elements between pixels.
    pub(crate) fn with_pitch(self, pitch: [usize; 2]) -> Self {
        Sliding { pitch, ..self }
    }

    /// Elements between a tap and the next in the image: rows and columns.
    pub(crate) fn tap_strides(&self) -> [usize; 2] {
        let row = self.width.extent * self.pitch[0];
        [self.height.dilation * row, self.width.dilation * self.pitch[0]]
    }

    /// Elements of the image between neighbouring positions.
    pub(crate) fn column_stride(&self) -> usize {
        self.width.stride * self.pitch[0]
    }

    /// Index of a position in the result; `at` as in [`Block`].
    pub(crate) fn result(&self, [n, row, column, channel]: &[Affine; 4]) -> Affine {
        let line = self.width.positions * self.pitch[1];
        n * (self.height.positions * line) + row * line + column * self.pitch[1] + channel.clone()
    }

    /// Adds to the sums of a block's positions what one row of taps contributes, `row` rows below the first tap that is inside.
    /// Each pixel under the block is made once, by `pixel` from its index in the image, for all positions that have a tap
    /// on it.
    pub(crate) fn row_of_taps(
        &self,
        b: &mut KernelBuilder,
        block: &Block,
        row: &Affine,
        weights: &[ValueId],
        sums: &mut [ValueId],
        pixel: impl Fn(&mut KernelBuilder, Affine) -> ValueId,
    ) {
        let Axis { stride, dilation, .. } = self.width;
        let span = (block.columns - 1) * stride + (weights.len().max(1) - 1) * dilation + 1;
        let first = &block.image + row * self.tap_strides()[0];
        for place in 0..span {
            let mut made = None;
            for (column, sum) in sums.iter_mut().enumerate() {
                let Some(distance) = place.checked_sub(column * stride) else { continue };
                let (tap, off) = (distance / dilation, distance % dilation);
                if off != 0 || tap >= weights.len() {
                    continue;
                }
                let pixel = *made.get_or_insert_with(|| pixel(b, &first + place * self.pitch[0]));
                *sum = b.mul_add(pixel, weights[tap], *sum);
            }
        }
    }

    /// Stores the results of a block's positions, which `finish` makes of its sums.
    pub(crate) fn store(
        &self,
        b: &mut KernelBuilder,
        block: &Block,
        y: BufferId,
        sums: &[ValueId],
        finish: impl Fn(&mut KernelBuilder, ValueId, &[Affine]) -> ValueId,
    ) {
        epilogue::each(b, sums, |b, column, sum| {
            let mut at = block.at.clone();
            at[2] = &at[2] + column;
            let value = finish(b, sum, &at);
            b.store_partial(y, self.result(&at), value, block.strip.valid);
        });
    }

    /// Emits the loops; `body` is called for each block that is written out, with what `prepare` made before the loop
    /// over the blocks of a row.
    ///
    /// By channels, the image passes by once for each vector of channels, so it should fit a cache; by positions, it
    /// passes by once, in order.
    pub(crate) fn emit<T>(
        &self,
        b: &mut KernelBuilder,
        (columns, lanes, outer): (usize, usize, Outer),
        mut prepare: impl FnMut(&mut KernelBuilder, &Strip) -> T,
        mut body: impl FnMut(&mut KernelBuilder, &Block, &T),
    ) {
        let row_segments = self.height.segments();
        // Of the image: a block of them is a vector of the result.
        let block = lanes / self.multiplier.max(1);
        b.repeat(self.batch, |b, n| match outer {
            Outer::Channels => b.blocks(self.channels, block, |b, channel, valid| {
                for rows in &row_segments {
                    b.repeat(rows.positions.len(), |b, r| {
                        let channels = (channel.clone(), valid, lanes);
                        self.row(b, (&n, &r), rows, channels, columns, &mut prepare, &mut body);
                    });
                }
            }),
            Outer::Positions => {
                for rows in &row_segments {
                    b.repeat(rows.positions.len(), |b, r| {
                        b.blocks(self.channels, block, |b, channel, valid| {
                            let channels = (channel, valid, lanes);
                            self.row(b, (&n, &r), rows, channels, columns, &mut prepare, &mut body);
                        });
                    });
                }
            }
        });
    }

    /// One row of the result, for one vector of channels.
    #[allow(clippy::too_many_arguments)]
    fn row<T>(
        &self,
        b: &mut KernelBuilder,
        (n, r): (&Affine, &Affine),
        rows: &Segment,
        (first, valid, lanes): (Affine, usize, usize),
        columns: usize,
        prepare: &mut impl FnMut(&mut KernelBuilder, &Strip) -> T,
        body: &mut impl FnMut(&mut KernelBuilder, &Block, &T),
    ) {
        let line = self.width.extent * self.pitch[0];
        let top = self.height.element(rows.positions.start, rows.taps.start);
        let above = n * (self.height.extent * line) + (r * (self.height.stride * line)) + top * line;
        let (channel, valid) = (&first * self.multiplier, valid * self.multiplier);
        // A tail in the narrowest vectors that hold it.
        let lanes = if valid < lanes { valid.next_power_of_two().max(4).min(lanes) } else { lanes };
        for row in self.width.segments() {
            let strip =
                Strip { channel: channel.clone(), valid, lanes, rows: rows.clone(), row: row.clone() };
            let prepared = prepare(b, &strip);
            let left = self.width.element(row.positions.start, row.taps.start);
            b.blocks(row.positions.len(), columns, |b, c, columns| {
                let image = &above + (&c * self.column_stride()) + left * self.pitch[0] + first.clone();
                let at = [n.clone(), r + rows.positions.start, &c + row.positions.start, channel.clone()];
                body(b, &Block { image, at, columns, strip: strip.clone() }, &prepared);
            });
        }
    }
}
