//! The frame of depthwise convolution and pooling: channels in vectors, windows by segments.
//!
//! For each segment of rows and of columns (see [`crate::window`]) the loops over vectors of channels, rows and blocks of
//! columns are written once; what happens to the taps of a block is the caller's.

use avocet_ir::Shape;
use avocet_ir::kernel::{Affine, KernelBuilder};
use avocet_ir::op::Padding;

use crate::window::{Axis, Segment};

/// A window operator on channels-last images.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    batch: usize,
    channels: usize,
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
    /// Channels of the vector that exist.
    pub(crate) valid: usize,
    /// The segments that the block is in.
    pub(crate) rows: Segment,
    /// See `rows`.
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
            height: axis(0, padding.top, padding.bottom),
            width: axis(1, padding.left, padding.right),
        }
    }

    /// Elements between a tap and the next in the image: rows and columns.
    pub(crate) fn tap_strides(&self) -> [usize; 2] {
        let row = self.width.extent * self.channels;
        [self.height.dilation * row, self.width.dilation * self.channels]
    }

    /// Elements of the image between neighbouring positions.
    pub(crate) fn column_stride(&self) -> usize {
        self.width.stride * self.channels
    }

    /// Index of a position in the result; `at` as in [`Block`].
    pub(crate) fn result(&self, [n, row, column, channel]: &[Affine; 4]) -> Affine {
        let line = self.width.positions * self.channels;
        n * (self.height.positions * line) + row * line + column * self.channels + channel.clone()
    }

    /// Emits the loops; `body` is called for each block that is written out.
    pub(crate) fn emit(
        &self,
        b: &mut KernelBuilder,
        lanes: usize,
        columns: usize,
        mut body: impl FnMut(&mut KernelBuilder, &Block),
    ) {
        let (row_segments, column_segments) = (self.height.segments(), self.width.segments());
        let line = self.width.extent * self.channels;
        b.repeat(self.batch, |b, n| {
            b.blocks(self.channels, lanes, |b, channel, valid| {
                for rows in &row_segments {
                    b.repeat(rows.positions.len(), |b, r| {
                        let top = self.height.element(rows.positions.start, rows.taps.start);
                        let above = &n * (self.height.extent * line)
                            + (&r * (self.height.stride * line))
                            + top * line;
                        for row in &column_segments {
                            let left = self.width.element(row.positions.start, row.taps.start);
                            b.blocks(row.positions.len(), columns, |b, c, columns| {
                                let image = &above
                                    + (&c * self.column_stride())
                                    + left * self.channels
                                    + channel.clone();
                                let at = [
                                    n.clone(),
                                    &r + rows.positions.start,
                                    &c + row.positions.start,
                                    channel.clone(),
                                ];
                                let (rows, row) = (rows.clone(), row.clone());
                                body(b, &Block { image, at, columns, valid, rows, row });
                            });
                        }
                    });
                }
            });
        });
    }
}
