//! Classifies a picture with a compiled EfficientNet-Lite0, from Rust, on two threads that share the code.
//!
//! ```text
//! avocet compile examples/efficientnet_lite0.toml --weights-file efficientnet-lite0-57934424.pth -o build
//! cd examples/rust_host && MODEL_FOLDER=../../build cargo run --release -- picture.ppm ARENA
//! ```
//!
//! ARENA is the arena's size in the manifest. For a model compiled with `--weights external`, the weights file and the
//! manifest's `xxh64` are two more arguments.

use std::ffi::c_void;

use avocet_runtime::{Arena, Context, Mapped, Status};

unsafe extern "C" {
    /// As `efficientnet_lite0.h` declares it.
    fn efficientnet_lite0_invoke(
        inputs: *const *const c_void,
        outputs: *const *mut c_void,
        context: *const Context,
    ) -> i32;
}

// From efficientnet_lite0.h, except the arena, whose size is in the manifest too.
const SIZE: usize = 224;
const CHANNELS: usize = 3;
const CLASSES: usize = 1000;

/// Scores of all classes. Each call has an arena of its own, so calls may run at the same time; they share the weights.
fn classify(
    input: &[f32; CHANNELS * SIZE * SIZE],
    arena_bytes: usize,
    weights: Option<&Mapped>,
) -> Result<Vec<f32>, String> {
    let mut arena = Arena::new(arena_bytes);
    let mut scores = vec![0.0f32; CLASSES];
    let weights = weights.map_or(std::ptr::null(), Mapped::as_ptr);
    let context = Context::new(arena.as_mut_ptr(), weights);
    let (inputs, outputs) = ([input.as_ptr().cast()], [scores.as_mut_ptr().cast()]);
    // SAFETY: one input and one output of the sizes that the header states, and an arena of the model's size that nobody
    // else uses.
    let status = unsafe { efficientnet_lite0_invoke(inputs.as_ptr(), outputs.as_ptr(), &context) };
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
    let (Some(path), Some(arena)) = (arguments.next(), arguments.next()) else {
        return Err("expected a picture (PPM) and the size of the arena".into());
    };
    let arena: usize = arena.parse().map_err(|e| format!("the size of the arena: {e}"))?;
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
        let other = scope.spawn(|| classify(&input, arena, weights.as_ref()));
        (classify(&input, arena, weights.as_ref()), other.join())
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
