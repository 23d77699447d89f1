//! The table by which profilers, debuggers and crash handlers find their way out of compiled code: DWARF's call frames.
//!
//! All functions of a program come in, whoever made their code, each with what it does to its caller's frame; one table
//! goes out, either as the section `.eh_frame` of an ELF object, or with addresses of this process. It names no
//! personality routine, so libraries need nothing for it.

use avocet_ir::backend::{FrameChange, FrameRule};
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::FuncId;
use cranelift_object::ObjectProduct;
use cranelift_object::object::write::{Relocation as ObjectRelocation, StandardSection};
use cranelift_object::object::{BinaryFormat, RelocationEncoding, RelocationFlags, RelocationKind};
use gimli::write::{
    Address, CallFrameInstruction, EhFrame, EndianVec, FrameDescriptionEntry, FrameTable, RelocateWriter,
    Relocation, RelocationTarget,
};
use gimli::{DW_EH_PE_absptr, DW_EH_PE_pcrel, DW_EH_PE_sdata4, DwEhPe, LittleEndian, Register};

use crate::frame::Convention;

/// A function in a module, and what it does to its caller's frame.
pub(crate) struct Framed {
    pub(crate) function: FuncId,
    /// Bytes of the function.
    pub(crate) bytes: usize,
    pub(crate) changes: Vec<FrameChange>,
}

/// Adds the table to an ELF object. Mach-O wants pairs of relocations and a compact form beside it, COFF has tables of
/// another kind: both are left without.
pub(crate) fn add_to_object(
    product: &mut ObjectProduct,
    isa: &dyn TargetIsa,
    functions: &[Framed],
) -> Result<(), String> {
    if product.object.format() != BinaryFormat::Elf {
        return Ok(());
    }
    // Distances, so that shared libraries need no relocation of it when they are loaded.
    let encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
    let address = |number| Address::Symbol { symbol: number, addend: 0 };
    let Some(table) = table(isa, functions, encoding, address)? else { return Ok(()) };
    let mut section = EhFrame(Section { bytes: EndianVec::new(LittleEndian), relocations: Vec::new() });
    table.write_eh_frame(&mut section).map_err(|e| e.to_string())?;
    let Section { bytes, relocations } = section.0;
    let id = product.object.section_id(StandardSection::EhFrame);
    product.object.append_section_data(id, bytes.slice(), 8);
    for relocation in relocations {
        let function = match relocation.target {
            RelocationTarget::Symbol(number) => functions.get(number),
            RelocationTarget::Section(_) => None,
        };
        let function = function.ok_or("a frame that belongs to no function")?.function;
        let flags = RelocationFlags::Generic {
            kind: RelocationKind::Relative,
            encoding: RelocationEncoding::Generic,
            size: relocation.size * 8,
        };
        // Against the section, as compilers do: a shared library's own global functions may be replaced by others of the
        // same name, and linkers refuse distances to what is not sure to be here.
        let symbol = product.object.symbol(product.function_symbol(function));
        let (place, section) =
            (symbol.value as i64, symbol.section.id().ok_or("a function without a section")?);
        let relocation = ObjectRelocation {
            offset: relocation.offset as u64,
            symbol: product.object.section_symbol(section),
            addend: relocation.addend + place,
            flags,
        };
        product.object.add_relocation(id, relocation).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The table for functions in this process's memory, with the empty entry that ends it, in words for its alignment.
/// None where nothing is known of the architecture.
pub(crate) fn in_memory(
    isa: &dyn TargetIsa,
    functions: &[Framed],
    address: impl Fn(FuncId) -> u64,
) -> Result<Option<Vec<u64>>, String> {
    let address = |number: usize| Address::Constant(address(functions[number].function));
    let Some(table) = table(isa, functions, DW_EH_PE_absptr, address)? else { return Ok(None) };
    let mut section = EhFrame(EndianVec::new(LittleEndian));
    table.write_eh_frame(&mut section).map_err(|e| e.to_string())?;
    // Entries have whole words; the zeros of one more are the end.
    let words = section.slice().chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    });
    Ok(Some(words.chain([0]).collect()))
}

/// One entry for what all functions have in common, by Cranelift, and one for each function.
fn table(
    isa: &dyn TargetIsa,
    functions: &[Framed],
    encoding: DwEhPe,
    address: impl Fn(usize) -> Address,
) -> Result<Option<FrameTable>, String> {
    let (Some(convention), Some(mut common)) = (Convention::of(isa), isa.create_systemv_cie()) else {
        return Ok(None);
    };
    common.fde_address_encoding = encoding;
    let mut table = FrameTable::default();
    let common = table.add_cie(common);
    for (number, function) in functions.iter().enumerate() {
        let length = u32::try_from(function.bytes).map_err(|_| "a function of more than 4 GiB")?;
        let mut entry = FrameDescriptionEntry::new(address(number), length);
        for change in &function.changes {
            entry.add_instruction(change.offset, instruction(change.rule, &convention)?);
        }
        table.add_fde(common, entry);
    }
    Ok(Some(table))
}

fn instruction(rule: FrameRule, convention: &Convention) -> Result<CallFrameInstruction, String> {
    let distance = |bytes: u32| i32::try_from(bytes).map_err(|_| "a frame of more than 2 GiB".to_string());
    Ok(match rule {
        FrameRule::StackPointer(above) => CallFrameInstruction::Cfa(convention.stack, distance(above)?),
        FrameRule::FramePointer(above) => CallFrameInstruction::Cfa(convention.frame, distance(above)?),
        FrameRule::Saved { register, below } => {
            CallFrameInstruction::Offset(Register(register), -distance(below)?)
        }
        FrameRule::Restored(register) => CallFrameInstruction::Restore(Register(register)),
    })
}

/// Bytes of the section, and where functions' addresses belong in it.
struct Section {
    bytes: EndianVec<LittleEndian>,
    relocations: Vec<Relocation>,
}

impl RelocateWriter for Section {
    type Writer = EndianVec<LittleEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.bytes
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.bytes
    }

    fn relocate(&mut self, relocation: Relocation) {
        self.relocations.push(relocation);
    }
}
