//! What Cranelift's functions do to their caller's frame, in the terms of [`avocet_ir::backend`].
//!
//! Cranelift describes prologues only: within an epilogue the description is wrong once the frame pointer is the
//! caller's again, and a profiler that stops there loses its way. So each return is marked by a source location of its
//! own, which the machine code's table of locations leads back to: right before the return instruction everything is as
//! it was at the function's start.

use avocet_ir::backend::{FrameChange, FrameRule};
use cranelift_codegen::CompiledCode;
use cranelift_codegen::ir::{InstBuilder, SourceLoc, Value};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::UnwindInst;
use cranelift_frontend::FunctionBuilder;
use gimli::{AArch64, Register, RiscV, X86_64};
use target_lexicon::Architecture;

/// What Cranelift keeps to itself about an architecture: registers by DWARF's numbers, and instructions.
pub(crate) struct Convention {
    pub(crate) stack: Register,
    pub(crate) frame: Register,
    /// Where a call puts the return address, if not on the stack.
    link: Option<Register>,
    /// Bytes from the stack pointer up to the caller's frame when a function starts.
    start: u32,
    /// Return instructions.
    returns: &'static [&'static [u8]],
}

impl Convention {
    /// The convention of an ISA; none where nothing is known of it, and nothing is described then.
    pub(crate) fn of(isa: &dyn TargetIsa) -> Option<Convention> {
        match isa.triple().architecture {
            Architecture::X86_64 => Some(Convention {
                stack: X86_64::RSP,
                frame: X86_64::RBP,
                link: None,
                start: 8,
                returns: &[&[0xc3]],
            }),
            Architecture::Aarch64(_) => Some(Convention {
                stack: AArch64::SP,
                frame: AArch64::X29,
                link: Some(AArch64::X30),
                start: 0,
                returns: &[&[0xc0, 0x03, 0x5f, 0xd6]],
            }),
            Architecture::Riscv64(_) => Some(Convention {
                stack: RiscV::SP,
                frame: RiscV::S0,
                link: Some(RiscV::RA),
                start: 0,
                returns: &[&[0x67, 0x80, 0x00, 0x00], &[0x82, 0x80]],
            }),
            _ => None,
        }
    }
}

/// Ends a block with a return that [`changes`] finds again; each of a function's returns needs a number of its own.
pub(crate) fn leave(builder: &mut FunctionBuilder<'_>, number: u32, results: &[Value]) {
    builder.set_srcloc(SourceLoc::new(number));
    builder.ins().return_(results);
    builder.set_srcloc(SourceLoc::default());
}

/// What a compiled function does to its caller's frame.
pub(crate) fn changes(code: &CompiledCode, isa: &dyn TargetIsa) -> Result<Vec<FrameChange>, String> {
    let Some(convention) = Convention::of(isa) else { return Ok(Vec::new()) };
    let mut changes = prologue(code, isa, &convention)?;
    if changes.is_empty() {
        return Ok(changes);
    }
    let body = rules_of(&changes);
    let bytes = code.buffer.data();
    for location in code.buffer.get_srclocs_sorted().iter().filter(|location| !location.loc.is_default()) {
        let written = bytes.get(location.start as usize..location.end as usize).unwrap_or_default();
        let Some(instruction) = convention.returns.iter().find(|bytes| written.ends_with(bytes)) else {
            continue;
        };
        let offset = location.end - instruction.len() as u32;
        changes.push(FrameChange { offset, rule: FrameRule::StackPointer(convention.start) });
        for rule in &body {
            if let FrameRule::Saved { register, .. } = *rule {
                changes.push(FrameChange { offset, rule: FrameRule::Restored(register) });
            }
        }
        // What follows is reached from elsewhere, with the frame in place. There may be nothing but constants.
        if (location.end as usize) < bytes.len() {
            changes.extend(body.iter().map(|&rule| FrameChange { offset: location.end, rule }));
        }
    }
    Ok(changes)
}

/// The rules that hold after a prologue.
fn rules_of(prologue: &[FrameChange]) -> Vec<FrameRule> {
    let is_place = |rule: &FrameRule| matches!(rule, FrameRule::StackPointer(_) | FrameRule::FramePointer(_));
    let rules = || prologue.iter().map(|change| change.rule);
    let place = rules().rfind(is_place);
    place.into_iter().chain(rules().filter(|rule| !is_place(rule))).collect()
}

/// The prologue, from Cranelift's own description of it.
fn prologue(
    code: &CompiledCode,
    isa: &dyn TargetIsa,
    convention: &Convention,
) -> Result<Vec<FrameChange>, String> {
    let mut changes = Vec::new();
    // From the lowest saved register, which Cranelift counts from, up to the caller's frame.
    let mut lowest = 0;
    for &(offset, ref instruction) in &code.buffer.unwind_info {
        let mut add = |rule| changes.push(FrameChange { offset, rule });
        match *instruction {
            UnwindInst::PushFrameRegs { offset_upward_to_caller_sp: up } => {
                add(FrameRule::StackPointer(up));
                add(FrameRule::Saved { register: convention.frame.0, below: up });
                if let Some(link) = convention.link {
                    // It is next to the frame pointer, above it.
                    add(FrameRule::Saved { register: link.0, below: up.saturating_sub(8) });
                }
            }
            UnwindInst::DefineNewFrame {
                offset_upward_to_caller_sp: up,
                offset_downward_to_clobbers: down,
            } => {
                add(FrameRule::FramePointer(up));
                lowest = up + down;
            }
            // The frame pointer stays where it is.
            UnwindInst::StackAlloc { .. } => {}
            UnwindInst::SaveReg { clobber_offset, reg } => {
                let register = isa.map_regalloc_reg_to_dwarf(reg.into()).map_err(|e| e.to_string())?;
                add(FrameRule::Saved { register, below: lowest.saturating_sub(clobber_offset) });
            }
            // Return addresses are signed nowhere here, which is what a table says that doesn't mention it.
            UnwindInst::Aarch64SetPointerAuth { return_addresses: false } => {}
            ref other => return Err(format!("Cranelift does something unknown to the frame: {other:?}")),
        }
    }
    Ok(changes)
}
