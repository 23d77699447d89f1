//! `avocet run`: compile in memory, run on what is given, measure, say what came out, and with `--verify` compare with the
//! reference interpreter.

mod inputs;
mod outputs;

use std::process::ExitCode;
use std::time::Instant;

use avocet::Tensor;
use avocet::inspect::{grouped, report};
use avocet::measure::{self, Budget, threads, time};
use avocet_ir::program::Control;
use clap::Args;
use inputs::InputArguments;
use outputs::OutputArguments;

use super::{CommandError, CompilationArguments};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    compilation: CompilationArguments,
    #[command(flatten)]
    inputs: InputArguments,
    #[command(flatten)]
    outputs: OutputArguments,
    /// Compare the result with that of the reference interpreter; exit code 1 if they differ.
    #[arg(long)]
    verify: bool,
    /// Runs to measure; by default as many as fit in a second, at least 5.
    #[arg(long)]
    runs: Option<usize>,
    /// Threads that share the work of a run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
}

/// Largest difference that `--verify` accepts, relative to the largest number of the output.
const TOLERANCE: f64 = 1e-4;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.compilation.open()?;
    let given = arguments.inputs.read(&model)?;
    let plan_of_outputs = arguments.outputs.plan(&model)?;
    let start = Instant::now();
    let artifact = arguments.compilation.compile(&model)?;
    let compiled = artifact.jit()?;
    let compile_time = start.elapsed();
    let inputs = given.unwrap_or_else(|| measure::inputs(&model));

    let budget =
        Budget { runs: arguments.runs, threads: usize::from(arguments.threads), ..Budget::default() };
    let times = time(&compiled, &inputs, &budget).map_err(avocet::Error::from)?;
    let costs = report(&model);
    let plan = artifact.plan();
    say!("model         {}", model.name());
    say!("target        {}", artifact.target());
    say!(
        "compiled in   {:.2} s ({} kernels, {} bytes of code)",
        compile_time.as_secs_f64(),
        artifact.program().kernels.len(),
        grouped(artifact.code_bytes() as u64)
    );
    say!(
        "latency       {:.3} ms median, {:.3} ms minimum of {} runs, {}",
        times.median_ms,
        times.min_ms,
        times.runs,
        threads(budget.threads)
    );
    // How much is computed where there are branches, the inputs decide.
    if artifact.program().controls.iter().all(|control| !matches!(control, Control::Branch { .. })) {
        say!("speed         {:.1} GFLOP/s", 2.0 * costs.multiply_adds as f64 / times.median_seconds() / 1e9);
    }
    say!(
        "arena         {} bytes (lower bound {})",
        grouped(plan.bytes as u64),
        grouped(plan.lower_bound as u64)
    );
    say!("weights       {} bytes", grouped(artifact.weight_bytes() as u64));
    if !arguments.verify && !arguments.outputs.are_asked_for() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut session =
        compiled.session_with_threads(usize::from(arguments.threads)).map_err(avocet::Error::from)?;
    session.run(&inputs).map_err(avocet::Error::from)?;
    let got = session.into_outputs();
    plan_of_outputs.carry_out(&got)?;
    if !arguments.verify {
        return Ok(ExitCode::SUCCESS);
    }
    let expected = model.reference(&inputs)?;
    let mut agree = true;
    for ((port, got), expected) in model.outputs().iter().zip(&got).zip(&expected) {
        let difference = difference(got, expected);
        let verdict = if difference <= TOLERANCE { "ok" } else { "WRONG" };
        agree &= difference <= TOLERANCE;
        say!("verify        {verdict}: output '{}' differs by {difference:.1e} of its scale", port.name);
    }
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Largest difference relative to the largest number expected; infinite where NaN, infinities or types differ.
fn difference(got: &Tensor, expected: &Tensor) -> f64 {
    let (Some(got), Some(expected)) = (got.as_f32(), expected.as_f32()) else {
        return if got == expected { 0.0 } else { f64::INFINITY };
    };
    let scale = expected.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, &v| m.max(f64::from(v).abs()));
    let one = |(&g, &e): (&f32, &f32)| match g == e || (g.is_nan() && e.is_nan()) {
        true => 0.0,
        false => match (f64::from(g) - f64::from(e)).abs() / scale {
            d if d.is_nan() => f64::INFINITY,
            d => d,
        },
    };
    got.iter().zip(expected).map(one).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_and_nan_must_match() {
        let tensor = |v: [f32; 2]| Tensor::f32([2], v.to_vec()).expect("small");
        assert_eq!(difference(&tensor([1.0, 4.0]), &tensor([1.0, 4.0])), 0.0);
        assert_eq!(difference(&tensor([1.0, 4.5]), &tensor([1.0, 5.0])), 0.1);
        assert_eq!(difference(&tensor([f32::NAN, 1.0]), &tensor([f32::NAN, 1.0])), 0.0);
        assert_eq!(difference(&tensor([f32::NAN, 1.0]), &tensor([0.0, 1.0])), f64::INFINITY);
        assert_eq!(difference(&tensor([f32::INFINITY, 1.0]), &tensor([0.0, 1.0])), f64::INFINITY);
    }
}
