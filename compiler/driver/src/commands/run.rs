//! `avocet run`: compile in memory, run, measure, and with `--verify` compare with the reference interpreter.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use avocet::inspect::{grouped, report};
use avocet::{Compiled, Tensor};
use clap::Args;

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
    /// Compare the result with that of the reference interpreter; exit code 1 if they differ.
    #[arg(long)]
    verify: bool,
    /// Runs to measure; by default as many as fit in a second, at least 5.
    #[arg(long)]
    runs: Option<usize>,
}

/// Largest difference that `--verify` accepts, relative to the largest number of the output.
const TOLERANCE: f64 = 1e-4;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let model = arguments.model.open()?;
    let target = arguments.target.target()?;
    let start = Instant::now();
    let artifact = {
        let progress = Progress::new();
        model.compile_with(&target, &arguments.code.options(), &|stage| progress.stage(stage))?
    };
    let compiled = artifact.jit()?;
    let compile_time = start.elapsed();
    let inputs: Vec<Tensor> = model.inputs().iter().enumerate().map(|(i, port)| input(&port.ty, i)).collect();

    let times = measure(&compiled, &inputs, arguments.runs).map_err(avocet::Error::from)?;
    let costs = report(&model);
    let median = times[times.len() / 2].as_secs_f64();
    let plan = artifact.plan();
    say!("model         {}", model.name());
    say!("target        {target}");
    say!(
        "compiled in   {:.2} s ({} kernels, {} bytes of code)",
        compile_time.as_secs_f64(),
        artifact.program().kernels.len(),
        grouped(artifact.code_bytes() as u64)
    );
    say!(
        "latency       {:.3} ms median, {:.3} ms minimum of {} runs, 1 thread",
        median * 1e3,
        times[0].as_secs_f64() * 1e3,
        times.len()
    );
    say!("speed         {:.1} GFLOP/s", 2.0 * costs.multiply_adds as f64 / median / 1e9);
    say!(
        "arena         {} bytes (lower bound {})",
        grouped(plan.bytes as u64),
        grouped(plan.lower_bound as u64)
    );
    say!("weights       {} bytes", grouped(artifact.weight_bytes() as u64));
    if !arguments.verify {
        return Ok(ExitCode::SUCCESS);
    }
    let got = compiled.run(&inputs).map_err(avocet::Error::from)?;
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

/// Sorted times of runs after a few that only warm up.
fn measure(
    compiled: &Compiled,
    inputs: &[Tensor],
    runs: Option<usize>,
) -> Result<Vec<Duration>, avocet::RunError> {
    const WARM_UP: usize = 2;
    const AT_LEAST: usize = 5;
    let mut session = compiled.session()?;
    for _ in 0..WARM_UP {
        session.run(inputs)?;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    let enough = |count: usize| match runs {
        Some(runs) => count >= runs.max(1),
        None => count >= AT_LEAST && start.elapsed() >= Duration::from_secs(1),
    };
    while !enough(times.len()) {
        let before = Instant::now();
        session.run(inputs)?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// A smooth pattern between -1 and 1, the same each time.
fn input(ty: &avocet::TensorType, number: usize) -> Tensor {
    use avocet_ir::tensor::TensorData;
    let value = |i: usize| (((i * 7919 + number * 104_729) % 2003) as f32) / 1001.5 - 1.0;
    let count = ty.shape.elements();
    let data = match ty.dtype {
        avocet::DType::F32 => TensorData::F32((0..count).map(value).collect()),
        avocet::DType::I64 => TensorData::I64((0..count).map(|i| (i % 7) as i64).collect()),
        avocet::DType::I32 => TensorData::I32((0..count).map(|i| (i % 7) as i32).collect()),
        avocet::DType::Bool => TensorData::Bool((0..count).map(|i| i % 3 == 0).collect()),
        avocet::DType::U8 => TensorData::U8((0..count).map(|i| (i % 251) as u8).collect()),
    };
    Tensor::new(ty.shape.clone(), data).unwrap_or_else(|_| unreachable!("as many elements as the shape has"))
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
