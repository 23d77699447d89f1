//! x86-64 instructions, as far as counting goes.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind, Register};

use super::instruction::{Flow, Instruction};

/// The instruction at this place; none where there is none, or one that kernels never have. Where the target has no fused
/// multiply-add (`fused`) each is a multiplication and an addition, of which the former are counted.
pub(super) fn decode(code: &[u8], place: usize, fused: bool) -> Option<Instruction> {
    let mut decoder = Decoder::with_ip(64, code.get(place..)?, place as u64, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let direct = instruction.op0_kind() == OpKind::NearBranch64;
    let target = || usize::try_from(instruction.near_branch64()).ok().filter(|&target| target < code.len());
    let flow = match instruction.mnemonic() {
        Mnemonic::Ret => Flow::Return,
        Mnemonic::Jmp if direct => Flow::Jump(target()?),
        // Calls, and jumps to computed places.
        Mnemonic::Jmp | Mnemonic::Call => return None,
        _ if direct => Flow::Branch(target()?),
        _ => Flow::Next,
    };
    let multiply_add = match instruction.mnemonic() {
        Mnemonic::Vfmadd132ps
        | Mnemonic::Vfmadd213ps
        | Mnemonic::Vfmadd231ps
        | Mnemonic::Vfmadd132ss
        | Mnemonic::Vfmadd213ss
        | Mnemonic::Vfmadd231ss => true,
        Mnemonic::Mulps | Mnemonic::Mulss | Mnemonic::Vmulps | Mnemonic::Vmulss => !fused,
        _ => false,
    };
    let stack = instruction.memory_base() == Register::RSP;
    Some(Instruction { bytes: instruction.len(), multiply_add, stack, flow })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_by_the_manual() {
        let of = |bytes: &[u8], fused| {
            let found = decode(bytes, 0, fused).expect("an instruction");
            assert_eq!(found.bytes, bytes.len());
            (found.multiply_add, found.stack)
        };
        // vfmadd231ps ymm0, ymm1, [rax]; mulps xmm0, xmm1; movaps [rsp + 16], xmm0; mov rax, [rdi]
        assert_eq!(of(&[0xc4, 0xe2, 0x75, 0xb8, 0x00], true), (true, false));
        assert_eq!(of(&[0x0f, 0x59, 0xc1], true), (false, false));
        assert_eq!(of(&[0x0f, 0x59, 0xc1], false), (true, false));
        assert_eq!(of(&[0x0f, 0x29, 0x44, 0x24, 0x10], true), (false, true));
        assert_eq!(of(&[0x48, 0x8b, 0x07], true), (false, false));
    }

    #[test]
    fn where_it_goes_on() {
        let flow = |bytes: &[u8]| decode(&[&[0x90; 8], bytes].concat(), 8, true).map(|i| i.flow);
        // jne to 8 back from its end, jmp to itself, ret, call, jmp rax, past the end, half an instruction
        assert_eq!(flow(&[0x75, 0xf8]), Some(Flow::Branch(2)));
        assert_eq!(flow(&[0xeb, 0xfe]), Some(Flow::Jump(8)));
        assert_eq!(flow(&[0xc3]), Some(Flow::Return));
        assert_eq!(
            [flow(&[0xe8, 0, 0, 0, 0]), flow(&[0xff, 0xe0]), flow(&[0x75, 0x70]), flow(&[0x0f])],
            [None; 4]
        );
    }
}
