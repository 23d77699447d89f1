//! The back end itself: a target description becomes a Cranelift ISA, a kernel becomes bytes.

use std::sync::Arc;

use avocet_ir::backend::{Backend, BackendError, MachineCode};
use avocet_ir::kernel::{Element, Kernel, ValueId};
use avocet_target_spec::Target;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::{self, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, ir};
use target_lexicon::Architecture;
use thiserror::Error;

use crate::{frame, translate};

/// Why there is no back end for a target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("target '{target}': {problem}")]
pub struct IsaError {
    /// Name of the target.
    pub target: String,
    /// What is wrong.
    pub problem: String,
}

/// Features of target descriptions by the setting that enables them in Cranelift, for each architecture. What isn't listed
/// is always on there (NEON; M, A, F and D of RISC-V) or of no use to what is compiled here.
const X86_FLAGS: &[(&str, &str)] = &[
    ("sse3", "has_sse3"),
    ("ssse3", "has_ssse3"),
    ("sse4.1", "has_sse41"),
    ("sse4.2", "has_sse42"),
    ("popcnt", "has_popcnt"),
    ("avx", "has_avx"),
    ("avx2", "has_avx2"),
    ("fma", "has_fma"),
    ("bmi1", "has_bmi1"),
    ("bmi2", "has_bmi2"),
    ("lzcnt", "has_lzcnt"),
    ("avx512f", "has_avx512f"),
    ("avx512vl", "has_avx512vl"),
    ("avx512dq", "has_avx512dq"),
];
const AARCH64_FLAGS: &[(&str, &str)] =
    &[("lse", "has_lse"), ("fp16", "has_fp16"), ("dotprod", "has_dotprod"), ("i8mm", "has_i8mm")];
const RISCV_FLAGS: &[(&str, &str)] = &[
    ("v", "has_v"),
    ("zvl128b", "has_zvl128b"),
    ("zvl256b", "has_zvl256b"),
    ("zvl512b", "has_zvl512b"),
    ("zvl1024b", "has_zvl1024b"),
    ("zba", "has_zba"),
    ("zbb", "has_zbb"),
    ("zbs", "has_zbs"),
    ("c", "has_zca"),
    ("c", "has_zcd"),
];
/// What an architecture must have for Cranelift to compile for it.
const RISCV_NEEDS: &[&str] = &["m", "a", "f", "d"];

/// The Cranelift back end for one target.
pub struct Cranelift {
    isa: Arc<dyn TargetIsa>,
    capabilities: Capabilities,
}

/// What the translation must know of the target, beyond what Cranelift hides: whatever Cranelift would do by a call to
/// the C library is spelled out instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities {
    /// Fused multiply-add is one instruction.
    pub(crate) fma: bool,
    /// Rounding to integral values is one instruction, or Cranelift writes it out.
    pub(crate) round: bool,
    /// Vectors.
    pub(crate) vectors: Vectors,
    /// Bytes that an instruction's offset reaches, in both directions, where that is little: what is further away gets a
    /// pointer of its own in loops.
    pub(crate) reach: Option<i64>,
    /// Multiply-add takes one lane of a vector as a factor, so that pixels can be loaded several at once.
    pub(crate) by_element: bool,
    /// Registers that vectors are in.
    pub(crate) registers: usize,
    /// How many of them a schedule should leave free: for vectors of pixels, or for what follows the sums.
    pub(crate) left: usize,
}

/// Most lanes of a vector on RISC-V: Cranelift sets the length by an instruction whose immediate ends at 31.
const MOST_LANES: usize = 16;

/// Vectors of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// None: scalars only.
    None,
    /// One width of 16 bytes; lanes can be inserted and extracted at little cost.
    Fixed,
    /// Every power of two up to so many bytes and [`MOST_LANES`]; single lanes are expensive, shorter vectors are not.
    UpTo(usize),
}

