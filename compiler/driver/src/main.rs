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
    /// Measure how fast a model runs, and what this machine can do.
    Bench(commands::bench::Arguments),
    /// Measure how long each kernel call of a model takes.
    Profile(commands::profile::Arguments),
    /// Measure how each layer of a model is computed fastest, and keep it in a file for the other commands.
    Tune(commands::tune::Arguments),
    /// Write an object file, libraries, a C header and a manifest.
    Compile(commands::compile::Arguments),
    /// Show what a model is made of, or a stage of its compilation.
    Inspect(commands::inspect::Arguments),
    /// List the processors that can be compiled for.
    Targets(commands::targets::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Profile(arguments) => commands::profile::run(&arguments),
        Command::Tune(arguments) => commands::tune::run(&arguments),
        Command::Compile(arguments) => commands::compile::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Targets(arguments) => commands::targets::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            commands::complain!("error: {error}");
            ExitCode::from(2)
        }
    }
}
