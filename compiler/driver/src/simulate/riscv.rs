//! RISC-V instructions of two and four bytes, as far as counting goes.

use super::instruction::{Flow, Instruction, signed};

/// Numbers of the return address' register and of the stack pointer.
const RETURN: u32 = 1;
const STACK: u32 = 2;

/// The instruction at this place; none where there is none, or one that kernels never have.
pub(super) fn decode(code: &[u8], place: usize) -> Option<Instruction> {
    let half = u16::from_le_bytes(code.get(place..place + 2)?.try_into().ok()?);
    if half & 3 != 3 {
        return compressed(half.into(), place);
    }
    let word = u32::from_le_bytes(code.get(place..place + 4)?.try_into().ok()?);
    let bits = |from: u32, count: u32| word >> from & ((1 << count) - 1);
    let (opcode, destination, base) = (bits(0, 7), bits(7, 5), bits(15, 5));
    let flow = match opcode {
        0x63 => {
            let distance = bits(31, 1) << 12 | bits(7, 1) << 11 | bits(25, 6) << 5 | bits(8, 4) << 1;
            Flow::Branch(target(place, distance, 13)?)
        }
        0x6f if destination == 0 => {
            let distance = bits(31, 1) << 20 | bits(12, 8) << 12 | bits(20, 1) << 11 | bits(21, 10) << 1;
            Flow::Jump(target(place, distance, 21)?)
        }
        0x67 if destination == 0 && base == RETURN => Flow::Return,
        0x67 if destination == 0 => Flow::Jump(far_target(code, place, word)?),
        // Calls.
        0x6f | 0x67 => return None,
        _ => Flow::Next,
    };
    // fmadd and its kin; vfmacc and its kin, by vector and by scalar.
    let vector = opcode == 0x57 && matches!(bits(12, 3), 1 | 5) && word >> 29 == 0b101;
    let multiply_add = matches!(opcode, 0x43 | 0x47 | 0x4b | 0x4f) || vector;
    // Loads and stores, and additions, by which vectors' addresses are made.
    let uses = matches!(opcode, 0x03 | 0x07 | 0x23 | 0x27) || opcode == 0x13 && bits(12, 3) == 0;
    Some(Instruction { bytes: 4, multiply_add, stack: uses && base == STACK, flow })
}

/// The same for one of two bytes.
fn compressed(half: u32, place: usize) -> Option<Instruction> {
    let bits = |from: u32, count: u32| half >> from & ((1 << count) - 1);
    // All of its bits are zero: not an instruction.
    if half == 0 {
        return None;
    }
    let (quadrant, function) = (bits(0, 2), bits(13, 3));
    let flow = match (quadrant, function) {
        (1, 0b101) => {
            let distance = bits(12, 1) << 11
                | bits(8, 1) << 10
                | bits(9, 2) << 8
                | bits(6, 1) << 7
                | bits(7, 1) << 6
                | bits(2, 1) << 5
                | bits(11, 1) << 4
                | bits(3, 3) << 1;
            Flow::Jump(target(place, distance, 12)?)
        }
        (1, 0b110 | 0b111) => {
            let distance =
                bits(12, 1) << 8 | bits(5, 2) << 6 | bits(2, 1) << 5 | bits(10, 2) << 3 | bits(3, 2) << 1;
            Flow::Branch(target(place, distance, 9)?)
        }
        // c.jr and c.jalr, and c.ebreak.
        (2, 0b100) if bits(2, 5) == 0 => match (bits(12, 1), bits(7, 5)) {
            (0, RETURN) => Flow::Return,
            _ => return None,
        },
        _ => Flow::Next,
    };
    // c.addi4spn, c.addi16sp, and loads and stores relative to the stack pointer.
    let stack = match (quadrant, function) {
        (0, 0) => true,
        (1, 0b011) => bits(7, 5) == STACK,
        (2, 0b001..=0b011 | 0b101..=0b111) => true,
        _ => false,
    };
    Some(Instruction { bytes: 2, multiply_add: false, stack, flow })
}

