//! Tuning: the distinct layers of a model are measured in this process, each under several schedules, and the fastest is
//! kept where compilations find it ([`Tuned`]).
//!
//! Each layer is compiled as a network of its own with its epilogue, as often as there are schedules worth trying
//! ([`avocet_passes::tuned::candidates`]), and these compete (`contest.rs`). The cost model's own choice is among them and
//! stays unless another is clearly faster, so the result also says how good the model is.

mod contest;
mod file;
mod layers;
mod table;

use std::time::{Duration, Instant};

use avocet_ir::Graph;
use avocet_ir::backend::Backend;
use avocet_ir::schedule::{Schedule, Schedules};
use avocet_passes::partition::{Partition, partition};
use avocet_passes::schedule::{Machine, ScheduleOptions};
use avocet_passes::tuned::{Candidate, candidates};
use avocet_target_cranelift::jit::Code;
use avocet_target_spec::Target;
use serde::Serialize;

pub use file::{Tuned, TunedError};
pub use table::table;

use crate::backends::Backends;
use crate::compile::{Options, generate, machine};
use crate::error::Error;
use crate::jit::Compiled;
use crate::measure::{compute, inputs_of};
use crate::model::Model;
use contest::{Eviction, contest};
use file::Entry;
use layers::{Distinct, alone, distinct};

/// How much to try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Time for everything; layers that it does not suffice for are left to the cost model.
    pub time: Duration,
    /// Most schedules of a layer that are measured.
    pub candidates: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Effort { time: Duration::from_secs(40), candidates: 14 }
    }
}

/// A schedule and its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The schedule's text.
    pub schedule: String,
    /// Median time in microseconds.
    pub microseconds: f64,
}

/// Where what is said of a layer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It was measured now.
    Measured,
    /// It was in the file already.
    Known,
    /// The time had run out.
    NotMeasured,
}

/// A distinct layer of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Its text, under which the choice is kept.
    pub layer: String,
    /// Names of the nodes that it stands for.
    pub nodes: Vec<String>,
    /// Where the times come from.
    pub source: Source,
    /// Schedules that were measured.
    pub candidates: usize,
    /// The cost model's choice.
    pub model: Choice,
    /// The model's estimate of it, in microseconds at the frequency that was measured.
    pub predicted_microseconds: f64,
    /// The fastest; the model's, where no other was clearly faster.
    pub best: Choice,
    /// The best's part of the model's time.
    pub ratio: f64,
    /// All that were measured now, in the order in which the model would have them, with times of the first, short series.
    pub tried: Vec<Choice>,
}

/// What tuning a model has found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// Name of the model.
    pub model: String,
    /// What it was tuned for.
    pub target: String,
    /// Version of avocet.
    pub version: &'static str,
    /// Time that it took.
    pub seconds: f64,
    /// Layers of which there are several schedules, in the order of the network.
    pub layers: Vec<Layer>,
    /// Sum of the model's choices' times over all nodes, in milliseconds.
    pub model_ms: f64,
    /// Sum of the fastest ones' times.
    pub tuned_ms: f64,
    /// By which part the model's choices take longer than the fastest.
    pub model_excess: f64,
}

/// A layer whose candidates are known.
struct Task {
    layer: Distinct,
    candidates: Vec<Candidate>,
}

impl Task {
    /// The model's estimate.
    fn cycles(&self) -> f64 {
        self.candidates[0].cycles as f64
    }
}

/// Measures the layers of a model that `tuned` does not hold yet, and adds the fastest schedules to it. `progress` is told
/// how many layers are done, of how many, and the name of the next.
pub fn tune(
    model: &Model,
    target: &Target,
    options: &Options,
    effort: &Effort,
    tuned: &mut Tuned,
    progress: &dyn Fn(usize, usize, &str),
) -> Result<Tuning, Error> {
    let start = Instant::now();
    let backend = Backends::new(target)?;
    let machine = machine(target, &backend);
    // A target that this process can't run is refused here.
    let hertz = compute(target)? * 1e9 / (2 * machine.lanes * machine.multiply_add) as f64;
    let graph = model.optimised(options, &|_| {})?;
    let schedule_options = ScheduleOptions { exact: options.exact };
    let mut tasks = Vec::new();
    for layer in distinct(&graph)? {
        let candidates = candidates(&graph, layer.nodes[0], &machine, schedule_options, effort.candidates);
        if candidates.len() > 1 {
            tasks.push(Task { layer, candidates });
        }
    }
    let tuner = Tuner { graph: &graph, target, backend: &backend, machine, options };
    let eviction = Eviction::new(target.caches.l2 as usize);
    // The most costly layers first: where time runs out, what is left matters least.
    let mut open: Vec<usize> = (0..tasks.len())
        .filter(|&number| tuned.get(target, options.exact, &tasks[number].layer.text).is_none())
        .collect();
    let weight = |number: usize| tasks[number].cycles() * tasks[number].layer.nodes.len() as f64;
    open.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
    let mut measured: Vec<Option<Vec<Choice>>> = vec![None; tasks.len()];
    for (done, &number) in open.iter().enumerate() {
        let Some(left) = effort.time.checked_sub(start.elapsed()) else { break };
        let task = &tasks[number];
        progress(done, open.len(), &graph.node(task.layer.nodes[0]).name);
        // Half of the time for all alike, half by the length of a run.
        let rest = &open[done..];
        let cycles: f64 = rest.iter().map(|&number| tasks[number].cycles()).sum();
        let share = 0.5 / rest.len() as f64 + 0.5 * task.cycles() / cycles.max(1.0);
        let (entry, tried) = tuner.measure(task, &eviction, left.mul_f64(share.min(1.0)))?;
        tuned.insert(target, options.exact, task.layer.text.clone(), entry);
        measured[number] = Some(tried);
    }
    let layers: Vec<Layer> = tasks
        .iter()
        .zip(measured)
        .map(|(task, tried)| {
            let entry = tuned.get(target, options.exact, &task.layer.text);
            describe(&graph, task, entry, tried, hertz)
        })
        .collect();
    let sum = |time: &dyn Fn(&Layer) -> f64| -> f64 {
        layers.iter().map(|layer| time(layer) * layer.nodes.len() as f64 / 1e3).sum()
    };
    let model_ms = sum(&|layer| layer.model.microseconds);
    let tuned_ms = sum(&|layer| layer.model.microseconds * layer.ratio);
    Ok(Tuning {
        model: model.name().into(),
        target: target.to_string(),
        version: crate::VERSION,
        seconds: start.elapsed().as_secs_f64(),
        model_ms,
        tuned_ms,
        model_excess: if tuned_ms > 0.0 { model_ms / tuned_ms - 1.0 } else { 0.0 },
        layers,
    })
}

