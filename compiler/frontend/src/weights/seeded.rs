//! Seeded random weights, the same on every machine.
//!
//! Each tensor has a generator of its own: SplitMix64 (Steele, Lea, Flood 2014), started at the seed xor the FNV-1a hash
//! of the tensor's name, so that a tensor does not depend on what was made before it. The upper 24 bits of each step give
//! a number in [0, 1), scaled to the role's interval:
//!
//! - weights: uniform with variance `2 / fan_in` before an activation (He et al. 2015) and `1 / fan_in` elsewhere;
//! - biases, offsets and means: from -0.1 to 0.1; scales and variances: from 0.75 to 1.25.

use avocet_ir::{Shape, Tensor, TensorData};

use super::Role;

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0, inclusive, to 1, exclusive.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

fn fnv1a(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The tensor of this name.
pub(super) fn tensor(seed: u64, name: &str, shape: Shape, role: Role) -> Tensor {
    let (low, high) = match role {
        Role::Weight { fan_in, rectified } => {
            let variance = if rectified { 2.0 } else { 1.0 } / fan_in.max(1) as f32;
            // A uniform number from -b to b has the variance b * b / 3.
            let bound = (3.0 * variance).sqrt();
            (-bound, bound)
        }
        Role::Bias | Role::Mean => (-0.1, 0.1),
        Role::Scale | Role::Variance => (0.75, 1.25),
    };
    let mut generator = SplitMix64(seed ^ fnv1a(name));
    let data: Vec<f32> = (0..shape.elements()).map(|_| low + (high - low) * generator.unit()).collect();
    match Tensor::new(shape, TensorData::F32(data.into())) {
        Ok(tensor) => tensor,
        Err(_) => unreachable!("as many elements as the shape has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first numbers from seed 1234567, as in the reference implementation's test.
        let mut generator = SplitMix64(1234567);
        assert_eq!(generator.next(), 6457827717110365317);
        assert_eq!(generator.next(), 3203168211198807973);
    }

    #[test]
    fn tensors_repeat_and_depend_on_name_and_seed() {
        let make = |seed, name| {
            let shape = Shape::new([4, 9]).expect("small");
            tensor(seed, name, shape, Role::Weight { fan_in: 9, rectified: true })
        };
        assert_eq!(make(1, "a"), make(1, "a"));
        assert_ne!(make(1, "a"), make(1, "b"));
        assert_ne!(make(1, "a"), make(2, "a"));
        let bits = make(0, "golden")
            .as_f32()
            .expect("f32")
            .iter()
            .fold(0u64, |h, v| (h ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01b3));
        // Must never change: descriptions without weights promise that theirs repeat.
        assert_eq!(bits, 14_751_840_403_622_715_813);
    }
}
