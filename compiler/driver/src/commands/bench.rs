//! `avocet bench`: how fast a model runs, held against what this machine can do.

use std::process::ExitCode;

use avocet::bench::{bench, text};
use avocet::measure::Budget;
use clap::Args;

use super::{
    CodeArguments, CommandError, MeasureArguments, ModelArguments, TargetArguments, compile_here, print,
    print_json,
};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    code: CodeArguments,
    #[command(flatten)]
    measure: MeasureArguments,
    /// Threads to run on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.model.open()?;
    let artifact = compile_here(&model, &arguments.target, &arguments.code)?;
    let budget = Budget { threads: usize::from(arguments.threads), ..arguments.measure.budget() };
    let result = bench(&model, &artifact, &budget)?;
    if arguments.json {
        print_json(&result)
    } else {
        print(&text(&result))
    }
    Ok(ExitCode::SUCCESS)
}
