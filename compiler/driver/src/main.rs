//! The command line: arguments in, exit codes out (0 done, 1 a check failed, 2 bad input or usage).

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An ahead-of-time compiler for efficient neural networks.
#[derive(Parser)]
#[command(name = "avocet", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile a model in memory, run it and say how fast it is.
    Run(commands::run::Arguments),
    /// Write an object file, libraries, a C header and a manifest.
    Compile(commands::compile::Arguments),
    /// Show what a model is made of, or a stage of its compilation.
    Inspect(commands::inspect::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Compile(arguments) => commands::compile::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            commands::complain!("error: {error}");
            ExitCode::from(2)
        }
    }
}