impl Vectors {
    /// Elements of so many bytes in the widest vector; 1 without vectors.
    pub(crate) fn lanes(self, element: usize) -> usize {
        match self {
            Vectors::None => 1,
            Vectors::Fixed => 16 / element,
            Vectors::UpTo(bytes) => (bytes / element).min(MOST_LANES),
        }
    }

    /// Bytes of the widest vector; 0 without vectors.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Vectors::None => 0,
            Vectors::Fixed => 16,
            Vectors::UpTo(bytes) => bytes,
        }
    }

    /// Whether there are vectors of so many elements of so many bytes.
    pub(crate) fn has(self, lanes: usize, element: usize) -> bool {
        let bytes = lanes.saturating_mul(element);
        match self {
            Vectors::None => false,
            Vectors::Fixed => bytes == 16,
            // Shorter than a pair of f32 is nothing that Cranelift knows.
            Vectors::UpTo(most) => {
                bytes.is_power_of_two() && (8..=most).contains(&bytes) && lanes <= MOST_LANES
            }
        }
    }
}

impl Capabilities {
    fn new(target: &Target) -> Self {
        let has = |feature: &str| target.has_feature(feature);
        let registers = target.vector.registers as usize;
        let vectors = if target.vector.bits.is_empty() { Vectors::None } else { Vectors::Fixed };
        let base = Capabilities {
            fma: true,
            round: true,
            vectors,
            reach: None,
            by_element: false,
            registers,
            left: 0,
        };
        match target.triple.architecture {
            Architecture::X86_64 => Capabilities {
                fma: has("fma"),
                round: has("sse4.1"),
                // Cranelift allocates 16 of AVX-512's 32.
                registers: if registers == 0 { 16 } else { registers.min(16) },
                // A product is in a register of its own before it is added.
                left: usize::from(!has("fma")),
                ..base
            },
            Architecture::Aarch64(_) => Capabilities { by_element: true, registers: 32, left: 8, ..base },
            Architecture::Riscv64(_) => {
                let vectors = match target.vector.bits.last() {
                    Some(&bits) if has("v") => Vectors::UpTo(bits as usize / 8),
                    _ => Vectors::None,
                };
                // Scalars are in as many registers. What multiplies and adds them has any register as its result, so that
                // sums wander, and bringing them home at a loop's end takes some. With one more for sums MobileNetV2
                // takes 3 % fewer instructions, but some sums pass through memory.
                let left = if vectors == Vectors::None { 8 } else { 4 };
                Capabilities { vectors, reach: Some(1 << 11), registers: 32, left, ..base }
            }
            _ => base,
        }
    }
}

/// The settings of an architecture, and the features that it can't do without.
fn settings_of(
    architecture: Architecture,
) -> (&'static [(&'static str, &'static str)], &'static [&'static str]) {
    match architecture {
        Architecture::X86_64 => (X86_FLAGS, &["sse2"]),
        Architecture::Aarch64(_) => (AARCH64_FLAGS, &["neon"]),
        Architecture::Riscv64(_) => (RISCV_FLAGS, RISCV_NEEDS),
        _ => (&[], &[]),
    }
}

impl Cranelift {
    /// The back end for a target.
    pub fn new(target: &Target) -> Result<Self, IsaError> {
        Ok(Cranelift { isa: isa(target, Use::Kernels)?, capabilities: Capabilities::new(target) })
    }
}

/// What is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Kernels.
    Kernels,
    /// The code that calls them, in an object file.
    Object,
    /// The same in this process.
    Process,
}

