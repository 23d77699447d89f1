//! `avocet inspect`: a model's layers, or the text form of a stage.

use std::process::ExitCode;

use avocet::inspect::{report, table};
use clap::{Args, ValueEnum};

use super::{CommandError, CompilationArguments, print, print_json};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    compilation: CompilationArguments,
    /// Print JSON instead of a table.
    #[arg(long, conflicts_with = "emit")]
    json: bool,
    /// Print a stage of the compilation instead.
    #[arg(long, value_enum)]
    emit: Option<Emit>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Emit {
    /// The graph after all passes.
    Graph,
    /// How each node is computed.
    Schedule,
    /// The calls, and the kernels in kernel IR.
    Kernels,
    /// The kernels' machine code.
    Asm,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.compilation.open()?;
    let Some(emit) = arguments.emit else {
        let report = report(&model);
        if arguments.json {
            print_json(&report)
        } else {
            print(&table(&report))
        }
        return Ok(ExitCode::SUCCESS);
    };
    let artifact = arguments.compilation.compile(&model)?;
    print(&match emit {
        Emit::Graph => artifact.graph().to_string(),
        Emit::Schedule => artifact.schedule_text(),
        Emit::Kernels => artifact.program().to_string(),
        Emit::Asm => artifact.assembly(),
    });
    Ok(ExitCode::SUCCESS)
}
