//! Measuring in process: samples of time and their statistics, inputs to run on, and the machine's own limits.

mod limits;

use std::time::{Duration, Instant};

use avocet_ir::tensor::TensorData;
use avocet_ir::{DType, Tensor, TensorType};
use serde::Serialize;

pub(crate) use limits::compute;
pub use limits::{Level, Limits, Meter};

use crate::error::Error;
use crate::jit::{Compiled, RunError};
use crate::model::Model;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// So many runs, whatever time they take; without it, as many as fit in the time.
    pub runs: Option<usize>,
    /// The time.
    pub time: Duration,
    /// So many runs at least.
    pub at_least: usize,
    /// Threads that the model runs on.
    pub threads: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { runs: None, time: Duration::from_secs(1), at_least: 5, threads: 1 }
    }
}

impl Budget {
    /// Whether `runs` since `start` are enough.
    pub fn is_spent(&self, runs: usize, start: Instant) -> bool {
        match self.runs {
            Some(wanted) => runs >= wanted.max(1),
            None => runs >= self.at_least.max(1) && start.elapsed() >= self.time,
        }
    }
}

/// Statistics of the times of one thing; at least one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Shortest, in milliseconds.
    pub min_ms: f64,
    /// Median, in milliseconds.
    pub median_ms: f64,
    /// Half of the times lie between these, in milliseconds.
    pub quartiles_ms: [f64; 2],
    /// Distance of the quartiles, as a part of the median.
    pub spread: f64,
    /// Number of times.
    pub runs: usize,
}

impl Timing {
    /// The statistics of these times; of none they are zero.
    pub fn new(times: &[Duration]) -> Self {
        let mut times: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1e3).collect();
        times.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * times.len().saturating_sub(1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            match (times.get(low), times.get(high)) {
                (Some(a), Some(b)) => a + (b - a) * place.fract(),
                _ => 0.0,
            }
        };
        let [low, median, high] = [0.25, 0.5, 0.75].map(at);
        let spread = if median > 0.0 { (high - low) / median } else { 0.0 };
        Timing { min_ms: at(0.0), median_ms: median, quartiles_ms: [low, high], spread, runs: times.len() }
    }

    /// Shortest, in seconds.
    pub fn min_seconds(&self) -> f64 {
        self.min_ms / 1e3
    }

    /// Median, in seconds.
    pub fn median_seconds(&self) -> f64 {
        self.median_ms / 1e3
    }
}

/// Inputs of these types, the same each time.
pub(crate) fn inputs_of<'a>(types: impl Iterator<Item = &'a TensorType>) -> Vec<Tensor> {
    types.enumerate().map(|(number, ty)| input(ty, number)).collect()
}

/// Inputs for a model: the same each time.
pub fn inputs(model: &Model) -> Vec<Tensor> {
    inputs_of(model.inputs().iter().map(|port| &port.ty))
}

/// A pattern of numbers between -1 and 1.
fn input(ty: &TensorType, number: usize) -> Tensor {
    let value = |i: usize| (((i * 7919 + number * 104_729) % 2003) as f32) / 1001.5 - 1.0;
    let count = ty.shape.elements();
    let data = match ty.dtype {
        DType::F32 => TensorData::F32((0..count).map(value).collect()),
        DType::I64 => TensorData::I64((0..count).map(|i| (i % 7) as i64).collect()),
        DType::I32 => TensorData::I32((0..count).map(|i| (i % 7) as i32).collect()),
        DType::Bool => TensorData::Bool((0..count).map(|i| i % 3 == 0).collect()),
        DType::U8 => TensorData::U8((0..count).map(|i| (i % 251) as u8).collect()),
        DType::I8 => TensorData::I8((0..count).map(|i| (i % 7) as i8).collect()),
        DType::I16 => TensorData::I16((0..count).map(|i| (i % 7) as i16).collect()),
        DType::U16 => TensorData::U16((0..count).map(|i| (i % 7) as u16).collect()),
        DType::U32 => TensorData::U32((0..count).map(|i| (i % 7) as u32).collect()),
        DType::U64 => TensorData::U64((0..count).map(|i| (i % 7) as u64).collect()),
    };
    Tensor::new(ty.shape.clone(), data).unwrap_or_else(|_| unreachable!("as many elements as the shape has"))
}

/// A number of threads in words.
pub fn threads(count: usize) -> String {
    if count == 1 { "1 thread".into() } else { format!("{count} threads") }
}

/// Times of runs after a few that only warm up.
pub fn time(compiled: &Compiled, inputs: &[Tensor], budget: &Budget) -> Result<Timing, RunError> {
    const WARM_UP: usize = 2;
    let mut session = compiled.session_with_threads(budget.threads)?;
    for _ in 0..WARM_UP {
        session.run(inputs)?;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while !budget.is_spent(times.len(), start) {
        let before = Instant::now();
        session.run(inputs)?;
        times.push(before.elapsed());
    }
    Ok(Timing::new(&times))
}

/// Samples the machine's limits and takes a turn of `most` runs, or as many as are left, again and again until the budget
/// is spent.
pub(crate) fn alternate(
    meter: &mut Meter,
    budget: &Budget,
    most: usize,
    mut turn: impl FnMut(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut runs, start) = (0, Instant::now());
    while !budget.is_spent(runs, start) {
        meter.sample()?;
        let next = budget.runs.map_or(most, |wanted| most.min(wanted.max(1) - runs));
        turn(next)?;
        runs += next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_times() {
        let times: Vec<Duration> = [4, 1, 2, 3, 5].map(Duration::from_millis).to_vec();
        let timing = Timing::new(&times);
        assert_eq!((timing.min_ms, timing.median_ms, timing.runs), (1.0, 3.0, 5));
        assert_eq!((timing.quartiles_ms, timing.spread), ([2.0, 4.0], 2.0 / 3.0));
        assert_eq!(Timing::new(&times[..2]).median_ms, 2.5);
        assert_eq!(Timing::new(&[]).median_ms, 0.0);
    }

    #[test]
    fn a_budget_of_runs_or_of_time() {
        let start = Instant::now();
        let runs = Budget { runs: Some(3), ..Budget::default() };
        assert!(!runs.is_spent(2, start) && runs.is_spent(3, start));
        let time = Budget { time: Duration::ZERO, ..Budget::default() };
        assert!(!time.is_spent(4, start) && time.is_spent(5, start));
        assert!(!Budget { time: Duration::from_secs(60), ..time }.is_spent(5, start));
    }
}
