//! What counting must know of an instruction.

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Its size.
    pub(super) bytes: usize,
    /// Whether it multiplies and adds floats.
    pub(super) multiply_add: bool,
    /// Whether it reads, writes or computes a place relative to the stack pointer.
    pub(super) stack: bool,
    /// What runs next.
    pub(super) flow: Flow,
}

/// Where an instruction leads to. Places are bytes from the code's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// To the following one.
    Next,
    /// To a place or to the following one.
    Branch(usize),
    /// To a place.
    Jump(usize),
    /// To the caller.
    Return,
}

/// The value of a two's complement number of so many bits.
pub(super) fn signed(value: u32, bits: u32) -> i64 {
    i64::from((value << (32 - bits)).cast_signed() >> (32 - bits))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    type Decode = fn(&[u8], usize) -> Option<Instruction>;

    fn each<T>(decode: Decode, words: &[u32], what: fn(Instruction) -> T) -> Vec<T> {
        words.iter().map(|word| what(decode(&word.to_le_bytes(), 0).expect("an instruction"))).collect()
    }

    /// Which words multiply and add.
    pub(in super::super) fn multiply_adds(decode: Decode, words: &[u32]) -> Vec<bool> {
        each(decode, words, |instruction| instruction.multiply_add)
    }

    /// Which words use the stack.
    pub(in super::super) fn stack_accesses(decode: Decode, words: &[u32]) -> Vec<bool> {
        each(decode, words, |instruction| instruction.stack)
    }

    #[test]
    fn the_highest_bit_is_the_sign() {
        assert_eq!([signed(0x1f, 5), signed(0x0f, 5), signed(u32::MAX, 32)], [-1, 15, -1]);
    }
}
