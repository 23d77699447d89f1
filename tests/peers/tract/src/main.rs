//! Runs one ONNX file with tract, on command: `tract-peer MODEL INPUTS`.
//!
//! `INPUTS` holds the inputs' f32 elements one after the other, in the model's order. After `ready NANOSECONDS` (what
//! loading and the first run took) each line on standard input is answered by one on standard output: `run` by the
//! nanoseconds of one run, `write FILE` by `written` once the file holds the outputs of the last run.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use tract_onnx::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, inputs] = &arguments[..] else { return Err("usage: tract-peer MODEL INPUTS".into()) };
    let data = floats(&std::fs::read(inputs)?);

    let start = Instant::now();
    let model = tract_onnx::onnx().model_for_path(model)?.into_optimized()?;
    let mut rest = &data[..];
    let mut tensors: TVec<TValue> = tvec!();
    for &outlet in model.input_outlets()? {
        let fact = model.outlet_fact(outlet)?;
        let shape = fact.shape.as_concrete().ok_or("an input has an open dimension")?;
        if fact.datum_type != f32::datum_type() {
            return Err("only f32 inputs are fed to tract".into());
        }
        let (own, others) =
            rest.split_at_checked(shape.iter().product()).ok_or("too few elements in INPUTS")?;
        tensors.push(Tensor::from_shape(shape, own)?.into());
        rest = others;
    }
    let model = model.into_runnable()?;
    let mut outputs = model.run(tensors.clone())?;
    println!("ready {}", start.elapsed().as_nanos());

    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            None if line == "run" => {
                let start = Instant::now();
                outputs = model.run(tensors.clone())?;
                println!("{}", start.elapsed().as_nanos());
            }
            Some(("write", path)) => {
                let mut file = std::fs::File::create(path)?;
                for output in &outputs {
                    let output = output.cast_to::<f32>()?;
                    let bytes: Vec<u8> =
                        output.view().as_slice::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect();
                    file.write_all(&bytes)?;
                }
                println!("written");
            }
            _ => return Err(format!("unknown command: {line}").into()),
        }
    }
    Ok(())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
