//! How fast a model runs, held against what this machine can do.

use std::time::Instant;

use serde::Serialize;

use crate::artifact::Artifact;
use crate::error::Error;
use crate::inspect::grouped;
use crate::measure::{Budget, Limits, Meter, Timing, alternate, inputs, threads};
use crate::model::Model;
use crate::profile::parts::parts;

/// What was measured of a model.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Name of the model.
    pub model: String,
    /// What it was compiled for.
    pub target: String,
    /// Threads that it ran on.
    pub threads: usize,
    /// Times of runs.
    pub time: Timing,
    /// Multiply-adds of the network.
    pub multiply_adds: u64,
    /// Billions of operations in a second, two for each multiply-add, in the shortest time.
    pub gflops: f64,
    /// The same, in the median time.
    pub median_gflops: f64,
    /// Bytes that the kernels read and write: of each tensor once for each kernel.
    pub bytes_moved: u64,
    /// Billions of them in a second, in the shortest time.
    pub gigabytes_per_second: f64,
    /// The level of memory that holds weights and arena.
    pub level: &'static str,
    /// What this machine can do.
    pub limits: Limits,
    /// `gflops` as a part of the limit.
    pub share_of_compute: f64,
    /// `gigabytes_per_second` as a part of the limit of `level`.
    pub share_of_bandwidth: f64,
    /// The sum of the times that each kernel needs at least, by the limits, as a part of the shortest time.
    pub share_of_roofline: f64,
    /// Bytes of the constants.
    pub weight_bytes: usize,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of machine code.
    pub code_bytes: usize,
}

/// Runs between two samples of the limits.
const TURN: usize = 5;

/// Runs a compiled model again and again, in turn with the kernels that measure the machine.
pub fn bench(model: &Model, artifact: &Artifact, budget: &Budget) -> Result<Bench, Error> {
    let compiled = artifact.jit()?;
    let inputs = inputs(model);
    let mut meter = Meter::new(artifact.target())?;
    let mut session = compiled.session_with_threads(budget.threads)?;
    let mut times = Vec::new();
    alternate(&mut meter, budget, TURN, |runs| {
        // Untimed: it brings back into the caches what the meter has driven out.
        session.run(&inputs)?;
        for _ in 0..runs {
            let start = Instant::now();
            session.run(&inputs)?;
            times.push(start.elapsed());
        }
        Ok(())
    })?;
    let (time, limits) = (Timing::new(&times), meter.limits());
    let parts = parts(artifact.program(), artifact.graph());
    let multiply_adds = parts.iter().map(|part| part.multiply_adds).sum();
    let bytes_moved: u64 = parts.iter().map(|part| part.bytes()).sum();
    let footprint = artifact.footprint();
    let bound: f64 = parts.iter().map(|part| part.bound(&limits, footprint)).sum();
    let level = limits.level(footprint);
    let gflops = 2.0 * multiply_adds as f64 / time.min_seconds() / 1e9;
    // The limits are those of one core.
    let cores = budget.threads.max(1) as f64;
    Ok(Bench {
        model: model.name().into(),
        target: artifact.target().to_string(),
        threads: budget.threads,
        multiply_adds,
        gflops,
        median_gflops: 2.0 * multiply_adds as f64 / time.median_seconds() / 1e9,
        bytes_moved,
        gigabytes_per_second: bytes_moved as f64 / time.min_seconds() / 1e9,
        level: level.map_or("memory", |level| level.name),
        share_of_compute: gflops / limits.gflops / cores,
        share_of_bandwidth: limits.transfer(bytes_moved, footprint) / time.min_seconds(),
        share_of_roofline: bound / cores / time.min_seconds(),
        weight_bytes: artifact.weight_bytes(),
        arena_bytes: artifact.plan().bytes,
        code_bytes: artifact.code_bytes(),
        time,
        limits,
    })
}

/// The result as text.
pub fn text(bench: &Bench) -> String {
    let Bench { time, limits, .. } = bench;
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let threads = threads(bench.threads);
    let mut lines = vec![
        ("model", bench.model.clone()),
        ("target", bench.target.clone()),
        (
            "latency",
            format!(
                "{:.3} ms minimum, {:.3} ms median, half within {:.3} to {:.3} ms (spread {}), {} runs, {threads}",
                time.min_ms,
                time.median_ms,
                time.quartiles_ms[0],
                time.quartiles_ms[1],
                percent(time.spread),
                time.runs
            ),
        ),
        (
            "speed",
            format!(
                "{:.1} GFLOP/s, {} of the {:.1} that multiply-adds reach here ({} multiply-adds)",
                bench.gflops,
                percent(bench.share_of_compute),
                limits.gflops,
                grouped(bench.multiply_adds)
            ),
        ),
        (
            "traffic",
            format!(
                "{:.1} GB/s, {} of what {} gives ({} bytes)",
                bench.gigabytes_per_second,
                percent(bench.share_of_bandwidth),
                bench.level,
                grouped(bench.bytes_moved)
            ),
        ),
        ("roofline", format!("{} of the time is what the limits ask for", percent(bench.share_of_roofline))),
        ("limits", limits_text(limits)),
        ("arena", format!("{} bytes", grouped(bench.arena_bytes as u64))),
        ("weights", format!("{} bytes", grouped(bench.weight_bytes as u64))),
        ("code", format!("{} bytes", grouped(bench.code_bytes as u64))),
    ];
    if bench.multiply_adds == 0 {
        lines.retain(|(name, _)| *name != "speed");
    }
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect();
    if bench.share_of_compute > 1.0 || bench.share_of_roofline > 1.0 {
        text += "warning: the limits were measured too low, since the machine was busy; measure longer (--seconds)\n";
    }
    text
}

/// The limits in one line.
pub(crate) fn limits_text(limits: &Limits) -> String {
    let mut text = format!("{:.1} GFLOP/s with vectors of {} bits", limits.gflops, limits.vector_bits);
    if limits.vector_bits < limits.processor_vector_bits {
        text += &format!(" (the processor has {})", limits.processor_vector_bits);
    }
    for level in &limits.levels {
        text += &format!(", {} {:.1} GB/s", level.name, level.gigabytes_per_second);
    }
    text
}
