//! `avocet profile`: the time of every kernel call.

use std::path::PathBuf;
use std::process::ExitCode;

use avocet::profile::{Order, profile, table, write_page};
use clap::{Args, ValueEnum};

use super::{CommandError, CompilationArguments, MeasureArguments, print, print_json};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    compilation: CompilationArguments,
    #[command(flatten)]
    measure: MeasureArguments,
    /// Order of the table.
    #[arg(long, value_enum, default_value_t = SortArgument::Execution)]
    sort: SortArgument,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Write a page for a browser: a bar for each layer and a roofline plot. It needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SortArgument {
    /// As the calls run.
    Execution,
    /// The longest first.
    Time,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.compilation.open()?;
    let artifact = arguments.compilation.compile(&model)?;
    let result = profile(&model, &artifact, &arguments.measure.budget())?;
    if let Some(path) = &arguments.html {
        write_page(&result, path)?;
    }
    let order = match arguments.sort {
        SortArgument::Execution => Order::Execution,
        SortArgument::Time => Order::Time,
    };
    if arguments.json {
        print_json(&result)
    } else {
        print(&table(&result, order))
    }
    Ok(ExitCode::SUCCESS)
}
