//! Machine code in this process: executable memory and the one place where compiled code is called.
//!
//! `unsafe` is confined to this module: freeing the memory, turning its address into a function, calling it, and telling
//! this process's unwinder of it.
//! cranelift-jit fills pages while they are writable and then makes them executable; they are never both.

use std::ffi::c_void;

use avocet_ir::backend::MachineCode;
use avocet_ir::program::Program;
use avocet_runtime::{Context, Invoke};
use avocet_target_spec::Target;
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};

use crate::emit::{EmitError, Weights, define};
use crate::isa::{Use, isa};
use crate::unwind;

/// Executable code of a program. Its constants are outside; callers pass them.
pub struct Code {
    /// Only taken when dropped.
    module: Option<JITModule>,
    invoke: Invoke,
    /// Only taken when dropped.
    frames: Option<Registered>,
}

// SAFETY: after construction the module is only read (its code is executed), and freed once on drop; the code keeps no
// state between calls.
unsafe impl Sync for Code {}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").finish_non_exhaustive()
    }
}

impl Code {
    /// Places the code of a program in executable memory. The target must be what this process runs on.
    pub fn new(program: &Program, code: &[MachineCode], target: &Target) -> Result<Self, EmitError> {
        let not_host = |problem: String| EmitError::NotHost { target: target.name.clone(), problem };
        let host = target_lexicon::Triple::host().architecture;
        if target.triple.architecture != host {
            return Err(not_host(format!("it is {}, this is {host}", target.triple.architecture)));
        }
        let present = Target::host().features;
        if let Some(missing) = target.features.iter().find(|f| !present.contains(*f)) {
            return Err(not_host(format!("this processor has no {missing}")));
        }
        let isa = isa(target, Use::Process)?;
        let mut builder = JITBuilder::with_isa(isa.clone(), cranelift_module::default_libcall_names());
        // One reservation for everything, so that calls between functions reach; twice the code, for alignment.
        let bytes: usize = code.iter().map(|c| c.bytes.len() + 64).sum();
        let reserve = (bytes * 2 + program.calls().count() * 512 + (1 << 20)).next_multiple_of(1 << 16);
        let memory = ArenaMemoryProvider::new_with_size(reserve)
            .map_err(|e| EmitError::Object(format!("reserving {reserve} bytes for code: {e}")))?;
        builder.memory_provider(Box::new(memory));
        let mut module = JITModule::new(builder);
        let (id, functions) = define(&mut module, program, code, "jit", Weights::External)?;
        module.finalize_definitions()?;
        let address = module.get_finalized_function(id);
        // SAFETY: the address is that of a function that was compiled with exactly this signature and is kept alive by
        // `module`, which outlives every call.
        let invoke = unsafe { std::mem::transmute::<*const u8, Invoke>(address) };
        let address = |function| module.get_finalized_function(function) as u64;
        let table = unwind::in_memory(isa.as_ref(), &functions, address).map_err(EmitError::Object)?;
        Ok(Code { module: Some(module), invoke, frames: table.map(Registered::new) })
    }

    /// Runs the program; returns its [`avocet_runtime::Status`].
    ///
    /// # Safety
    /// `inputs` and `outputs` must hold one valid pointer for each input and output of the program, each to as many bytes
    /// as its type says; the arena must have the plan's size and not be used by anyone else during the call; `weights`
    /// must be the program's constant block. Outputs and the arena must not overlap anything else.
    pub unsafe fn invoke(&self, inputs: &[*const c_void], outputs: &[*mut c_void], context: &Context) -> i32 {
        // SAFETY: the caller's promise, passed on; the generated code touches nothing else, as the verifier proved.
        unsafe { (self.invoke)(inputs.as_ptr(), outputs.as_ptr(), context) }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // First, while there is code at the addresses in it.
        drop(self.frames.take());
        if let Some(module) = self.module.take() {
            // SAFETY: `invoke` is private and borrowed only while `self` lives, so nothing can call the code any more.
            unsafe { module.free_memory() }
        }
    }
}

// libgcc's unwinder, which Rust's standard library links on this platform. Others take one entry at a time (LLVM's), or
// have tables of their own; there compiled code stays without.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    fn __register_frame(table: *const u64);
    fn __deregister_frame(table: *const u64);
}

/// A table of frames that the unwinder of this process knows, where it can be told.
struct Registered(Vec<u64>);

impl Registered {
    fn new(table: Vec<u64>) -> Self {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: the table is well-formed, ends with an empty entry, and stays where it is, unchanged, until it is taken
        // back on drop.
        unsafe {
            __register_frame(table.as_ptr());
        }
        Registered(table)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: this table was registered by `new`, once, and is taken back once, before its memory is freed.
        unsafe {
            __deregister_frame(self.0.as_ptr());
        }
        self.0.clear();
    }
}
