//! Libraries from an object file: a static one by a crate, a shared one by whatever linker for the target is found.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};
use avocet_target_spec::{ObjectFormat, Target};

use crate::error::Error;

/// What files are called: the object, the static and the shared library.
pub(crate) fn file_names(name: &str, format: ObjectFormat) -> [String; 3] {
    match format {
        ObjectFormat::Elf => [format!("{name}.o"), format!("lib{name}.a"), format!("lib{name}.so")],
        ObjectFormat::MachO => [format!("{name}.o"), format!("lib{name}.a"), format!("lib{name}.dylib")],
        ObjectFormat::Coff => [format!("{name}.obj"), format!("{name}.lib"), format!("{name}.dll")],
    }
}

/// The bytes of an archive with one member and a symbol table.
pub(crate) fn archive(member: &str, object: &[u8], format: ObjectFormat) -> io::Result<Vec<u8>> {
    let members = [NewArchiveMember {
        buf: Box::new(object),
        object_reader: &DEFAULT_OBJECT_READER,
        member_name: member.into(),
        mtime: 0,
        uid: 0,
        gid: 0,
        perms: 0o644,
    }];
    let kind = match format {
        ObjectFormat::Elf => ArchiveKind::Gnu,
        ObjectFormat::MachO => ArchiveKind::Darwin,
        ObjectFormat::Coff => ArchiveKind::Coff,
    };
    let mut bytes = io::Cursor::new(Vec::new());
    write_archive_to_stream(&mut bytes, &members, kind, false, None)?;
    Ok(bytes.into_inner())
}

/// How a linker takes its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// A C compiler that links ELF.
    Compiler,
    /// A linker of ELF.
    Linker,
    /// A C compiler of Apple's.
    AppleCompiler,
    /// A linker of Mach-O.
    AppleLinker,
    /// A linker of Microsoft's kind.
    Microsoft,
}

impl Style {
    /// The style of a linker that the user names.
    fn of(program: &Path, format: ObjectFormat) -> Self {
        let stem = program.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let stem = stem.strip_suffix(".exe").unwrap_or(&stem);
        let is_linker = stem.split(['.', '-']).any(|word| matches!(word, "ld" | "lld" | "ld64" | "mold"));
        match format {
            ObjectFormat::Coff => Style::Microsoft,
            ObjectFormat::MachO if is_linker => Style::AppleLinker,
            ObjectFormat::MachO => Style::AppleCompiler,
            ObjectFormat::Elf if is_linker => Style::Linker,
            ObjectFormat::Elf => Style::Compiler,
        }
    }

    /// Arguments for a library that needs nothing and has the entry function `{name}_invoke`.
    fn arguments(self, name: &str, library: &str, target: &Target) -> Vec<String> {
        let architecture = if target.is_aarch64() { "arm64" } else { "x86_64" };
        let text = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        let more = |words: &[&str], more: &[String]| [text(words), more.to_vec()].concat();
        let output = ["-o", "library", "model.o"];
        match self {
            Style::Compiler => more(
                &["-shared", "-nostdlib", "-Wl,-z,noexecstack", "-Wl,--build-id=none"],
                &[vec![format!("-Wl,-soname,{library}")], text(&output)].concat(),
            ),
            // With an index of functions' frames, without which unwinders don't look at them; compilers ask for it.
            Style::Linker => more(
                &["-shared", "-z", "noexecstack", "--eh-frame-hdr"],
                &[vec![format!("-soname={library}")], text(&output)].concat(),
            ),
            Style::AppleCompiler => more(
                &["-dynamiclib", "-nostdlib", "-arch", architecture],
                &[vec![format!("-Wl,-install_name,@rpath/{library}")], text(&output)].concat(),
            ),
            Style::AppleLinker => more(
                &["-dylib", "-arch", architecture, "-platform_version", "macos", "11.0", "11.0"],
                &[text(&["-install_name"]), vec![format!("@rpath/{library}")], text(&output)].concat(),
            ),
            Style::Microsoft => more(
                &["/dll", "/noentry", "/nologo", "/brepro"],
                &[format!("/export:{name}_invoke"), "/out:library".into(), "model.o".into()],
            ),
        }
    }
}

/// Linkers of a target, in the order in which they are tried.
fn linkers(target: &Target) -> Vec<(String, Style)> {
    let host = Target::host();
    let here = target.triple.architecture == host.triple.architecture
        && target.triple.operating_system == host.triple.operating_system;
    let own: &[(&str, Style)] = match target.object_format() {
        ObjectFormat::Elf => &[
            ("cc", Style::Compiler),
            ("clang", Style::Compiler),
            ("gcc", Style::Compiler),
            ("ld.lld", Style::Linker),
            ("ld", Style::Linker),
        ],
        ObjectFormat::MachO => &[("cc", Style::AppleCompiler), ("ld64.lld", Style::AppleLinker)],
        ObjectFormat::Coff => &[("link", Style::Microsoft), ("lld-link", Style::Microsoft)],
    };
    let cross = target.gnu_prefix().map(|prefix| (format!("{prefix}-gcc"), Style::Compiler));
    let named = |list: &[(&str, Style)]| list.iter().map(|&(n, s)| (n.to_owned(), s)).collect::<Vec<_>>();
    match (here, target.object_format()) {
        (true, _) => named(own),
        (false, ObjectFormat::Elf) => cross.into_iter().chain(named(&[("ld.lld", Style::Linker)])).collect(),
        (false, ObjectFormat::MachO) => named(&[("ld64.lld", Style::AppleLinker)]),
        (false, ObjectFormat::Coff) => named(&[("lld-link", Style::Microsoft)]),
    }
}

/// The bytes of a shared library with this object, by the linker named or else the first that there is.
pub(crate) fn shared(
    name: &str,
    object: &[u8],
    target: &Target,
    linker: Option<&Path>,
) -> Result<Vec<u8>, Error> {
    let fail = |what: &str, e: io::Error| Error::Link(format!("{what}: {e}"));
    let [_, _, library] = file_names(name, target.object_format());
    let folder = tempfile::tempdir().map_err(|e| fail("a temporary folder", e))?;
    // Fixed names in a folder of its own: nothing of the surroundings gets into the library.
    std::fs::write(folder.path().join("model.o"), object).map_err(|e| fail("the object file", e))?;
    let candidates: Vec<(OsString, Style)> = match linker {
        Some(linker) => vec![(linker.into(), Style::of(linker, target.object_format()))],
        None => linkers(target).into_iter().map(|(program, style)| (program.into(), style)).collect(),
    };
    let mut missing = Vec::new();
    for (program, style) in candidates {
        let shown = program.to_string_lossy().into_owned();
        let mut command = Command::new(&program);
        command.current_dir(folder.path()).args(style.arguments(name, &library, target));
        match command.output() {
            Ok(done) if done.status.success() => {
                return std::fs::read(folder.path().join("library"))
                    .map_err(|e| fail("the linker's output", e));
            }
            Ok(done) => {
                let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).trim().to_string();
                return Err(Error::Link(format!("{shown} failed: {text}")));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(shown),
            Err(e) => return Err(fail(&shown, e)),
        }
    }
    Err(Error::Link(format!(
        "no linker for {} was found (tried {}); install one for {library}, or name it with --linker",
        target.triple,
        missing.join(", ")
    )))
}
