//! Compiled networks in an emulated process: many objects, linked by the target's own C compiler into one program; and how
//! many instructions of their kernels the emulator executes.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use avocet::data::npy;
use avocet::{Artifact, Tensor};
use avocet_backend_tests::emulator::{Emulator, missing};

/// A program with networks in it, running.
pub struct Networks {
    child: Child,
    emulator: Emulator,
    artifacts: Vec<Artifact>,
    /// Bytes of nothing before the networks' code.
    padding: usize,
    /// Holds the program while it runs.
    folder: tempfile::TempDir,
}

/// What QEMU before 8.0 says when it stops where a block that it translates begins with a conversion of vectors of floats to
/// integers. Blocks also begin where pages do, so it depends on where code lies: elsewhere the same code runs.
const STOPPED: &str = "decode_save_opc: Assertion";
/// By how much code is moved then, and how often.
const MOVED: usize = 2 * 683;
const MOST_MOVES: usize = 8;

impl Networks {
    /// Links networks and starts the program. Their names must differ.
    ///
    /// # Panics
    /// When the compiler or the emulator is missing, or does not take what avocet wrote.
    pub fn start(emulator: &Emulator, artifacts: Vec<Artifact>) -> Self {
        Self::start_with(emulator, artifacts, |_| Vec::new())
    }

    /// The same with arguments for the emulator that depend on the program.
    fn start_with(
        emulator: &Emulator,
        artifacts: Vec<Artifact>,
        arguments: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        let folder = crate::files::temporary_folder();
        let file = |name: &str| folder.path().join(name);
        let write = |path: PathBuf, bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        };
        let mut objects = String::new();
        for artifact in &artifacts {
            let name = format!("{}.o", artifact.name());
            write(file(&name), &artifact.object().unwrap_or_else(|e| panic!("{name}: {e}")));
            let _ = writeln!(objects, "{name}");
        }
        write(file("objects"), objects.as_bytes());
        write(file("table.h"), table(&artifacts).as_bytes());
        let program = link(emulator, folder.path(), 0);
        let child = spawn(emulator, folder.path(), &arguments(&program));
        Networks { child, emulator: *emulator, artifacts, padding: 0, folder }
    }

    /// Starts the program again, with its code elsewhere, if the emulator stopped for a reason that this does away with.
    fn start_elsewhere(&mut self) -> bool {
        let _ = self.child.wait();
        let errors = std::fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default();
        if !errors.contains(STOPPED) || self.padding >= MOST_MOVES * MOVED {
            return false;
        }
        self.padding += MOVED;
        link(&self.emulator, self.folder.path(), self.padding);
        self.child = spawn(&self.emulator, self.folder.path(), &[]);
        true
    }

    /// Runs a network twice; the error tells what it returned, or that the two results differ.
    ///
    /// # Panics
    /// When the emulated process has ended.
    pub fn run(&mut self, number: usize, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let mut request = u32::try_from(number).expect("few networks").to_le_bytes().to_vec();
        for (port, tensor) in self.artifacts[number].program().inputs.iter().zip(inputs) {
            if tensor.ty() != port.ty {
                return Err(format!("input '{}' is of another type", port.name));
            }
            request.extend(tensor.data().to_le_bytes());
        }
        let (status, outputs) = loop {
            match self.answer(number, &request) {
                Ok(answer) => break answer,
                Err(_) if self.start_elsewhere() => {}
                Err(e) => {
                    let errors = std::fs::read_to_string(self.folder.path().join("errors"));
                    let name = self.artifacts[number].name();
                    panic!("{name} ended the emulated process: {e}\n{}", errors.unwrap_or_default());
                }
            }
        };
        match status {
            0 => {}
            100 => return Err("two runs gave different bits".into()),
            status => return Err(format!("it returned {status}")),
        }
        let ports = self.artifacts[number].program().outputs.iter().zip(outputs);
        let tensors = ports.map(|(port, bytes)| {
            npy::tensor(&port.ty, &bytes).map_err(|e| format!("output '{}': {e}", port.name))
        });
        tensors.collect()
    }

    /// The status and the outputs of one request.
    fn answer(&mut self, number: usize, request: &[u8]) -> std::io::Result<(u32, Vec<Vec<u8>>)> {
        let input = self.child.stdin.as_mut().expect("a pipe");
        input.write_all(request).and_then(|()| input.flush())?;
        let output = self.child.stdout.as_mut().expect("a pipe");
        let mut status = [0; 4];
        output.read_exact(&mut status)?;
        let mut outputs = Vec::new();
        for port in &self.artifacts[number].program().outputs {
            let mut bytes = vec![0; port.ty.bytes()];
            output.read_exact(&mut bytes)?;
            outputs.push(bytes);
        }
        Ok((u32::from_le_bytes(status), outputs))
    }
}