/// Where a jump leads whose register comes from the instruction before it: far jumps are such pairs.
fn far_target(code: &[u8], place: usize, jump: u32) -> Option<usize> {
    let start = place.checked_sub(4)?;
    let before = u32::from_le_bytes(code.get(start..place)?.try_into().ok()?);
    let is_its_base = before & 0x7f == 0x17 && before >> 7 & 31 == jump >> 15 & 31;
    let distance = i64::from((before & 0xffff_f000).cast_signed()) + signed(jump >> 20, 12);
    usize::try_from(start as i64 + distance).ok().filter(|_| is_its_base)
}

fn target(place: usize, distance: u32, bits: u32) -> Option<usize> {
    usize::try_from(place as i64 + signed(distance, bits)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::instruction::tests::{multiply_adds, stack_accesses};
    use super::*;

    #[test]
    fn words_by_the_manual() {
        // vfmacc.vf v5, fa0, v20; vfmacc.vv v0, v1, v2; fmadd.s fa0, fa1, fa2, fa3; vfadd.vv v0, v1, v2; vle32.v v20, (s2)
        let words = [0xb345_52d7, 0xb220_9057, 0x68c5_f543, 0x0210_9057, 0x0209_6a07];
        assert_eq!(multiply_adds(decode, &words), [true, true, true, false, false]);
        // sd ra, 8(sp); addi t6, sp, 16; addi t6, s2, 16; ld a0, 0(a1); vse8.v v1, (sp)
        let words = [0x0011_3423, 0x0101_0f93, 0x0109_0f93, 0x0005_b503, 0x0201_00a7];
        assert_eq!(stack_accesses(decode, &words), [true, true, false, false, true]);
        let short = |half: u16| decode(&half.to_le_bytes(), 0).map(|i| i.stack);
        // c.sdsp ra, 8; c.addi16sp -16; c.mv s1, a0; c.ld a0, 0(a1)
        assert_eq!([0xe406, 0x717d, 0x84aa, 0x6188].map(short), [true, true, false, false].map(Some));
    }

    #[test]
    fn where_it_goes_on() {
        let flow = |bytes: &[u8]| decode(&[&[0; 8], bytes].concat(), 8).map(|i| i.flow);
        let word = |word: u32| flow(&word.to_le_bytes());
        let half = |half: u16| flow(&half.to_le_bytes());
        // bne a6, zero, -8; jal zero, 8; jalr zero, 0(ra); jal ra, 8; jalr zero, 0(t6)
        assert_eq!(word(0xfe08_1ce3), Some(Flow::Branch(0)));
        assert_eq!(word(0x0080_006f), Some(Flow::Jump(16)));
        assert_eq!(word(0x0000_8067), Some(Flow::Return));
        assert_eq!([word(0x0080_00ef), word(0x000f_8067)], [None, None]);
        // auipc t6, 0; jalr zero, -8(t6)
        let pair = [0x97, 0x0f, 0, 0, 0x67, 0x80, 0x8f, 0xff];
        assert_eq!(decode(&[&[0; 8], &pair[..]].concat(), 12).map(|i| i.flow), Some(Flow::Jump(0)));
        // c.j -8; c.bnez a5, 4; c.beqz a5, -2; c.jr ra; c.jr a0; c.mv
        assert_eq!(half(0xbfe5), Some(Flow::Jump(0)));
        assert_eq!(half(0xe391), Some(Flow::Branch(12)));
        assert_eq!(half(0xdffd), Some(Flow::Branch(6)));
        assert_eq!(half(0x8082), Some(Flow::Return));
        assert_eq!(half(0x8502), None);
        assert_eq!(half(0x84aa), Some(Flow::Next));
        assert_eq!([half(0), flow(&[3]), flow(&[3, 0])], [None; 3]);
    }
}
