//! `avocet tune`: measures how to compute each layer of a model, for a file that the other commands read.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use avocet::tune::{Effort, Source, table, tune};
use avocet::{Error, Tuned};
use clap::Args;

use super::progress::Counter;
use super::{CodeArguments, CommandError, ModelArguments, TargetArguments, print, print_json, seconds};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    code: CodeArguments,
    /// File for the choices, by default the model's name and .tuned.json; layers that it holds are not measured again.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Most time to measure for; what is not measured is left to the cost model.
    #[arg(long, default_value_t = Effort::default().time.as_secs_f64(), value_parser = seconds)]
    seconds: f64,
    /// Most ways to compute a layer that are measured.
    #[arg(long, default_value_t = Effort::default().candidates as u32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    candidates: u32,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.model.open()?;
    let target = arguments.target.target()?;
    let options = arguments.code.options();
    let name = model.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let default = || PathBuf::from(format!("{}.tuned.json", name.take(100).collect::<String>()));
    let path = arguments.output.clone().unwrap_or_else(default);
    let mut tuned = if path.exists() { Tuned::read(&path).map_err(Error::from)? } else { Tuned::default() };
    let effort = Effort {
        time: Duration::from_secs_f64(arguments.seconds),
        candidates: arguments.candidates as usize,
    };
    let counter = Counter::new();
    let progress = |done, of, layer: &str| counter.show(done, of, layer);
    let tuning = tune(&model, &target, &options, &effort, &mut tuned, &progress)?;
    drop(counter);
    tuned.write(&path)?;
    let known = tuning.layers.iter().filter(|layer| layer.source == Source::Known).count();
    if known > 0 {
        complain!("note: {known} layers were in {} already and are not measured again", path.display());
    }
    if arguments.json {
        print_json(&tuning)
    } else {
        print(&table(&tuning));
        print(&format!("{:<14}{}\n", "choices in", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
