//! Compound scaling: factors of depth, width and resolution from one coefficient.

use super::BuildOptions;
use super::schema::File;

/// Factors and sizes after scaling.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scaling {
    width: f64,
    depth: f64,
    divisor: usize,
    /// Height and width of the input.
    pub(super) size: [usize; 2],
}

/// Largest coefficient: beyond, networks are larger than any machine.
const MOST_PHI: u32 = 20;

impl Scaling {
    pub(super) fn new(file: &File, options: &BuildOptions) -> Result<Self, String> {
        let given = |size: [usize; 2]| [0, 1].map(|axis| options.size[axis].unwrap_or(size[axis]));
        let size = [file.input.height, file.input.width];
        let Some(compound) = &file.compound else {
            return match options.phi {
                Some(_) => Err("phi is given, but the description has no section 'compound'".into()),
                None => Ok(Scaling { width: 1.0, depth: 1.0, divisor: 1, size: given(size) }),
            };
        };
        let phi = options.phi.unwrap_or(compound.phi);
        if phi > MOST_PHI {
            return Err(format!("phi is {phi}, expected 0 to {MOST_PHI}"));
        }
        for (name, value) in [("alpha", compound.alpha), ("beta", compound.beta), ("gamma", compound.gamma)] {
            if !(1.0..=4.0).contains(&value) {
                return Err(format!("compound.{name} is {value}, expected 1 to 4"));
            }
        }
        if !(1..=1024).contains(&compound.divisor) {
            return Err(format!("compound.divisor is {}, expected 1 to 1024", compound.divisor));
        }
        let row = compound.table.iter().find(|row| row.phi == phi);
        let power = |base: f64| base.powi(phi as i32);
        let (width, depth) = match row {
            Some(row) => (row.width, row.depth),
            None => (power(compound.beta), power(compound.alpha)),
        };
        if !(0.01..=1000.0).contains(&width) || !(0.01..=1000.0).contains(&depth) {
            return Err(format!(
                "factors {width} of the width and {depth} of the depth: expected 0.01 to 1000"
            ));
        }
        let size = match row {
            Some(row) => [row.resolution; 2],
            None => size.map(|s| (s as f64 * power(compound.gamma)).round() as usize),
        };
        Ok(Scaling { width, depth, divisor: compound.divisor, size: given(size) })
    }

    /// Channels after scaling, rounded as in the EfficientNet paper's code.
    pub(super) fn channels(&self, channels: usize) -> usize {
        if self.width == 1.0 {
            return channels;
        }
        round_channels(channels as f64 * self.width, self.divisor)
    }

    /// Repeats after scaling.
    pub(super) fn repeats(&self, repeats: usize) -> usize {
        (repeats as f64 * self.depth).ceil() as usize
    }
}

/// The nearest multiple of the divisor, at least the divisor, and not more than 10 % below.
pub(super) fn round_channels(channels: f64, divisor: usize) -> usize {
    let divided = divisor as f64;
    let rounded = (((channels + divided / 2.0) / divided).floor() * divided).max(divided);
    (if rounded < 0.9 * channels { rounded + divided } else { rounded }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_rounded_as_efficientnet_does() {
        for (channels, factor, expected) in
            [(32, 1.1, 32), (40, 1.2, 48), (1280, 1.4, 1792), (16, 1.8, 32), (24, 1.1, 24)]
        {
            assert_eq!(round_channels(channels as f64 * factor, 8), expected, "{channels} * {factor}");
        }
        assert_eq!(round_channels(1.0, 8), 8);
    }
}
