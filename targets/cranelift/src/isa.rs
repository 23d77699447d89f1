//! The back end itself: a target description becomes a Cranelift ISA, a kernel becomes bytes.

use std::sync::Arc;

use avocet_ir::backend::{Backend, BackendError, MachineCode};
use avocet_ir::kernel::{Element, Kernel};
use avocet_target_spec::Target;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::{self, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, ir};
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

/// Bytes of the vectors of this back end, on every ISA.
const VECTOR_BYTES: usize = 16;

/// Features of target descriptions by the setting that enables them in Cranelift.
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

/// The Cranelift back end for one target.
pub struct Cranelift {
    isa: Arc<dyn TargetIsa>,
    capabilities: Capabilities,
    registers: usize,
}

/// What the translation must know of the target, beyond what Cranelift hides: whatever Cranelift would do by a call to
/// the C library is spelled out instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities {
    /// Fused multiply-add is one instruction.
    pub(crate) fma: bool,
    /// Rounding to integral values is one instruction.
    pub(crate) round: bool,
}

impl Cranelift {
    /// The back end for a target.
    pub fn new(target: &Target) -> Result<Self, IsaError> {
        let x86 = matches!(target.triple.architecture, target_lexicon::Architecture::X86_64);
        let has = |feature: &str| target.has_feature(feature);
        let capabilities = Capabilities { fma: !x86 || has("fma"), round: !x86 || has("sse4.1") };
        let isa = isa(target, true)?;
        Ok(Cranelift { isa, capabilities, registers: target.vector.registers as usize })
    }
}

/// The Cranelift ISA of a target; `pic` for object files.
pub(crate) fn isa(target: &Target, pic: bool) -> Result<Arc<dyn TargetIsa>, IsaError> {
    let fail = |problem: String| IsaError { target: target.name.clone(), problem };
    let mut flags = settings::builder();
    let general = [
        ("opt_level", "speed"),
        ("is_pic", if pic { "true" } else { "false" }),
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
    if matches!(target.triple.architecture, target_lexicon::Architecture::X86_64) {
        for (feature, flag) in X86_FLAGS {
            let value = if target.has_feature(feature) { "true" } else { "false" };
            builder.set(flag, value).map_err(|e| fail(format!("Cranelift setting {flag}: {e}")))?;
        }
    }
    builder.finish(settings::Flags::new(flags)).map_err(|e| fail(e.to_string()))
}

impl Backend for Cranelift {
    fn name(&self) -> &'static str {
        "cranelift"
    }

    fn lanes(&self, element: Element) -> usize {
        VECTOR_BYTES / element.bytes()
    }

    fn vector_registers(&self) -> usize {
        // Cranelift allocates 16 of AVX-512's 32.
        self.registers.min(if self.isa.triple().architecture == target_lexicon::Architecture::X86_64 {
            16
        } else {
            32
        })
    }

    fn compile(&self, kernel: &Kernel) -> Result<MachineCode, BackendError> {
        let fail = |problem: String| BackendError { kernel: kernel.name.clone(), problem };
        let mut context = Context::new();
        context.func = translate::function(kernel, self.isa.as_ref(), self.capabilities).map_err(fail)?;
        context.func.name = ir::UserFuncName::testcase(&kernel.name);
        context.set_disasm(true);
        let code = context
            .compile(self.isa.as_ref(), &mut ControlPlane::default())
            .map_err(|e| fail(format!("Cranelift: {:?}", e.inner)))?;
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
