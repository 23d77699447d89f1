//! Strips: rows of tiles of one image that go through all parts of the method together.

use std::ops::Range;

use avocet_ir::schedule::Winograd;

use super::Sizes;
use crate::window::{Axis, Segment};

/// Rows of tiles.
#[derive(Clone, Debug)]
pub(super) struct Strip {
    /// Number of the image in the batch.
    pub(super) image: usize,
    /// The rows of tiles.
    pub(super) tiles: Range<usize>,
    /// Rows of the result.
    pub(super) result: Range<usize>,
    /// Rows of the image that are read; at least one.
    pub(super) needed: Range<usize>,
}

impl Strip {
    /// The strips of an image.
    pub(super) fn all(sizes: &Sizes, schedule: &Winograd, image: usize) -> Vec<Strip> {
        let rows = schedule.rows.max(1);
        (0..sizes.tiles[0].div_ceil(rows))
            .map(|strip| {
                let tiles = strip * rows..((strip + 1) * rows).min(sizes.tiles[0]);
                let result =
                    tiles.start * schedule.output..(tiles.end * schedule.output).min(sizes.result[0]);
                let height = sizes.image[0];
                // The window's rows around those of the result.
                let end = (tiles.end * schedule.output + 2).saturating_sub(sizes.before[0]).clamp(1, height);
                let start = result.start.saturating_sub(sizes.before[0]).min(end - 1);
                Strip { image, tiles, result, needed: start..end }
            })
            .collect()
    }

    /// Tiles of the strip.
    pub(super) fn count(&self, sizes: &Sizes) -> usize {
        self.tiles.len() * sizes.tiles[1]
    }

    /// Byte of the images where the rows that are needed begin.
    pub(super) fn image_offset(&self, sizes: &Sizes) -> usize {
        let [height, width] = sizes.image;
        (self.image * height + self.needed.start) * width * sizes.pitch[0] * 4
    }

    /// The rows of tiles in runs with the same pixels inside the image.
    pub(super) fn rows(&self, sizes: &Sizes, output: usize) -> Vec<Segment> {
        let segments = segments(sizes, 0, output).into_iter().map(|segment| {
            let Range { start, end } = segment.positions;
            Segment { positions: start.max(self.tiles.start)..end.min(self.tiles.end), ..segment }
        });
        segments.filter(|segment| !segment.positions.is_empty()).collect()
    }
}

/// The columns of tiles in runs with the same pixels inside the image.
pub(super) fn columns(sizes: &Sizes, output: usize) -> Vec<Segment> {
    segments(sizes, 1, output)
}

fn segments(sizes: &Sizes, axis: usize, output: usize) -> Vec<Segment> {
    let (window, positions) = (output + 2, sizes.tiles[axis]);
    let (extent, before) = (sizes.image[axis], sizes.before[axis]);
    // Tiles may end beyond the padding: what they find there counts in no result.
    let after = positions * output + window;
    Axis { extent, window, stride: output, dilation: 1, before, after, positions }.segments()
}
