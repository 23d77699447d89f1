//! Where the time of a model goes: every kernel call timed on its own, held against the roofline.

mod html;
pub(crate) mod parts;
mod table;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use html::{page, write_page};
pub use table::{Order, table};

use crate::artifact::Artifact;
use crate::error::Error;
use crate::measure::{Budget, Limits, Meter, Timing, alternate, inputs};
use crate::model::Model;
use crate::sizes::SizesError;

/// A kernel call.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Its place in the order of execution.
    pub number: usize,
    /// Name of the node that it computes, or computes a part of.
    pub node: String,
    /// The node's operator; empty for a copy that no node asks for.
    pub operator: String,
    /// Name of the kernel, the same for the same code.
    pub kernel: String,
    /// How often it runs in an inference, at most: more than once within loops. A branch that is not taken counts too.
    pub runs: u64,
    /// Times of one run.
    pub time: Timing,
    /// Its part of the sum of all median times, each as often as it runs.
    pub share_of_time: f64,
    /// Multiply-adds of the node as the literature counts them: products with padding too.
    pub multiply_adds: u64,
    /// Floating-point operations that the kernel does, idle lanes of tails included.
    pub operations: u64,
    /// Those of them that can't be left out: of the multiply-adds, or all where the node has none.
    pub needed_operations: u64,
    /// Bytes of constants that it reads.
    pub weight_bytes: u64,
    /// Bytes of everything else that it reads or writes.
    pub activation_bytes: u64,
    /// Needed operations for each byte moved.
    pub intensity: f64,
    /// Billions of needed operations in a second, in the median time.
    pub gflops: f64,
    /// Billions of bytes in a second, in the median time.
    pub gigabytes_per_second: f64,
    /// Least time by the limits, in milliseconds.
    pub bound_ms: f64,
    /// Least time as a part of the median time.
    pub share_of_roofline: f64,
    /// Whether moving bytes takes longer than computing, by the limits.
    pub memory_bound: bool,
}

/// A model's profile.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// Name of the model.
    pub model: String,
    /// What it was compiled for.
    pub target: String,
    /// Version of avocet.
    pub version: &'static str,
    /// Times of whole runs, in which nothing is timed in between.
    pub whole: Timing,
    /// Sum of the layers' median times, each as often as it runs, in milliseconds.
    pub sum_ms: f64,
    /// Sum of the layers' least times, in milliseconds.
    pub bound_ms: f64,
    /// Multiply-adds of the network.
    pub multiply_adds: u64,
    /// Bytes of weights and arena.
    pub footprint_bytes: u64,
    /// What this machine can do.
    pub limits: Limits,
    /// The calls, in order.
    pub layers: Vec<Layer>,
}

/// Profiles between two samples of the limits.
const TURN: usize = 3;

/// Times every kernel call of a model, over and over, in turn with whole runs and the kernels that measure the machine.
pub fn profile(model: &Model, artifact: &Artifact, budget: &Budget) -> Result<Profile, Error> {
    if let Some(sizes) = &artifact.program().sizes {
        return Err(SizesError::OneSize("a profile", sizes.to_string()).into());
    }
    let compiled = artifact.jit_in_parts()?;
    let inputs = inputs(model);
    let parts = parts::parts(artifact.program(), artifact.graph());
    let mut meter = Meter::new(artifact.target())?;
    let mut session = compiled.session()?;
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); parts.len()];
    let mut whole = Vec::new();
    alternate(&mut meter, budget, TURN, |runs| {
        session.run(&inputs)?;
        for _ in 0..runs {
            let start = Instant::now();
            session.run(&inputs)?;
            whole.push(start.elapsed());
            session.run_parts(&inputs, |number, time| times[number].push(time))?;
        }
        Ok(())
    })?;
    let (limits, footprint) = (meter.limits(), artifact.footprint());
    let times: Vec<Timing> = times.iter().map(|times| Timing::new(times)).collect();
    let sum: f64 =
        times.iter().zip(&parts).map(|(time, part)| time.median_seconds() * part.runs as f64).sum();
    let layers: Vec<Layer> = parts
        .into_iter()
        .zip(times)
        .enumerate()
        .map(|(number, (part, time))| layer(number, part, time, sum, &limits, footprint))
        .collect();
    Ok(Profile {
        model: model.name().into(),
        target: artifact.target().to_string(),
        version: crate::VERSION,
        whole: Timing::new(&whole),
        sum_ms: sum * 1e3,
        bound_ms: layers.iter().map(|layer| layer.bound_ms * layer.runs as f64).sum(),
        multiply_adds: layers.iter().map(|layer| layer.multiply_adds.saturating_mul(layer.runs)).sum(),
        footprint_bytes: footprint,
        limits,
        layers,
    })
}

fn layer(number: usize, part: parts::Part, time: Timing, sum: f64, limits: &Limits, footprint: u64) -> Layer {
    let (operations, bytes) = (part.operations() as f64, part.bytes() as f64);
    // A call may be shorter than the clock can tell.
    let seconds = time.median_seconds().max(1e-9);
    let bound = part.bound(limits, footprint);
    Layer {
        number,
        runs: part.runs,
        share_of_time: if sum > 0.0 { time.median_seconds() * part.runs as f64 / sum } else { 0.0 },
        multiply_adds: part.multiply_adds,
        operations: part.work.operations,
        needed_operations: part.operations(),
        weight_bytes: part.weight_bytes,
        activation_bytes: part.activation_bytes,
        intensity: if bytes > 0.0 { operations / bytes } else { 0.0 },
        gflops: operations / seconds / 1e9,
        gigabytes_per_second: bytes / seconds / 1e9,
        bound_ms: bound * 1e3,
        share_of_roofline: bound / seconds,
        memory_bound: bound > limits.compute(part.operations()),
        node: part.node,
        operator: part.operator,
        kernel: part.kernel,
        time,
    }
}
