//! What a compilation gives: machine code with everything that is known about it.

use std::path::{Path, PathBuf};

use avocet_ir::Graph;
use avocet_ir::backend::MachineCode;
use avocet_ir::program::{MemoryPlan, Program};
use avocet_ir::schedule::Schedules;
use avocet_passes::tuned::Applied;
use avocet_target_cranelift::emit::{self, Weights};
use avocet_target_cranelift::jit::Code;
use avocet_target_spec::Target;

use crate::error::Error;
use crate::jit::Compiled;
use crate::output::Output;
use crate::profile::parts;
use crate::{header, library, manifest, module};

/// A compiled model: code of all kernels, not yet placed anywhere.
#[derive(Clone, Debug)]
pub struct Artifact {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) weights: Weights,
    pub(crate) graph: Graph,
    pub(crate) schedules: Schedules,
    pub(crate) applied: Applied,
    pub(crate) program: Program,
    pub(crate) code: Vec<MachineCode>,
}

impl Artifact {
    /// Prefix of the C functions and files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was compiled for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The graph after all passes.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The schedule of each node, as text.
    pub fn schedule_text(&self) -> String {
        self.schedules.to_text(&self.graph)
    }

    /// What became of the choices that were measured.
    pub fn tuned(&self) -> &Applied {
        &self.applied
    }

    /// The calls and kernels.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The machine code of every kernel, as text.
    pub fn assembly(&self) -> String {
        let kernels = self.program.kernels.iter().zip(&self.code);
        kernels.map(|(kernel, code)| format!("{}:\n{}\n", kernel.name, code.assembly)).collect()
    }

    /// The arena's plan.
    pub fn plan(&self) -> MemoryPlan {
        let none = MemoryPlan { offsets: Vec::new(), bytes: 0, lower_bound: 0 };
        self.program.plan.clone().unwrap_or(none)
    }

    /// Bytes of the constants, packed as the kernels read them.
    pub fn weight_bytes(&self) -> usize {
        self.program.constant_layout().1
    }

    /// Bytes of all data that a run touches but the caller's: weights and arena.
    pub(crate) fn footprint(&self) -> u64 {
        (self.weight_bytes() + self.plan().bytes) as u64
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.code.iter().map(|code| code.bytes.len()).sum()
    }

    /// Checksum of the constants, which external weights must have.
    pub fn weight_checksum(&self) -> u64 {
        avocet_runtime::weights::checksum(&self.program.constant_block())
    }

    /// Places the code in this process. The target must be what the process runs on.
    pub fn jit(&self) -> Result<Compiled, Error> {
        let code = Code::new(&self.program, &self.code, &self.target)?;
        Ok(Compiled::new(code, Vec::new(), &self.program))
    }

    /// The same, with each part of the program as code of its own too, for a profile.
    pub(crate) fn jit_in_parts(&self) -> Result<Compiled, Error> {
        let parts = (0..parts::count(&self.program)).map(|number| {
            let (program, code) = parts::alone(&self.program, &self.code, number);
            Ok(Code::new(&program, &code, &self.target)?)
        });
        let parts = parts.collect::<Result<_, Error>>()?;
        let code = Code::new(&self.program, &self.code, &self.target)?;
        Ok(Compiled::new(code, parts, &self.program))
    }

    /// The bytes of a relocatable object file.
    pub fn object(&self) -> Result<Vec<u8>, Error> {
        Ok(emit::object(&self.program, &self.code, &self.target, &self.name, self.weights)?)
    }

    /// The text of the C header.
    pub fn header(&self) -> String {
        header::text(self)
    }

    /// The text of the Rust file with what the header says.
    pub fn module(&self) -> String {
        module::text(self)
    }

    /// The text of the manifest.
    pub fn manifest(&self) -> String {
        manifest::text(self)
    }

    /// The bytes of the external weights file, when weights are external.
    pub fn weights_file(&self) -> Option<Vec<u8>> {
        (self.weights == Weights::External).then(|| {
            let payload = self.program.constant_block();
            let mut file = avocet_runtime::weights::header(&payload).to_vec();
            file.extend(payload);
            file
        })
    }

    /// Writes the object file.
    pub fn write_object(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut output = Output::default();
        output.add(path.as_ref(), &self.object()?)?;
        output.finish()?;
        Ok(())
    }

    /// Writes everything a host needs into a folder, which is made if need be: `NAME.o`, `libNAME.a`, `libNAME.so` (by
    /// other names where the target's system has others), `NAME.h`, `NAME.rs`, `NAME.json`, and `NAME.weights` when weights are
    /// external. All files appear, or none does.
    ///
    /// ```
    /// use avocet::{Model, Options, Target};
    ///
    /// let text = "version = 1\nname = 'tiny'\ninput = { channels = 3, height = 8, width = 8 }\n\
    ///             blocks = [{ type = 'conv', out = 4 }]\n";
    /// let model = Model::from_description(text, "tiny.toml")?;
    /// let artifact = model.compile(&Target::by_name("x86-64-v3")?, &Options::default())?;
    /// # let temporary = tempfile::tempdir()?;
    /// # let folder = temporary.path();
    /// let (files, without_linker) = artifact.write_all(folder)?;
    /// assert!(folder.join("libtiny.a").exists() && folder.join("tiny.h").exists());
    /// # drop((files, without_linker));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Returns the files written. When there is no linker the shared library is left out, and its error is the second
    /// result. Without an operating system nothing could load one, so there is none.
    pub fn write_all(&self, folder: impl AsRef<Path>) -> Result<(Vec<PathBuf>, Option<Error>), Error> {
        self.write_all_with(folder, None)
    }

    /// The same with the linker named that makes the shared library; it failing is an error, then.
    pub fn write_all_with(
        &self,
        folder: impl AsRef<Path>,
        linker: Option<&Path>,
    ) -> Result<(Vec<PathBuf>, Option<Error>), Error> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.into(), source })?;
        let object = self.object()?;
        let mut output = Output::default();
        let (name, format) = (&self.name, self.target.object_format());
        let [object_name, archive_name, library_name] = library::file_names(name, format);
        output.add(&folder.join(&object_name), &object)?;
        let archive = library::archive(&object_name, &object, format)
            .map_err(|source| Error::Write { path: folder.join(&archive_name), source })?;
        output.add(&folder.join(&archive_name), &archive)?;
        let mut failed = None;
        if self.target.has_operating_system() {
            match library::shared(name, &object, &self.target, linker) {
                Ok(bytes) => output.add(&folder.join(&library_name), &bytes)?,
                Err(error) if linker.is_some() => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        output.add(&folder.join(format!("{name}.h")), self.header().as_bytes())?;
        output.add(&folder.join(format!("{name}.rs")), self.module().as_bytes())?;
        output.add(&folder.join(format!("{name}.json")), self.manifest().as_bytes())?;
        if let Some(weights) = self.weights_file() {
            output.add(&folder.join(format!("{name}.weights")), &weights)?;
        }
        Ok((output.finish()?, failed))
    }
}
