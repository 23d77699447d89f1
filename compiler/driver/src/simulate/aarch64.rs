//! AArch64 instructions, as far as counting goes. All have four bytes.

use super::instruction::{Flow, Instruction, signed};

/// The number of the stack pointer as the base of an address.
const STACK: u32 = 31;

/// The instruction at this place; none where there is none, or one that kernels never have.
pub(super) fn decode(code: &[u8], place: usize) -> Option<Instruction> {
    let word = u32::from_le_bytes(code.get(place..place + 4)?.try_into().ok()?);
    let bits = |from: u32, count: u32| word >> from & ((1 << count) - 1);
    // Distances are in instructions.
    let target = |from: u32, count: u32| {
        let target = place as i64 + signed(bits(from, count), count) * 4;
        usize::try_from(target).ok()
    };
    let conditional = word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000;
    let flow = if conditional {
        Flow::Branch(target(5, 19)?)
    } else if word & 0x7e00_0000 == 0x3600_0000 {
        // tbz, tbnz
        Flow::Branch(target(5, 14)?)
    } else {
        match word >> 26 {
            0b00_0101 => Flow::Jump(target(0, 26)?),
            // bl
            0b10_0101 => return None,
            // ret; br and blr are what kernels never have.
            0b11_0101 if word & 0xffff_fc1f == 0xd65f_0000 => Flow::Return,
            0b11_0101 if word & 0xfe00_0000 == 0xd600_0000 => return None,
            _ => Flow::Next,
        }
    };
    let multiply_add = [
        // fmla and fmls of vectors, by vector and by element; fmadd and its kin.
        (0xbfa0_fc00, 0x0e20_cc00),
        (0xbfa0_fc00, 0x0ea0_cc00),
        (0xbf80_f400, 0x0f80_1000),
        (0xbf80_f400, 0x0f80_5000),
        (0xff00_0000, 0x1f00_0000),
    ]
    .iter()
    .any(|&(mask, value)| word & mask == value);
    let accesses = word & 0x0a00_0000 == 0x0800_0000;
    // Loads relative to the instruction have a number where others have their base.
    let literal = word & 0x3b00_0000 == 0x1800_0000;
    let adds = word & 0x7f80_0000 == 0x1100_0000;
    let stack = (accesses && !literal || adds) && bits(5, 5) == STACK;
    Some(Instruction { bytes: 4, multiply_add, stack, flow })
}

#[cfg(test)]
mod tests {
    use super::super::instruction::tests::{multiply_adds, stack_accesses};
    use super::*;

    #[test]
    fn words_by_the_manual() {
        // As aarch64-linux-gnu-as writes them.
        let [fmla, by_element, fmadd, fadd, fmul] =
            [0x4e22_cc20, 0x4f82_1020, 0x1f02_0c20, 0x4e22_d420, 0x6e22_dc20];
        assert_eq!(
            multiply_adds(decode, &[fmla, by_element, fmadd, fadd, fmul]),
            [true, true, true, false, false]
        );
        // ldr q0, [sp, #16]; str x0, [x1]; add x16, sp, #32; ldr q0, 8 (relative); stp x29, x30, [sp, #-16]!
        let words = [0x3dc0_07e0, 0xf900_0020, 0x9100_83f0, 0x9c00_005f, 0xa9bf_7bfd];
        assert_eq!(stack_accesses(decode, &words), [true, false, true, false, true]);
    }

    #[test]
    fn where_it_goes_on() {
        let flow = |word: u32| {
            decode(&[0; 8].into_iter().chain(word.to_le_bytes()).collect::<Vec<u8>>(), 8).map(|i| i.flow)
        };
        // b.ne to 8 back, cbnz to itself, tbz to 8 on, b to 4 back, ret, bl, br x0
        assert_eq!(flow(0x54ff_ffc1), Some(Flow::Branch(0)));
        assert_eq!(flow(0xb500_0000), Some(Flow::Branch(8)));
        assert_eq!(flow(0x3600_0040), Some(Flow::Branch(16)));
        assert_eq!(flow(0x17ff_ffff), Some(Flow::Jump(4)));
        assert_eq!(flow(0xd65f_03c0), Some(Flow::Return));
        assert_eq!([flow(0x9400_0000), flow(0xd61f_0000)], [None, None]);
        assert_eq!(flow(0x54ff_ff61), None, "before the start");
        assert_eq!(decode(&[0; 3], 0), None);
    }
}