/// Links the networks whose objects are in a folder to a program there.
fn link(emulator: &Emulator, folder: &Path, padding: usize) -> PathBuf {
    let host = concat!(env!("CARGO_MANIFEST_DIR"), "/src/network_host.c");
    let padding = format!("-DPADDING={padding}");
    let flags = ["-O1", "-static", "-Wall", "-Werror", "-I.", &padding, host, "@objects", "-o", "networks"];
    emulator.compile(&flags, folder);
    folder.join("networks")
}

/// Starts the program of a folder; what it says of errors goes to a file there.
fn spawn(emulator: &Emulator, folder: &Path, arguments: &[String]) -> Child {
    let errors = std::fs::File::create(folder.join("errors")).unwrap_or_else(|e| panic!("{e}"));
    let mut command = emulator.command_with(arguments, &folder.join("networks"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn();
    child.unwrap_or_else(|e| missing(emulator.qemu, &e))
}

impl Drop for Networks {
    fn drop(&mut self) {
        // Without its input the program ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// How many instructions of a network's kernels the emulator executes in one run.
///
/// # Panics
/// When a compiler or the emulator is missing, or the network fails.
pub fn executed(emulator: &Emulator, artifact: Artifact, inputs: &[Tensor]) -> u64 {
    let folder = crate::files::temporary_folder();
    let (plugin, count) = (folder.path().join("count_executed.so"), folder.path().join("executed"));
    build_plugin(emulator, &plugin);
    let kernels = format!("{}_kernel_", artifact.name());
    let mut networks = Networks::start_with(emulator, vec![artifact], |program| {
        let [from, to] = addresses(program, &kernels);
        let (plugin, count) = (plugin.display(), count.display());
        vec!["-plugin".into(), format!("{plugin},from={from},to={to},out={count}")]
    });
    networks.run(0, inputs).unwrap_or_else(|e| panic!("{}: {e}", emulator.target));
    drop(networks);
    let text = std::fs::read_to_string(&count).unwrap_or_else(|e| panic!("the plugin wrote no count: {e}"));
    let both: u64 = text.trim().parse().expect("a number");
    // Both runs of the host.
    assert_eq!(both % 2, 0, "the kernels' branches depend on what was in memory");
    both / 2
}

/// Compiles the plugin for the oldest interface that the emulator takes.
fn build_plugin(emulator: &Emulator, plugin: &Path) {
    const NEWEST: u32 = 10;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/count_executed.c");
    let mut refusal = String::new();
    for interface in 1..=NEWEST {
        let mut command = Command::new("cc");
        command.args(["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", source, "-o"]).arg(plugin);
        crate::files::run(command.arg(format!("-DINTERFACE={interface}"))).unwrap_or_else(|e| panic!("{e}"));
        // Without a program there is nothing to run; whether the plugin is taken is said before.
        let mut command = emulator.command_with(
            &["-plugin".into(), format!("{},out=/dev/null", plugin.display())],
            Path::new("/nonexistent"),
        );
        let output = command.output().unwrap_or_else(|e| missing(emulator.qemu, &e));
        refusal = String::from_utf8_lossy(&output.stderr).into_owned();
        if !refusal.contains("plugin") {
            return;
        }
    }
    panic!("{} takes no plugin: {refusal}", emulator.qemu);
}

/// From where to where in a program the functions are whose names begin so.
fn addresses(program: &Path, prefix: &str) -> [u64; 2] {
    use object::{Object, ObjectSymbol};
    let bytes = std::fs::read(program).expect("a program");
    let file = object::File::parse(bytes.as_slice()).expect("an ELF program");
    let functions = file.symbols().filter(|symbol| symbol.name().is_ok_and(|name| name.starts_with(prefix)));
    let ranges: Vec<[u64; 2]> =
        functions.map(|symbol| [symbol.address(), symbol.address() + symbol.size()]).collect();
    let from = ranges.iter().map(|range| range[0]).min();
    let to = ranges.iter().map(|range| range[1]).max();
    [from, to].map(|address| address.expect("kernels"))
}

/// The C header with the table of networks.
fn table(artifacts: &[Artifact]) -> String {
    let mut text = String::from(
        "typedef struct { void *arena; const void *weights; void *parallel_for, *pool; const int64_t *sizes; } avocet_context;\n\
         typedef int32_t invoke(const void *const *, void *const *, const avocet_context *);\n\
         struct network { invoke *invoke; size_t arena, inputs, outputs; const size_t *bytes; };\n",
    );
    let mut rows = String::new();
    for artifact in artifacts {
        let (name, program) = (artifact.name(), artifact.program());
        let ports = program.inputs.iter().chain(&program.outputs);
        let bytes: Vec<String> = ports.map(|port| port.ty.bytes().to_string()).collect();
        let _ = writeln!(text, "invoke {name}_invoke;");
        let _ = writeln!(text, "static const size_t {name}_bytes[] = {{{}}};", bytes.join(", "));
        let (inputs, outputs) = (program.inputs.len(), program.outputs.len());
        let arena = artifact.plan().bytes;
        let _ = writeln!(rows, "    {{{name}_invoke, {arena}, {inputs}, {outputs}, {name}_bytes}},");
    }
    text + "static const struct network networks[] = {\n" + &rows + "};\n"
}
