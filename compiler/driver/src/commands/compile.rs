//! `avocet compile`: everything a host needs, in a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use avocet::{Options, Weights};
use clap::{Args, ValueEnum};

use super::{CommandError, CompilationArguments};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    compilation: CompilationArguments,
    /// Folder for what is written; made if need be.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Name of the C functions and files; by default the model's.
    #[arg(long)]
    name: Option<String>,
    /// Where the weights are.
    #[arg(long, value_enum, default_value_t = WeightsArgument::Embedded)]
    weights: WeightsArgument,
    /// Program that links the shared library, a C compiler or a linker of the target; by default one that is found.
    #[arg(long, value_name = "PROGRAM")]
    linker: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WeightsArgument {
    /// In the object's read-only data.
    Embedded,
    /// In a file of their own, which the host maps or loads.
    External,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.compilation.open()?;
    let weights = match arguments.weights {
        WeightsArgument::Embedded => Weights::Embedded,
        WeightsArgument::External => Weights::External,
    };
    let options = Options { name: arguments.name.clone(), weights, ..arguments.compilation.options()? };
    let artifact = arguments.compilation.compile_with(&model, &options)?;
    let (written, failed) = artifact.write_all_with(&arguments.output, arguments.linker.as_deref())?;
    for path in written {
        say!("{}", path.display());
    }
    if let Some(error) = failed {
        complain!("warning: {error}; everything else is written");
    }
    Ok(ExitCode::SUCCESS)
}
