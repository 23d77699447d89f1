//! The seam: which targets and kernels this back end takes.

use avocet_ir::backend::{Backend, BackendError, MachineCode};
use avocet_ir::kernel::{Element, Kernel};
use avocet_target_spec::Target;
use target_lexicon::{Architecture, OperatingSystem};

use crate::allocate::allocate;
use crate::convention::{self, Convention};
use crate::encode::{self, encode};
use crate::select::{Level, select};

/// The wide back end for one target.
#[derive(Clone, Copy, Debug)]
pub struct X86 {
    level: Level,
    convention: &'static Convention,
}

impl X86 {
    /// The back end for a target, or why it has none: it must be x86-64 with AVX2 and FMA.
    pub fn new(target: &Target) -> Result<Self, String> {
        if target.triple.architecture != Architecture::X86_64 {
            return Err(format!("{} is not x86-64", target.triple.architecture));
        }
        let has = |feature: &str| target.has_feature(feature);
        if !(has("avx2") && has("fma") && target.vector.bits.contains(&256)) {
            return Err("it needs AVX2 and FMA".into());
        }
        let avx512 = has("avx512f") && has("avx512vl") && target.vector.bits.contains(&512);
        let convention = match target.triple.operating_system {
            OperatingSystem::Windows => &convention::WINDOWS,
            _ => &convention::SYSTEM_V,
        };
        Ok(X86 { level: Level { avx512 }, convention })
    }
}

impl Backend for X86 {
    fn name(&self) -> &'static str {
        if self.level.avx512 { "x86 (AVX-512)" } else { "x86 (AVX2)" }
    }

    fn lanes(&self, element: Element) -> usize {
        match element {
            Element::F32 | Element::I32 => self.level.widest().lanes(),
            // Left to the back end of 128-bit vectors.
            _ => 16 / element.bytes(),
        }
    }

    fn vector_registers(&self) -> usize {
        if self.level.avx512 { 32 } else { 16 }
    }

    fn compile(&self, kernel: &Kernel) -> Result<MachineCode, BackendError> {
        let fail = |problem: String| BackendError { kernel: kernel.name.clone(), problem };
        let mut code = select(kernel, self.level, self.convention).map_err(fail)?;
        let output = allocate(&mut code, self.level, self.convention).map_err(fail)?;
        let encoded = encode(&code, &output, self.convention).map_err(fail)?;
        Ok(MachineCode {
            bytes: encoded.bytes,
            alignment: encode::ALIGNMENT,
            assembly: encoded.assembly,
            frame: encoded.frame,
        })
    }
}
