//! The transform of the pixels of a strip.

use avocet_ir::kernel::{Access, Affine, BufferId, Element, Kernel, KernelBuilder, ValueId};

use super::points::Points;
use super::strip::{self, Strip};
use super::{Sizes, linear, row_width, spread};
use crate::window::Segment;

/// Pixels of a tile in the terms of its kernel.
struct Tile<'a> {
    /// The image and the element of the tile's first pixel, which may be outside.
    image: (BufferId, Affine),
    /// Elements between rows of the image.
    row_stride: usize,
    /// Elements between columns.
    column_stride: usize,
    /// Which rows and columns of the tile are inside the image.
    inside: [&'a Segment; 2],
    lanes: usize,
    valid: usize,
}

impl Tile<'_> {
    fn pixel(&self, b: &mut KernelBuilder, row: usize, column: usize) -> Option<ValueId> {
        let inside = self.inside[0].taps.contains(&row) && self.inside[1].taps.contains(&column);
        let index = || &self.image.1 + row * self.row_stride + column * self.column_stride;
        inside.then(|| b.load_partial(self.lanes, self.valid, self.image.0, index()))
    }
}

/// The kernel: pixels of the rows that the strip needs to matrices `[position][tile, channel]`.
///
/// Tiles at the edges are written out apart, without the loads of pixels that are outside.
pub(super) fn kernel(sizes: &Sizes, points: &Points, strip: &Strip, lanes: usize) -> Kernel {
    let output = points.outputs();
    let (column_stride, row_stride) = (sizes.pitch[0], sizes.image[1] * sizes.pitch[0]);
    let width = row_width(sizes, lanes);
    let matrix = spread(strip.count(sizes) * width);
    let mut b = KernelBuilder::new("winograd_input");
    let x = b.buffer(
        "x",
        Element::F32,
        strip.needed.len() * row_stride - (sizes.pitch[0] - sizes.inputs),
        Access::Read,
    );
    let v = b.buffer("v", Element::F32, points.positions() * matrix, Access::Write);
    for rows in &strip.rows(sizes, output) {
        b.repeat(rows.positions.len(), |b, row| {
            for columns in &strip::columns(sizes, output) {
                b.repeat(columns.positions.len(), |b, column| {
                    let row = row.clone() + rows.positions.start;
                    let column = column + columns.positions.start;
                    // Where the tile's first pixel is, counted from the rows that are needed.
                    let top = (&row * output) - (sizes.before[0] + strip.needed.start);
                    let left = (&column * output) - sizes.before[1];
                    let start = top * row_stride + left * column_stride;
                    let tile = (row - strip.tiles.start) * sizes.tiles[1] + column;
                    b.blocks(sizes.inputs, lanes, |b, channel, valid| {
                        let image = (x, &start + channel.clone());
                        let inside = [rows, columns];
                        let pixels = Tile { image, row_stride, column_stride, inside, lanes, valid };
                        transform(b, *points, &pixels, (v, &tile * width + channel), matrix);
                    });
                });
            }
        });
    }
    b.finish()
}

/// Transforms columns, then rows, for one or two rows of positions at a time: so few values are alive that the registers
/// of the smallest vector units hold them, for the price of loading some pixels more than once.
fn transform(
    b: &mut KernelBuilder,
    points: Points,
    tile: &Tile,
    (to, index): (BufferId, Affine),
    matrix: usize,
) {
    let (edge, lanes) = (points.edge(), tile.lanes);
    let groups = linear::position_groups(points);
    for group in &groups {
        let needed: Vec<bool> = {
            let row = points.input_row(group[0]);
            row.iter().map(|&c| c != 0.0).collect()
        };
        let columns: Vec<Vec<Option<ValueId>>> = (0..edge)
            .map(|column| {
                let pixels: Vec<Option<ValueId>> = (0..edge)
                    .map(|row| if needed[row] { tile.pixel(b, row, column) } else { None })
                    .collect();
                linear::pixels(b, lanes, points, group, &pixels)
            })
            .collect();
        for (i, &row) in group.iter().enumerate() {
            let values: Vec<Option<ValueId>> = columns.iter().map(|column| column[i]).collect();
            for group in &groups {
                let transformed = linear::pixels(b, lanes, points, group, &values);
                for (&column, value) in group.iter().zip(transformed) {
                    let value = value.unwrap_or_else(|| b.f32(lanes, 0.0));
                    b.store(to, &index + (row * edge + column) * matrix, value);
                }
            }
        }
    }
}
