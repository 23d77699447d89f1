//! `avocet inspect`: a model's layers, or the text form of a stage.

use std::process::ExitCode;

use avocet::inspect::{report, table};
use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{CodeArguments, CommandError, ModelArguments, TargetArguments};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    code: CodeArguments,
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
    let model = arguments.model.open()?;
    let text = match arguments.emit {
        None if arguments.json => {
            // Strings and numbers always have a JSON form.
            serde_json::to_string_pretty(&report(&model)).unwrap_or_default() + "\n"
        }
        None => table(&report(&model)),
        Some(emit) => {
            let target = arguments.target.target()?;
            let progress = Progress::new();
            let artifact =
                model.compile_with(&target, &arguments.code.options(), &|stage| progress.stage(stage))?;
            match emit {
                Emit::Graph => artifact.graph().to_string(),
                Emit::Schedule => artifact.schedule_text(),
                Emit::Kernels => artifact.program().to_string(),
                Emit::Asm => artifact.assembly(),
            }
        }
    };
    say!("{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}
