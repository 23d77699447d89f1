//! Libraries from an object file: a static one by a crate, a shared one by whatever linker the machine has.

use std::io;
use std::process::Command;

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};

use crate::error::Error;

/// The bytes of an archive with one member and a symbol table.
pub(crate) fn archive(member: &str, object: &[u8]) -> io::Result<Vec<u8>> {
    let members = [NewArchiveMember {
        buf: Box::new(object),
        object_reader: &DEFAULT_OBJECT_READER,
        member_name: member.into(),
        mtime: 0,
        uid: 0,
        gid: 0,
        perms: 0o644,
    }];
    let mut bytes = io::Cursor::new(Vec::new());
    write_archive_to_stream(&mut bytes, &members, ArchiveKind::Gnu, false, None)?;
    Ok(bytes.into_inner())
}

/// Programs that can link, in the order in which they are tried, with the arguments for a library that needs nothing and
/// has an index of its functions' frames, without which unwinders don't look at them; compilers ask for it themselves.
const LINKERS: &[(&str, &[&str])] = &[
    ("cc", &["-shared", "-nostdlib", "-Wl,-z,noexecstack", "-Wl,--build-id=none"]),
    ("clang", &["-shared", "-nostdlib", "-Wl,-z,noexecstack", "-Wl,--build-id=none"]),
    ("gcc", &["-shared", "-nostdlib", "-Wl,-z,noexecstack", "-Wl,--build-id=none"]),
    ("ld.lld", &["-shared", "-z", "noexecstack", "--eh-frame-hdr"]),
    ("ld", &["-shared", "-z", "noexecstack", "--eh-frame-hdr"]),
];

/// The bytes of a shared library with this object.
pub(crate) fn shared(name: &str, object: &[u8]) -> Result<Vec<u8>, Error> {
    let fail = |what: &str, e: io::Error| Error::Link(format!("{what}: {e}"));
    let folder = tempfile::tempdir().map_err(|e| fail("a temporary folder", e))?;
    // Fixed names in a folder of its own: nothing of the surroundings gets into the library.
    std::fs::write(folder.path().join("model.o"), object).map_err(|e| fail("the object file", e))?;
    let mut missing = Vec::new();
    for (program, arguments) in LINKERS {
        let soname = match program.starts_with("ld") {
            true => format!("-soname=lib{name}.so"),
            false => format!("-Wl,-soname,lib{name}.so"),
        };
        let mut command = Command::new(program);
        command.current_dir(folder.path()).args(*arguments).arg(soname).args(["-o", "model.so", "model.o"]);
        match command.output() {
            Ok(done) if done.status.success() => {
                return std::fs::read(folder.path().join("model.so"))
                    .map_err(|e| fail("the linker's output", e));
            }
            Ok(done) => {
                let text = String::from_utf8_lossy(&done.stderr).trim().to_string();
                return Err(Error::Link(format!("{program} failed: {text}")));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(*program),
            Err(e) => return Err(fail(program, e)),
        }
    }
    Err(Error::Link(format!(
        "no linker was found (tried {}); install one for lib{name}.so",
        missing.join(", ")
    )))
}
