//! The manifest: what was compiled, for build systems and tools.

use avocet_ir::program::{ALIGNMENT, Dim, Port};
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
    /// Sizes that are given at the call; inputs, outputs and arena are of the largest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sizes: Vec<SizeEntry<'a>>,
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
struct SizeEntry<'a> {
    name: &'a str,
    first: usize,
    last: usize,
    step: usize,
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
    let sizes = artifact.program.sizes.iter().flat_map(|sizes| &sizes.dims);
    let manifest = Manifest {
        version: 1,
        name: &artifact.name,
        target: &artifact.target.name,
        triple: artifact.target.triple.to_string(),
        features: &artifact.target.features,
        function: format!("{}_invoke", artifact.name),
        inputs: entries(&artifact.program.inputs),
        outputs: entries(&artifact.program.outputs),
        sizes: sizes
            .map(|Dim { name, first, last, step }| SizeEntry {
                name,
                first: *first,
                last: *last,
                step: *step,
            })
            .collect(),
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
