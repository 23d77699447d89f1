//! The back ends of a target, best first: a kernel is compiled by the first that has a place for it.

use avocet_ir::backend::{Backend, BackendError, MachineCode};
use avocet_ir::kernel::{Element, Kernel};
use avocet_target_cranelift::Cranelift;
use avocet_target_spec::Target;
use avocet_target_x86::X86;

use crate::error::Error;

/// The back ends of one target; never empty.
pub(crate) struct Backends(Vec<Box<dyn Backend>>);

impl Backends {
    /// All that the target has; Cranelift, which takes every kernel of 128-bit vectors, is the last.
    pub(crate) fn new(target: &Target) -> Result<Self, Error> {
        let mut backends: Vec<Box<dyn Backend>> = Vec::new();
        if let Ok(wide) = X86::new(target) {
            backends.push(Box::new(wide));
        }
        backends.push(Box::new(Cranelift::new(target)?));
        Ok(Backends(backends))
    }

    fn best(&self) -> &dyn Backend {
        self.0[0].as_ref()
    }
}

impl Backend for Backends {
    fn name(&self) -> &'static str {
        self.best().name()
    }

    fn lanes(&self, element: Element) -> usize {
        self.best().lanes(element)
    }

    fn vector_registers(&self) -> usize {
        self.best().vector_registers()
    }

    fn permutes(&self) -> bool {
        self.best().permutes()
    }

    fn compile(&self, kernel: &Kernel) -> Result<MachineCode, BackendError> {
        let mut refusals = Vec::new();
        for backend in &self.0 {
            match backend.compile(kernel) {
                Ok(code) => return Ok(code),
                Err(error) => refusals.push(format!("{}: {}", backend.name(), error.problem)),
            }
        }
        Err(BackendError { kernel: kernel.name.clone(), problem: refusals.join("; ") })
    }
}
