//! What computation that depends on the image costs: the example networks with what they can take or leave taken or left,
//! beside networks without it, in turn in one process on one thread. Prints a table in Markdown; takes the number of rounds.
//!
//! ```text
//! cargo run --release -p avocet --example conditional -- 101
//! ```

use std::path::Path;
use std::time::Instant;

use avocet::{Compiled, Model, Options, Target, Tensor};

type Failure = Box<dyn std::error::Error>;

/// A way through a network.
struct Way {
    name: &'static str,
    network: usize,
    inputs: Vec<Tensor>,
}

/// Ways that are compared with each other.
struct Contest {
    title: &'static str,
    networks: Vec<Network>,
    ways: Vec<Way>,
}

struct Network {
    compiled: Compiled,
    /// Bytes of code's constants.
    constants: usize,
}

fn description(name: &str) -> Result<String, Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    Ok(std::fs::read_to_string(folder.join(name).with_extension("toml"))?)
}

fn network(text: &str) -> Result<Network, Failure> {
    let model = Model::from_description(text, "example")?;
    let artifact = model.compile(&Target::host(), &Options::default())?;
    let constants = artifact.program().constants.iter().map(|data| data.to_le_bytes().len()).sum();
    Ok(Network { compiled: artifact.jit()?, constants })
}

fn picture() -> Result<Tensor, Failure> {
    let data: Vec<f32> = (0..3 * 224 * 224).map(|i| ((i * 7919 % 2003) as f32) / 1001.5 - 1.0).collect();
    Ok(Tensor::f32([1, 3, 224, 224], data)?)
}

impl Contest {
    fn new(title: &'static str) -> Self {
        Contest { title, networks: Vec::new(), ways: Vec::new() }
    }

    /// A network of its own with the picture as its only input.
    fn alone(&mut self, name: &'static str, text: &str) -> Result<(), Failure> {
        self.networks.push(network(text)?);
        self.way(name, Vec::new())
    }

    /// A way through the last network, by its inputs beside the picture.
    fn way(&mut self, name: &'static str, inputs: Vec<Tensor>) -> Result<(), Failure> {
        let inputs = std::iter::once(picture()?).chain(inputs).collect();
        self.ways.push(Way { name, network: self.networks.len() - 1, inputs });
        Ok(())
    }

    fn run(&self, rounds: usize) -> Result<(), Failure> {
        let mut times = vec![Vec::with_capacity(rounds); self.ways.len()];
        for round in 0..rounds + 3 {
            for (way, times) in self.ways.iter().zip(&mut times) {
                let start = Instant::now();
                self.networks[way.network].compiled.run(&way.inputs)?;
                if round >= 3 {
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        for (number, (way, mut times)) in self.ways.iter().zip(times).enumerate() {
            times.sort_by(f64::total_cmp);
            let title = if number == 0 { self.title } else { "" };
            let constants = self.networks[way.network].constants as f64 / 1e6;
            let (least, median) = (times[0], times[times.len() / 2]);
            println!("| {title} | {} | {least:.2} | {median:.2} | {constants:.1} |", way.name);
        }
        Ok(())
    }
}

fn thresholds(values: [f32; 2]) -> Result<Vec<Tensor>, Failure> {
    Ok(vec![Tensor::f32([2], values.to_vec())?])
}

fn main() -> Result<(), Failure> {
    let rounds = std::env::args().nth(1).map_or(Ok(51), |argument| argument.parse::<usize>())?.max(1);
    println!(
        "| network | what is computed | ms, least | ms, median | MB of constants |\n| --- | --- | ---: | ---: | ---: |"
    );

    let mut exits = Contest::new("mobilenet_v2_exits");
    exits.networks.push(network(&description("mobilenet_v2_exits")?)?);
    exits.way("first exit taken", thresholds([0.0, 2.0])?)?;
    exits.way("second exit taken", thresholds([2.0, 0.0])?)?;
    exits.way("exits off", thresholds([2.0, 2.0])?)?;
    exits.alone("mobilenet_v2, which has none", &description("mobilenet_v2")?)?;
    exits.run(rounds)?;

    let text = description("skipnet_resnet50")?;
    let at = |threshold: &str| text.replace("hidden = 16", &format!("hidden = 16, threshold = {threshold}"));
    let mut skips = Contest::new("skipnet_resnet50");
    skips.alone("all gates closed", &at("2"))?;
    skips.alone("the gates' own choice", &text)?;
    skips.alone("all gates open", &at("0"))?;
    skips.alone("resnet50, which has none", &description("resnet50")?)?;
    skips.run(rounds)?;

    let text = description("mobilenet_v2_moe")?;
    let chosen = |count: &str| {
        text.replace("top_k = 1", &format!("top_k = {count}"))
            .replace("top_k = 2", &format!("top_k = {count}"))
    };
    let mut experts = Contest::new("mobilenet_v2_moe");
    experts.alone("1 of 4 experts in both stages", &chosen("1"))?;
    experts.alone("4 of 4", &chosen("4"))?;
    experts.alone("mobilenet_v2: one block in their place", &description("mobilenet_v2")?)?;
    experts.run(rounds)?;

    let mut widths = Contest::new("slimmable_mobilenet_v2");
    widths.networks.push(network(&description("slimmable_mobilenet_v2")?)?);
    for (place, name) in ["width 0.35", "width 0.5", "width 0.75", "width 1"].into_iter().enumerate() {
        widths.way(name, vec![Tensor::i64([1], vec![place as i64])?])?;
    }
    widths.alone("mobilenet_v2", &description("mobilenet_v2")?)?;
    widths.run(rounds)?;

    let mut mixed = Contest::new("condconv_mobilenet_v1");
    mixed.alone("six convolutions mixed of 8", &description("condconv_mobilenet_v1")?)?;
    mixed.alone("mobilenet_v1", &description("mobilenet_v1")?)?;
    mixed.run(rounds)
}
