//! The manifest: what was compiled, for build systems and tools.

use avocet_ir::program::{ALIGNMENT, Port};
use avocet_target_cranelift::emit::Weights;
use serde::Serialize;

use crate::artifact::Artifact;
use crate::constants::constants;

#[derive(Serialize)]
struct Manifest<'a> {
    version: u32,
    name: &'a str,
    target: &'a str,
    triple: String,
    features: &'a std::collections::BTreeSet<String>,
    function: String,
    inputs: Vec<PortEntry<'a>>,
    outputs: Vec<PortEntry<'a>>,
    arena: Memory,
    weights: WeightsEntry,
}

#[derive(Serialize)]
struct PortEntry<'a> {
    name: &'a str,
    constant: String,
    element: String,
    shape: &'a [usize],
    bytes: usize,
    alignment: usize,
}

#[derive(Serialize)]
struct Memory {
    bytes: usize,
    alignment: usize,
    lower_bound: usize,
}

#[derive(Serialize)]
struct WeightsEntry {
    external: bool,
    bytes: usize,
    xxh64: String,
}

/// The manifest's text.
pub(crate) fn text(artifact: &Artifact) -> String {
    let plan = artifact.plan();
    let manifest = Manifest {
        version: 1,
        name: &artifact.name,
        target: &artifact.target.name,
        triple: artifact.target.triple.to_string(),
        features: &artifact.target.features,
        function: format!("{}_invoke", artifact.name),
        inputs: entries(&artifact.program.inputs),
        outputs: entries(&artifact.program.outputs),
        arena: Memory { bytes: plan.bytes, alignment: ALIGNMENT, lower_bound: plan.lower_bound },
        weights: WeightsEntry {
            external: artifact.weights == Weights::External,
            bytes: artifact.weight_bytes(),
            xxh64: format!("{:016x}", artifact.weight_checksum()),
        },
    };
    // Strings and numbers always have a JSON form.
    serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n"
}

fn entries(ports: &[Port]) -> Vec<PortEntry<'_>> {
    ports.iter().zip(constants(ports)).map(|(port, constant)| entry(port, constant)).collect()
}

fn entry(port: &Port, constant: String) -> PortEntry<'_> {
    PortEntry {
        name: &port.name,
        constant,
        element: port.ty.dtype.to_string(),
        shape: port.ty.dims(),
        bytes: port.ty.bytes(),
        alignment: port.ty.dtype.bytes(),
    }
}
