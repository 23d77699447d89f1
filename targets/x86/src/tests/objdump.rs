//! An independent disassembler: objdump of GNU binutils, which comes with every C compiler on Linux. The encoder's own
//! project can't be the judge of its encodings.

use std::io::Write;
use std::process::Command;

/// An instruction as objdump reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) address: usize,
    pub(crate) text: String,
}

/// Disassembles code. Two spellings are made one: displacements of zero are left out, and broadcasts of memory are
/// written as since binutils 2.36.
pub(crate) fn disassemble(code: &[u8]) -> Vec<Line> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(code).expect("room for it");
    let output = Command::new("objdump")
        .args(["-D", "-z", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn"])
        .arg(file.path())
        .output()
        .expect("objdump of GNU binutils");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().filter_map(|line| {
        let (address, text) = line.split_once(":\t")?;
        let address = usize::from_str_radix(address.trim(), 16).ok()?;
        let text = text.split('#').next().unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("+0x0]", "]");
        Some(Line { address, text: broadcast(text) })
    });
    lines.collect()
}

fn broadcast(text: String) -> String {
    match text.find("{1to") {
        Some(start) => {
            let end = start + text[start..].find('}').map_or(0, |n| n + 1);
            format!("{}{}", text[..start].replace("DWORD PTR", "DWORD BCST"), &text[end..])
        }
        None => text,
    }
}
