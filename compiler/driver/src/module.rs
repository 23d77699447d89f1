//! The Rust file of a compiled model: what the C header says, for `include!` in a module of the host's, which has the crate
//! `avocet-runtime`.

use std::fmt::Write as _;

use avocet_ir::DType;
use avocet_ir::program::{Port, Sizes};
use avocet_target_cranelift::emit::Weights;

use crate::artifact::Artifact;
use crate::constants::{constants, constants_of};

/// What declarations of foreign functions start with.
const FOREIGN: &str = "unsafe";

/// The file's text.
pub(crate) fn text(artifact: &Artifact) -> String {
    let name = &artifact.name;
    let mut out = String::new();
    // Writing to a string can't fail.
    let mut line = |text: &str| {
        let _ = writeln!(out, "{text}");
    };
    line(&format!("// {name}: a neural network compiled by avocet for {}.", artifact.target.name));
    line("\n/// Memory that a call needs, in bytes.");
    line(&format!("pub const ARENA_BYTES: usize = {};", artifact.plan().bytes));
    if artifact.weights == Weights::External {
        line("\n/// Checksum of the external weights.");
        line(&format!("pub const WEIGHTS_CHECKSUM: u64 = 0x{:016x};", artifact.weight_checksum()));
    }
    for (kind, ports) in [("input", &artifact.program.inputs), ("output", &artifact.program.outputs)] {
        line(&format!("\n/// The {kind}s, in order."));
        line(&format!(
            "pub const {}S: [::avocet_runtime::Port; {}] = [",
            kind.to_ascii_uppercase(),
            ports.len()
        ));
        for port in ports {
            line(&format!("    {},", entry(port)));
        }
        line("];");
        line(&format!("\n/// Numbers of the {kind}s by name.\npub mod {kind} {{"));
        for (number, (port, constant)) in ports.iter().zip(constants(ports)).enumerate() {
            line(&format!("    /// {:?}\n    pub const {constant}: usize = {number};", port.name));
        }
        line("}");
    }
    if let Some(sizes) = &artifact.program.sizes {
        line(&format!(
            "\n/// Numbers of the sizes that each call gives: {}. Inputs, outputs and arena above",
            comment(sizes)
        ));
        line("/// are those of the largest.\npub mod size {");
        let names = constants_of(sizes.dims.iter().map(|dim| dim.name.as_str()));
        for (number, (dim, constant)) in sizes.dims.iter().zip(names).enumerate() {
            line(&format!("    /// {:?}\n    pub const {constant}: usize = {number};", dim.name));
        }
        line("}");
        line(
            "\n/// Bytes of the arena that a call needs, by case: cases are in the order of the sizes, the last one changing fastest;",
        );
        line("/// a batch makes no cases.");
        let bytes: Vec<String> =
            (0..sizes.cases.len()).map(|case| artifact.program.arena_bytes(case).to_string()).collect();
        line(&format!("pub const CASE_ARENA_BYTES: [usize; {}] = [{}];", bytes.len(), bytes.join(", ")));
    }
    line(&format!("\n{FOREIGN} extern \"C\" {{"));
    line("    /// The model: [`avocet_runtime::Invoke`].");
    line(&format!("    pub fn {name}_invoke("));
    line("        inputs: *const *const ::core::ffi::c_void,");
    line("        outputs: *const *mut ::core::ffi::c_void,");
    line("        context: *const ::avocet_runtime::Context,");
    line("    ) -> i32;\n}");
    out
}

/// Sizes as a text that ends no comment line.
fn comment(sizes: &Sizes) -> String {
    sizes.to_string().chars().filter(|c| !c.is_control()).collect()
}

fn entry(port: &Port) -> String {
    let element = match port.ty.dtype {
        DType::F32 => "F32",
        DType::I64 => "I64",
        DType::I32 => "I32",
        DType::Bool => "Bool",
        DType::U8 => "U8",
        DType::I8 => "I8",
        DType::I16 => "I16",
        DType::U16 => "U16",
        DType::U32 => "U32",
        DType::U64 => "U64",
    };
    format!(
        "::avocet_runtime::Port {{ name: {:?}, element: ::avocet_runtime::Element::{element}, shape: &{:?} }}",
        port.name,
        port.ty.dims()
    )
}
