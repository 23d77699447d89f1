//! Windows along one axis: which taps fall inside the image at which positions.
//!
//! Positions at which the same taps are inside form a segment; between the borders there is one long segment with all
//! taps. Generators write each segment out, so that nothing is tested while a kernel runs and no padded copy is needed.

use std::ops::Range;

/// Positions with the same taps inside the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Positions.
    pub(crate) positions: Range<usize>,
    /// Taps inside the image; the same for all of them.
    pub(crate) taps: Range<usize>,
    /// Taps inside the image or its padding: what an average that counts the padding divides by.
    pub(crate) padded_taps: usize,
}

/// One axis of a window operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// Elements of the image.
    pub(crate) extent: usize,
    /// Taps.
    pub(crate) window: usize,
    /// Step between positions.
    pub(crate) stride: usize,
    /// Distance between taps.
    pub(crate) dilation: usize,
    /// Padding before the image.
    pub(crate) before: usize,
    /// Padding after it.
    pub(crate) after: usize,
    /// Positions.
    pub(crate) positions: usize,
}

impl Axis {
    /// The segments, in order.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for position in 0..self.positions {
            // The first tap is at this place of the padded image.
            let start = position * self.stride;
            let first = self.before.saturating_sub(start).div_ceil(self.dilation).min(self.window);
            let count = |end: usize| end.saturating_sub(start).div_ceil(self.dilation).min(self.window);
            let taps = first..count(self.before + self.extent).max(first);
            let padded_taps = count(self.before + self.extent + self.after);
            match segments.last_mut() {
                Some(last) if last.taps == taps && last.padded_taps == padded_taps => {
                    last.positions.end = position + 1;
                }
                _ => segments.push(Segment { positions: position..position + 1, taps, padded_taps }),
            }
        }
        segments
    }

    /// Element of the image under a tap at a position.
    pub(crate) fn element(&self, position: usize, tap: usize) -> usize {
        (position * self.stride + tap * self.dilation).saturating_sub(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(extent: usize, window: usize, stride: usize, dilation: usize, around: (usize, usize)) -> Axis {
        let positions = (extent + around.0 + around.1 - (window - 1) * dilation - 1) / stride + 1;
        Axis { extent, window, stride, dilation, before: around.0, after: around.1, positions }
    }

    #[test]
    fn borders_have_segments_of_their_own() {
        let segments = axis(8, 3, 1, 1, (1, 1)).segments();
        let taps: Vec<_> = segments.iter().map(|s| (s.positions.clone(), s.taps.clone())).collect();
        assert_eq!(taps, [(0..1, 1..3), (1..7, 0..3), (7..8, 0..2)]);
    }

    #[test]
    fn a_window_wider_than_the_image() {
        let segments = axis(1, 5, 1, 1, (2, 2)).segments();
        assert_eq!(segments, [Segment { positions: 0..1, taps: 2..3, padded_taps: 5 }]);
    }

    #[test]
    fn every_tap_of_a_segment_is_inside() {
        for (stride, dilation, around) in [(1, 1, (0, 0)), (2, 1, (1, 0)), (3, 2, (4, 1)), (2, 3, (3, 5))] {
            let axis = axis(11, 3, stride, dilation, around);
            for s in axis.segments() {
                for position in s.positions {
                    for tap in 0..3 {
                        let place = position * stride + tap * dilation;
                        let inside = place >= around.0 && place < around.0 + 11;
                        assert_eq!(s.taps.contains(&tap), inside, "{axis:?} {position} {tap}");
                    }
                }
            }
        }
    }
}