/// A layer for the report.
fn describe(
    graph: &Graph,
    task: &Task,
    entry: Option<&Entry>,
    tried: Option<Vec<Choice>>,
    hertz: f64,
) -> Layer {
    let chosen = task.candidates[0].schedule;
    let (source, candidates, model, best) = match entry {
        Some(entry) => (
            if tried.is_some() { Source::Measured } else { Source::Known },
            entry.candidates,
            choice(entry.model, entry.model_microseconds),
            choice(entry.choice, entry.microseconds),
        ),
        None => (Source::NotMeasured, 0, choice(chosen, 0.0), choice(chosen, 0.0)),
    };
    let ratio = best.microseconds / model.microseconds;
    Layer {
        layer: task.layer.text.clone(),
        nodes: task.layer.nodes.iter().map(|&id| graph.node(id).name.clone()).collect(),
        source,
        candidates,
        predicted_microseconds: task.cycles() / hertz * 1e6,
        ratio: if ratio.is_finite() && model.schedule != best.schedule { ratio } else { 1.0 },
        model,
        best,
        tried: tried.unwrap_or_default(),
    }
}

fn choice(schedule: Schedule, microseconds: f64) -> Choice {
    Choice { schedule: schedule.to_string(), microseconds }
}

/// What it takes to measure a layer.
struct Tuner<'a> {
    graph: &'a Graph,
    target: &'a Target,
    backend: &'a dyn Backend,
    machine: Machine,
    options: &'a Options,
}

impl Tuner<'_> {
    /// Lets the candidates of a layer compete; gives the outcome and all times.
    fn measure(
        &self,
        task: &Task,
        eviction: &Eviction,
        time: Duration,
    ) -> Result<(Entry, Vec<Choice>), Error> {
        /// Most memory for all candidates of a layer: each has its own packed weights.
        const MOST_BYTES: usize = 1 << 30;
        let start = Instant::now();
        let (graph, id) = alone(self.graph, task.layer.nodes[0])?;
        let (mut compiled, mut schedules, mut bytes) = (Vec::new(), Vec::new(), 0usize);
        for &Candidate { schedule, .. } in &task.candidates {
            // To compile is no use without time left to measure; two are the least that compete.
            if compiled.len() > 1 && start.elapsed() > time / 2 {
                break;
            }
            let mut all = Schedules::default();
            all.nodes.insert(id, schedule);
            // In the same parts as in the network.
            let choices = Partition { parts: self.options.parts, fuse: false };
            partition(&graph, &mut all, &self.machine, &choices);
            let (program, code) = match generate(&graph, &all, self.backend, false, &|_| {}) {
                Ok(generated) => generated,
                // The model's own must be possible; another may need more registers than there are, for example.
                Err(error) if compiled.is_empty() => return Err(error),
                Err(_) => continue,
            };
            let plan = program.plan.as_ref().map_or(0, |plan| plan.bytes);
            bytes = bytes.saturating_add(program.constant_layout().1).saturating_add(plan);
            if !compiled.is_empty() && bytes > MOST_BYTES {
                break;
            }
            compiled.push(Compiled::new(Code::new(&program, &code, self.target)?, Vec::new(), &program));
            schedules.push(schedule);
        }
        let inputs = inputs_of(graph.input_nodes().iter().map(|&input| &graph.node(input).outputs[0]));
        let outcome = contest(&compiled, &inputs, eviction, time.saturating_sub(start.elapsed()))?;
        // Whole nanoseconds, which read back from a file as they were.
        let rounded = |microseconds: f64| (microseconds * 1e3).round() / 1e3;
        let first = outcome.first.median_ms * 1e3;
        let entry = Entry {
            choice: schedules[outcome.winner],
            microseconds: rounded(first * outcome.ratio),
            model: schedules[0],
            model_microseconds: rounded(first),
            candidates: schedules.len(),
        };
        let times = schedules.into_iter().zip(outcome.medians_ms);
        Ok((entry, times.map(|(schedule, ms)| choice(schedule, ms * 1e3)).collect()))
    }
}
