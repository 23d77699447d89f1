//! Processors that this machine is not: emulated by qemu, with the C compiler that makes programs for them.
//!
//! Emulation is as exact as hardware for what is tested here, results; it says nothing about time. A missing emulator or
//! compiler is a failed test with the name of the package, never a skipped one.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use avocet_target_spec::Target;

/// A target that is run under emulation.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    /// Name of the built-in target.
    pub target: &'static str,
    /// The emulator of a process.
    pub qemu: &'static str,
    /// The emulator's processor: what the target promises and no more.
    pub processor: &'static str,
    /// The C compiler.
    pub compiler: &'static str,
    /// The C++ compiler.
    pub cpp_compiler: &'static str,
}

/// A RISC-V processor; `$more` says which vectors.
macro_rules! riscv {
    ($target:literal, $more:literal) => {
        Emulator {
            target: $target,
            qemu: "qemu-riscv64",
            processor: concat!("rv64,", $more),
            compiler: "riscv64-linux-gnu-gcc",
            cpp_compiler: "riscv64-linux-gnu-g++",
        }
    };
}

/// All that are tested: both architectures, RISC-V without vectors and with each length.
pub const EMULATORS: [Emulator; 5] = [
    Emulator {
        target: "aarch64",
        qemu: "qemu-aarch64",
        processor: "cortex-a53",
        compiler: "aarch64-linux-gnu-gcc",
        cpp_compiler: "aarch64-linux-gnu-g++",
    },
    riscv!("rv64gc", "v=false"),
    riscv!("rv64gcv", "v=true,vext_spec=v1.0,elen=64,vlen=128"),
    riscv!("rv64gcv-zvl256b", "v=true,vext_spec=v1.0,elen=64,vlen=256"),
    riscv!("rv64gcv-zvl512b", "v=true,vext_spec=v1.0,elen=64,vlen=512"),
];

/// Debian's packages of the programs.
const PACKAGES: &str =
    "qemu-user g++-aarch64-linux-gnu g++-riscv64-linux-gnu libc6-dev-arm64-cross libc6-dev-riscv64-cross";

impl Emulator {
    /// The target.
    pub fn target(&self) -> Target {
        Target::by_name(self.target).expect("a built-in target")
    }

    /// A command that runs a program of the target.
    pub fn command(&self, program: &Path) -> Command {
        self.command_with(&[], program)
    }

    /// The same with arguments for the emulator.
    pub fn command_with(&self, arguments: &[String], program: &Path) -> Command {
        let mut command = Command::new(self.qemu);
        command.args(["-cpu", self.processor]).args(arguments).arg(program);
        command
    }

    /// Runs the target's C compiler.
    ///
    /// # Panics
    /// When it is not there or refuses.
    pub fn compile(&self, arguments: &[&str], folder: &Path) {
        run_compiler(self.compiler, arguments, folder);
    }

    /// Runs the target's C++ compiler.
    ///
    /// # Panics
    /// When it is not there or refuses.
    pub fn compile_cpp(&self, arguments: &[&str], folder: &Path) {
        run_compiler(self.cpp_compiler, arguments, folder);
    }
}

fn run_compiler(compiler: &str, arguments: &[&str], folder: &Path) {
    let mut command = Command::new(compiler);
    command.args(arguments).current_dir(folder);
    let output = command.output().unwrap_or_else(|e| missing(compiler, &e));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler} {}:\n{errors}", arguments.join(" "));
}

/// Ends a test whose programs are not installed.
pub fn missing(program: &str, error: &std::io::Error) -> ! {
    panic!("{program} can't be started ({error}); the tests need it: apt-get install {PACKAGES}")
}

/// Memory of a kernel's buffer: one part, or two that are some distance apart.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The start.
    pub first: Vec<u8>,
    /// The end, so many bytes after the start.
    pub second: Option<(usize, Vec<u8>)>,
}

/// What a run leaves of a buffer: the contents, and whether the bytes around them are as they were.
pub type Left = (Vec<u8>, bool);

/// A process that runs kernels of one target.
struct Runner {
    child: Child,
}

impl Runner {
    fn start(emulator: &Emulator) -> Self {
        let program = program(emulator);
        let mut command = emulator.command(&program);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Runner { child: child.unwrap_or_else(|e| missing(emulator.qemu, &e)) }
    }

    fn run(&mut self, code: &[u8], buffers: &[Memory], at_end: bool) -> std::io::Result<Vec<Left>> {
        let word = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
        let mut request = [word(code.len()), word(buffers.len()), word(at_end.into())].concat();
        for Memory { first, second } in buffers {
            let (distance, rest) = second.as_ref().map_or((0, 0), |(distance, rest)| (*distance, rest.len()));
            request.extend((distance as u64).to_le_bytes());
            request.extend([word(first.len()), word(rest)].concat());
        }
        request.extend(code);
        for Memory { first, second } in buffers {
            request.extend(first);
            request.extend(second.iter().flat_map(|(_, rest)| rest));
        }
        let input = self.child.stdin.as_mut().expect("a pipe");
        input.write_all(&request)?;
        input.flush()?;
        let output = self.child.stdout.as_mut().expect("a pipe");
        let mut intact = vec![0; buffers.len()];
        output.read_exact(&mut intact)?;
        let mut left = Vec::with_capacity(buffers.len());
        for (Memory { first, second }, intact) in buffers.iter().zip(intact) {
            let mut contents = vec![0; first.len() + second.as_ref().map_or(0, |(_, rest)| rest.len())];
            output.read_exact(&mut contents)?;
            left.push((contents, intact == 1));
        }
        Ok(left)
    }
}

/// The program that runs kernels, compiled once for each architecture and process, beside the running test.
fn program(emulator: &Emulator) -> PathBuf {
    static BUILT: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let test = std::env::current_exe().expect("the running test has a path");
    let folder = test.parent().expect("it is in a folder").join("emulated");
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(&emulator.compiler) {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/runner.c");
        // Another test may be running the old one.
        let fresh = format!("{}-{}", emulator.qemu, std::process::id());
        emulator.compile(&["-O2", "-static", "-Wall", "-Werror", source, "-o", &fresh], &folder);
        std::fs::rename(folder.join(fresh), folder.join(emulator.qemu)).expect("renamed");
        built.push(emulator.compiler);
    }
    folder.join(emulator.qemu)
}

/// Runs a kernel's code in the target's process.
///
/// # Panics
/// When the code faults, which ends the process; the next run starts another one.
pub fn run_kernel(emulator: &Emulator, code: &[u8], buffers: &[Memory], at_end: bool) -> Vec<Left> {
    type Runners = Mutex<HashMap<&'static str, Arc<Mutex<Option<Runner>>>>>;
    static RUNNERS: OnceLock<Runners> = OnceLock::new();
    let runners = RUNNERS.get_or_init(Default::default);
    let slot = {
        let mut runners = runners.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(runners.entry(emulator.target).or_default())
    };
    let mut runner = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let result = runner.get_or_insert_with(|| Runner::start(emulator)).run(code, buffers, at_end);
    result.unwrap_or_else(|error| {
        let status = runner.take().map(|mut runner| runner.child.wait());
        panic!("the kernel ended the emulated process: {error}, {status:?}")
    })
}
