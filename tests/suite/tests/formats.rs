//! What is written for each operating system: object formats, library names, and linkers that are found, named or missing.

use std::path::Path;
use std::process::{Command, Output};

use avocet_tests::files::{avocet_program, capture, temporary_folder, workspace_root};
use object::read::archive::ArchiveFile;
use object::{Architecture, BinaryFormat, Object, ObjectSection, ObjectSymbol, SectionKind};

fn compile(target: &str, folder: &Path, more: &[&str], path: Option<&Path>) -> Output {
    let mut command = Command::new(avocet_program());
    command.args(["compile", "--target", target, "-o"]).arg(folder).args(more);
    command.arg(workspace_root().join("examples/bare_metal/tiny.toml"));
    if let Some(path) = path {
        command.env("PATH", path);
    }
    capture(&mut command).unwrap()
}

/// Every built-in target with its format, architecture and files.
#[test]
fn objects_of_every_target_read_back() {
    let elf = ["tiny.o", "libtiny.a"];
    let coff = ["tiny.obj", "tiny.lib"];
    for (target, format, architecture, [object, library]) in [
        ("x86-64", BinaryFormat::Elf, Architecture::X86_64, elf),
        ("x86-64-v3", BinaryFormat::Elf, Architecture::X86_64, elf),
        ("x86-64-v4", BinaryFormat::Elf, Architecture::X86_64, elf),
        ("x86-64-v3-macos", BinaryFormat::MachO, Architecture::X86_64, elf),
        ("x86-64-v3-windows", BinaryFormat::Coff, Architecture::X86_64, coff),
        ("aarch64", BinaryFormat::Elf, Architecture::Aarch64, elf),
        ("cortex-a53", BinaryFormat::Elf, Architecture::Aarch64, elf),
        ("cortex-a72", BinaryFormat::Elf, Architecture::Aarch64, elf),
        ("cortex-a76", BinaryFormat::Elf, Architecture::Aarch64, elf),
        ("neoverse-n1", BinaryFormat::Elf, Architecture::Aarch64, elf),
        ("apple-m1", BinaryFormat::MachO, Architecture::Aarch64, elf),
        ("aarch64-none-elf", BinaryFormat::Elf, Architecture::Aarch64, elf),
        ("rv64gc", BinaryFormat::Elf, Architecture::Riscv64, elf),
        ("rv64gcv", BinaryFormat::Elf, Architecture::Riscv64, elf),
        ("rv64gcv-zvl256b", BinaryFormat::Elf, Architecture::Riscv64, elf),
        ("rv64gcv-zvl512b", BinaryFormat::Elf, Architecture::Riscv64, elf),
        ("spacemit-k1", BinaryFormat::Elf, Architecture::Riscv64, elf),
        ("riscv64gc-unknown-none-elf", BinaryFormat::Elf, Architecture::Riscv64, elf),
    ] {
        let folder = temporary_folder();
        let output = compile(target, folder.path(), &[], None);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{target}: {errors}");
        let read =
            |name: &str| std::fs::read(folder.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bytes = read(object);
        let file = object::File::parse(&*bytes).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert_eq!((file.format(), file.architecture()), (format, architecture), "{target}");
        let undefined: Vec<_> = file.symbols().filter(|s| s.is_undefined() && s.name() != Ok("")).collect();
        assert!(undefined.is_empty(), "{target}: {undefined:?}");
        let global: Vec<_> = file.symbols().filter(|s| s.is_global()).filter_map(|s| s.name().ok()).collect();
        let expected = if format == BinaryFormat::MachO { "_tiny_invoke" } else { "tiny_invoke" };
        assert_eq!(global, [expected], "{target}");
        let writable = file.sections().filter(|s| s.kind() == SectionKind::Data && s.size() > 0).count();
        assert_eq!(writable, 0, "{target}: weights are read-only");
        let archive = read(library);
        let archive = ArchiveFile::parse(&*archive).unwrap_or_else(|e| panic!("{target}: {e}"));
        let members: Vec<_> = archive.members().map(|m| m.expect("a member")).collect();
        assert_eq!(members.len(), 1, "{target}");
        let symbols = archive.symbols().expect("a table").expect("a table");
        let names: Vec<_> = symbols.map(|s| s.expect("a symbol").name().to_vec()).collect();
        assert_eq!(names, [expected.as_bytes()], "{target}");
    }
}

#[test]
fn shared_libraries_are_linked_by_the_targets_own_compiler() {
    for (target, architecture) in [
        ("aarch64", Architecture::Aarch64),
        ("rv64gc", Architecture::Riscv64),
        ("x86-64", Architecture::X86_64),
    ] {
        let folder = temporary_folder();
        let output = compile(target, folder.path(), &[], None);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let bytes = std::fs::read(folder.path().join("libtiny.so")).expect("the library");
        let file = object::File::parse(&*bytes).expect("a library");
        assert_eq!(file.architecture(), architecture);
        let exports: Vec<_> = file.exports().expect("exports").iter().map(|e| e.name().to_vec()).collect();
        assert_eq!(exports, [b"tiny_invoke"], "{target}");
        assert!(file.imports().expect("imports").is_empty(), "{target}");
    }
}

#[test]
fn a_linker_that_is_missing_is_told_and_one_that_is_named_is_used() {
    let folder = temporary_folder();
    let empty = temporary_folder();
    // Found: none. The rest is written.
    for (target, tried, library) in [
        ("aarch64", "aarch64-linux-gnu-gcc, ld.lld", "libtiny.so"),
        ("rv64gcv", "riscv64-linux-gnu-gcc, ld.lld", "libtiny.so"),
        ("apple-m1", "ld64.lld", "libtiny.dylib"),
        ("x86-64-v3-windows", "lld-link", "tiny.dll"),
    ] {
        let output = compile(target, folder.path(), &[], Some(empty.path()));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(
            errors.contains(&format!("was found (tried {tried}); install one for {library}")),
            "{errors}"
        );
        assert!(folder.path().join("tiny.h").exists() && !folder.path().join(library).exists());
    }
    // Named: a missing one, one for another architecture, the right one.
    let linker = |name: &str| compile("aarch64", folder.path(), &["--linker", name], None);
    for (name, reason) in [("no-such-linker", "tried no-such-linker"), ("riscv64-linux-gnu-gcc", "failed: ")]
    {
        let output = linker(name);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(reason), "{errors}");
        assert!(!folder.path().join("libtiny.so").exists());
    }
    for name in ["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-ld"] {
        let output = linker(name);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_file(folder.path().join("libtiny.so")).expect("the library");
    }
}