/// The Cranelift ISA of a target.
pub(crate) fn isa(target: &Target, what: Use) -> Result<Arc<dyn TargetIsa>, IsaError> {
    let fail = |problem: String| IsaError { target: target.name.clone(), problem };
    let mut flags = settings::builder();
    // Cranelift's rewriting of expressions moves each sum of a kernel to the end of its loop, behind all loads, where
    // registers run out; and it has no constants of vectors that don't have 128 bits and panics where it wants one
    // (0.135: `x - x`). What it finds in kernels is little: they have no common terms, and addresses are reduced before.
    // The code between kernels has scalars alone.
    let rewrite = what != Use::Kernels;
    let general = [
        ("opt_level", if rewrite { "speed" } else { "none" }),
        ("is_pic", if what == Use::Process { "false" } else { "true" }),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
        ("enable_probestack", "false"),
        ("unwind_info", "true"),
        ("preserve_frame_pointers", "false"),
        ("use_colocated_libcalls", "false"),
    ];
    for (name, value) in general {
        flags.set(name, value).map_err(|e| fail(format!("Cranelift setting {name}: {e}")))?;
    }
    let mut builder = isa::lookup(target.triple.clone())
        .map_err(|e| fail(format!("Cranelift can't compile for it: {e}")))?;
    let (features, needed) = settings_of(target.triple.architecture);
    if let Some(missing) = needed.iter().find(|feature| !target.has_feature(feature)) {
        return Err(fail(format!("avocet can't compile without the feature '{missing}'")));
    }
    for (feature, flag) in features {
        let value = if target.has_feature(feature) { "true" } else { "false" };
        builder.set(flag, value).map_err(|e| fail(format!("Cranelift setting {flag}: {e}")))?;
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| fail(e.to_string()))
}

/// Whether code spills vectors on RISC-V: it is the only one that stores vectors of 16 bytes in kernels of wider ones.
fn spills(assembly: Option<&str>) -> bool {
    assembly.is_none_or(|text| text.contains("vse8.v"))
}

impl Cranelift {
    /// The compiled form of a kernel.
    fn translate(&self, kernel: &Kernel, in_memory: bool) -> Result<Context, BackendError> {
        let fail = |problem: String| BackendError { kernel: kernel.name.clone(), problem };
        let mut context = Context::new();
        context.func =
            translate::function(kernel, self.isa.as_ref(), self.capabilities, in_memory).map_err(fail)?;
        context.func.name = ir::UserFuncName::testcase(&kernel.name);
        context.set_disasm(true);
        context
            .compile(self.isa.as_ref(), &mut ControlPlane::default())
            .map_err(|e| fail(format!("Cranelift: {:?}", e.inner)))?;
        Ok(context)
    }
}

impl Backend for Cranelift {
    fn name(&self) -> &'static str {
        "cranelift"
    }

    fn lanes(&self, element: Element) -> usize {
        self.capabilities.vectors.lanes(element.bytes())
    }

    fn vector_registers(&self) -> usize {
        self.capabilities.registers - self.capabilities.left
    }

    fn permutes(&self) -> bool {
        // Cranelift's one shuffle is of 16 bytes.
        self.capabilities.vectors.bytes() == 16
    }

    fn compile(&self, kernel: &Kernel) -> Result<MachineCode, BackendError> {
        let fail = |problem: String| BackendError { kernel: kernel.name.clone(), problem };
        let wide = (0..kernel.values.len())
            .any(|value| translate::bytes_of(kernel, ValueId(value)) > translate::SPILLED_BYTES);
        let mut context = self.translate(kernel, false)?;
        // A spill would lose a part of the vector. Such a kernel is made again, slower, so that nothing is spilled.
        if wide && context.compiled_code().is_some_and(|code| spills(code.vcode.as_deref())) {
            context = self.translate(kernel, true)?;
            if context.compiled_code().is_some_and(|code| spills(code.vcode.as_deref())) {
                return Err(fail("it needs more vectors at once than there are registers".into()));
            }
        }
        let code = context.compiled_code().ok_or_else(|| fail("Cranelift gave no code".into()))?;
        // The contract of the seam, and the promise that inference calls no libc and no libm.
        if let Some(reloc) = code.buffer.relocs().first() {
            return Err(fail(format!("the code refers to something outside itself: {reloc:?}")));
        }
        Ok(MachineCode {
            bytes: code.buffer.data().to_vec(),
            alignment: u64::from(code.buffer.alignment).max(16),
            assembly: code.vcode.clone().unwrap_or_default(),
            frame: frame::changes(code, self.isa.as_ref()).map_err(fail)?,
        })
    }
}
