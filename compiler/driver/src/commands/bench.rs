//! `avocet bench`: how fast a model runs, held against what this machine can do; or what it executes on any target.

use std::process::ExitCode;

use avocet::bench::{bench, text};
use avocet::measure::Budget;
use avocet::simulate::{simulate, table};
use clap::Args;

use super::{CommandError, CompilationArguments, MeasureArguments, print, print_json};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    compilation: CompilationArguments,
    #[command(flatten)]
    measure: MeasureArguments,
    /// Threads to run on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Run nothing, but count the instructions that one inference executes, for whichever target.
    #[arg(long, conflicts_with_all = ["runs", "seconds", "threads"])]
    simulate: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.compilation.open()?;
    let artifact = arguments.compilation.compile(&model)?;
    if arguments.simulate {
        let result = simulate(&artifact)?;
        if arguments.json {
            print_json(&result)
        } else {
            print(&table(&result))
        }
        return Ok(ExitCode::SUCCESS);
    }
    let budget = Budget { threads: usize::from(arguments.threads), ..arguments.measure.budget() };
    let result = bench(&model, &artifact, &budget)?;
    if arguments.json {
        print_json(&result)
    } else {
        print(&text(&result))
    }
    Ok(ExitCode::SUCCESS)
}
