//! Spatial resizing, as ONNX Resize with its `scales` or `sizes` already resolved.
//!
//! Source coordinates are computed in f32, in the order of operations that ONNX Runtime uses, although everything else
//! here is f64: the nearest element is a choice, which flips when `x / scale` rounds differently, and models are trained
//! and tested against f32 coordinates. Coordinates outside the image are moved to its edge. (One difference is meant:
//! ONNX Runtime copies the input when no size changes, even if a scale that is not 1 shifts the coordinates.)

use avocet_ir::op::{Layout, Resize, ResizeMode, sampling};
use avocet_ir::{Op, Tensor, TensorType};

use super::gather::{AxisTable, gather_tensor, linear};
use super::{EvaluateError, f32_data, f32_result};

pub(super) fn resize(
    resize: &Resize,
    op: &Op,
    x: &Tensor,
    output: &TensorType,
) -> Result<Tensor, EvaluateError> {
    let [row_axis, column_axis] = resize.layout.spatial_axes();
    let coordinates = |i: usize| -> Vec<f32> {
        let axis = [row_axis, column_axis][i];
        let (extent, size) = (x.shape()[axis], resize.size[i]);
        (0..size).map(|at| sampling::source(resize.coordinates, at, extent, size, resize.scales[i])).collect()
    };
    match resize.mode {
        ResizeMode::Nearest(rounding) => gather_tensor(x, &output.shape, 0.0, || {
            let strides = x.shape().strides();
            let mut tables: Vec<AxisTable> =
                (0..4).map(|axis| linear(output.dims()[axis], strides[axis])).collect();
            for (i, axis) in [row_axis, column_axis].into_iter().enumerate() {
                let last = x.shape()[axis].saturating_sub(1);
                let element = |at: f32| Some(sampling::nearest(rounding, at, last) * strides[axis]);
                tables[axis] = coordinates(i).into_iter().map(element).collect();
            }
            tables
        }),
        ResizeMode::Linear => {
            let data = f32_data(op, x)?;
            if output.shape.elements() == 0 {
                return f32_result(output, Vec::new());
            }
            let rows: Vec<Between> =
                coordinates(0).into_iter().map(|at| Between::new(at, x.shape()[row_axis])).collect();
            let columns: Vec<Between> =
                coordinates(1).into_iter().map(|at| Between::new(at, x.shape()[column_axis])).collect();
            f32_result(output, bilinear(resize.layout, data, x, output, &rows, &columns))
        }
    }
}

/// Two neighbouring elements along an axis and the share of the second.
struct Between {
    low: usize,
    high: usize,
    share: f64,
}

impl Between {
    fn new(at: f32, extent: usize) -> Self {
        let last = extent.saturating_sub(1);
        let at = f64::from(at).clamp(0.0, last as f64);
        let low = at.floor() as usize;
        Between { low, high: (low + 1).min(last), share: at - at.floor() }
    }

    fn mix(&self, low: f64, high: f64) -> f64 {
        low * (1.0 - self.share) + high * self.share
    }
}

fn bilinear(
    layout: Layout,
    data: &[f32],
    x: &Tensor,
    output: &TensorType,
    rows: &[Between],
    columns: &[Between],
) -> Vec<f32> {
    let strides = x.shape().strides();
    let [row_stride, column_stride] = layout.spatial_axes().map(|axis| strides[axis]);
    let [row_axis, column_axis] = layout.spatial_axes();
    let channel_axis = layout.channel_axis();
    let out_strides = output.shape.strides();
    let coordinate = |index: usize, axis: usize| index / out_strides[axis] % output.dims()[axis];
    let value = |index: usize| {
        let (row, column) = (&rows[coordinate(index, row_axis)], &columns[coordinate(index, column_axis)]);
        let start =
            coordinate(index, 0) * strides[0] + coordinate(index, channel_axis) * strides[channel_axis];
        let at = |y: usize, x: usize| f64::from(data[start + y * row_stride + x * column_stride]);
        let line = |y: usize| column.mix(at(y, column.low), at(y, column.high));
        row.mix(line(row.low), line(row.high)) as f32
    };
    (0..output.shape.elements()).map(value).collect()
}
