//! Classifies a picture with a compiled EfficientNet-Lite0, from Rust, on two threads that share the code.
//!
//! ```text
//! avocet compile examples/efficientnet_lite0.toml --weights-file efficientnet-lite0-57934424.pth -o build
//! cd examples/rust_host && MODEL_FOLDER=../../build cargo run --release -- picture.ppm
//! ```
//!
//! For a model compiled with `--weights external`, the weights file and the manifest's `xxh64` are two more arguments.

use avocet_runtime::{Arena, Context, Mapped, Status};

/// What avocet says of the model: its function, the arena's size, and its inputs and outputs by name.
mod model {
    include!(env!("MODEL"));
}

const SIZE: usize = 224;
const CHANNELS: usize = 3;
const CLASSES: usize = model::OUTPUTS[model::output::OUTPUT].elements();

/// Scores of all classes. Each call has an arena of its own, so calls may run at the same time; they share the weights.
fn classify(
    image: &[f32; CHANNELS * SIZE * SIZE],
    weights: Option<&Mapped>,
) -> Result<Vec<f32>, String> {
    let mut arena = Arena::new(model::ARENA_BYTES);
    let mut scores = vec![0.0f32; CLASSES];
    let weights = weights.map_or(std::ptr::null(), Mapped::as_ptr);
    let context = Context::new(arena.as_mut_ptr(), weights);
    let mut inputs = [std::ptr::null(); model::INPUTS.len()];
    let mut outputs = [std::ptr::null_mut(); model::OUTPUTS.len()];
    inputs[model::input::INPUT] = image.as_ptr().cast();
    outputs[model::output::OUTPUT] = scores.as_mut_ptr().cast();
    // SAFETY: the only input and output are of the sizes that the model states (`main` checks the input's), and the arena
    // of the model's size, which nobody else uses.
    let status = unsafe { model::efficientnet_lite0_invoke(inputs.as_ptr(), outputs.as_ptr(), &context) };
    match Status::from_code(status) {
        Some(Status::Ok) => Ok(scores),
        other => Err(format!("the network returned {other:?}")),
    }
}

/// A binary PPM of 8 bits, by its nearest pixels, in planes: (x - 127) / 128.
fn prepare(ppm: &[u8]) -> Option<Box<[f32; CHANNELS * SIZE * SIZE]>> {
    let mut words = Vec::new();
    let mut position = 0;
    while words.len() < 4 {
        let start = position + ppm.get(position..)?.iter().position(|b| !b.is_ascii_whitespace())?;
        let end = start + ppm[start..].iter().position(u8::is_ascii_whitespace)?;
        words.push(std::str::from_utf8(&ppm[start..end]).ok()?);
        position = end;
    }
    let pixels = &ppm[position + 1..];
    let [width, height] = [words[1], words[2]].map(|w| w.parse::<usize>().unwrap_or(0));
    if words[0] != "P6"
        || words[3] != "255"
        || pixels.len() < width.checked_mul(height)? * CHANNELS
        || width * height == 0
    {
        return None;
    }
    let mut input = Box::new([0.0; CHANNELS * SIZE * SIZE]);
    for (i, value) in input.iter_mut().enumerate() {
        let (c, y, x) = (i / (SIZE * SIZE), i / SIZE % SIZE, i % SIZE);
        let from = y * height / SIZE * width + x * width / SIZE;
        *value = (f32::from(pixels[from * CHANNELS + c]) - 127.0) / 128.0;
    }
    Some(input)
}

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a picture (PPM)")?;
    assert_eq!(model::INPUTS[model::input::INPUT].shape, [1, CHANNELS, SIZE, SIZE]);
    let ppm = std::fs::read(&path).map_err(|e| format!("{path}: {e}"))?;
    let weights = match (arguments.next(), arguments.next()) {
        (Some(file), Some(checksum)) => {
            let sum = u64::from_str_radix(&checksum, 16).map_err(|e| format!("the checksum: {e}"))?;
            // SAFETY: nothing changes the file while this program runs.
            Some(unsafe { Mapped::open(&file, sum) }.map_err(|e| format!("{file}: {e}"))?)
        }
        _ => None,
    };
    let input = prepare(&ppm).ok_or("the picture is not a binary PPM of 8 bits")?;
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| classify(&input, weights.as_ref()));
        (classify(&input, weights.as_ref()), other.join())
    });
    let scores = one?;
    // The same code at the same time on the same picture.
    assert_eq!(other.map_err(|_| "a thread panicked")??, scores);
    let mut ranking: Vec<usize> = (0..CLASSES).collect();
    ranking.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    for class in &ranking[..5] {
        println!("{class} {:.6}", scores[*class]);
    }
    Ok(())
}
