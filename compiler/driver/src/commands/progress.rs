//! Progress on a terminal: of a compilation, once it lasts over a second, and of things that are counted.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use avocet::Stage;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows nothing for the first second; clears what it showed when dropped.
pub(crate) struct Progress {
    start: Instant,
    bar: OnceLock<ProgressBar>,
}

const PATIENCE: Duration = Duration::from_secs(1);

impl Progress {
    pub(crate) fn new() -> Self {
        Progress { start: Instant::now(), bar: OnceLock::new() }
    }

    /// Notes where the compilation is. indicatif itself stays silent when stderr is no terminal.
    pub(crate) fn stage(&self, stage: Stage) {
        if self.start.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(match stage {
            Stage::Pass(name) => format!("pass {name}"),
            Stage::Case { number, of } => format!("case {number} of {of}"),
            Stage::Lowering => "generating kernels".into(),
            Stage::Planning => "planning memory".into(),
            Stage::Code { done, of } => format!("machine code: {done} of {of} kernels"),
        });
        bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

/// How many of so many are done; clears what it showed when dropped.
pub(crate) struct Counter(ProgressBar);

impl Counter {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        Counter(bar)
    }

    /// Notes how many are done and what is next.
    pub(crate) fn show(&self, done: usize, of: usize, next: &str) {
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
        self.0.set_message(next.escape_debug().to_string());
        self.0.tick();
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
