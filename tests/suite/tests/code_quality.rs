//! The machine code of MobileNetV2 where no real machine is at hand: how many instructions one inference executes, how many
//! of those of inner loops are multiply-adds, and that no value is kept on the stack there. Counted by `avocet::simulate`,
//! and that count held against what an emulator executes.

use avocet::simulate::{Share, Simulation, simulate};
use avocet::{LoadOptions, Model, Options, Target, Tensor};
use avocet_backend_tests::emulator::EMULATORS;
use avocet_tests::emulated::executed;
use avocet_tests::files::{avocet_program, capture, run, workspace_root};
use std::process::Command;

fn mobilenet() -> Model {
    Model::open(workspace_root().join("examples/mobilenet_v2.toml"), &LoadOptions::default()).unwrap()
}

fn simulated(model: &Model, target: &str) -> Simulation {
    let target = Target::by_name(target).unwrap();
    simulate(&model.compile(&target, &Options::default()).unwrap()).unwrap_or_else(|e| panic!("{e}"))
}

fn kind<'a>(simulation: &'a Simulation, name: &str) -> &'a Share {
    simulation.kinds.iter().find(|share| share.name == name).expect("such kernels")
}

/// For each target the part of multiply-adds that the inner loops of pointwise convolutions must reach. x86 reads one
/// operand from memory, but loads and broadcasts the other; without FMA a multiply-add is up to four instructions. RISC-V's
/// vector loads have no offset, so each takes an addition besides, and there is no multiply-add by a lane, so each pixel
/// takes a load.
const LEAST: [(&str, f64); 13] = [
    ("aarch64", 0.70),
    ("cortex-a53", 0.70),
    ("cortex-a72", 0.70),
    ("cortex-a76", 0.70),
    ("neoverse-n1", 0.70),
    ("apple-m1", 0.70),
    ("rv64gc", 0.62),
    ("rv64gcv", 0.58),
    ("rv64gcv-zvl256b", 0.58),
    ("rv64gcv-zvl512b", 0.58),
    ("x86-64", 0.26),
    ("x86-64-v3", 0.58),
    ("x86-64-v4", 0.67),
];

#[test]
fn pointwise_inner_loops_are_mostly_multiply_adds() {
    let model = mobilenet();
    for (target, least) in LEAST {
        let simulation = simulated(&model, target);
        let loops: Vec<_> =
            simulation.inner_loops.iter().filter(|l| l.kernel.starts_with("pointwise")).collect();
        assert!(loops.len() > 20, "{target}: {} loops", loops.len());
        let (instructions, multiply_adds) = loops.iter().fold((0, 0), |(instructions, multiply_adds), l| {
            (instructions + l.instructions, multiply_adds + l.multiply_add_instructions)
        });
        let pointwise = kind(&simulation, "pointwise");
        let (written, executed) = (multiply_adds as f64 / instructions as f64, pointwise.of_inner_loops());
        println!("{target:<16} {:.1} % as written, {:.1} % as executed", written * 100.0, executed * 100.0);
        assert!(executed >= least, "{target}: {executed:.3}");
        // Loops that run seldom count as much here.
        let arm = Target::by_name(target).unwrap().triple.architecture.to_string() == "aarch64";
        assert!(!arm || written >= least, "{target}: {written:.3}");
        let spilled = pointwise.inner_stack_instructions as f64 / pointwise.inner_instructions as f64;
        assert!(spilled == 0.0, "{target}: {spilled}");
    }
}

/// Instructions of the nodes whose channels fill vectors of 16 numbers.
fn of_whole_vectors(simulation: &Simulation, model: &Model) -> u64 {
    let target = Target::by_name(&simulation.target).unwrap();
    let artifact = model.compile(&target, &Options::default()).unwrap();
    let graph = artifact.graph();
    let whole = |share: &&Share| {
        let mut nodes = graph.topological().unwrap().into_iter().map(|id| graph.node(id));
        let node = nodes.find(|node| node.name == share.name && node.op.name() == "conv");
        node.is_some_and(|node| node.outputs[0].dims().last().is_some_and(|channels| channels % 16 == 0))
    };
    simulation.nodes.iter().filter(whole).map(|share| share.instructions).sum()
}

#[test]
fn twice_the_vector_is_almost_half_the_instructions() {
    let model = mobilenet();
    let counts = ["rv64gcv", "rv64gcv-zvl256b", "rv64gcv-zvl512b"].map(|target| {
        let simulation = simulated(&model, target);
        [of_whole_vectors(&simulation, &model), simulation.total.instructions]
    });
    for pair in counts.windows(2) {
        let [whole, all] = [0, 1].map(|i| pair[0][i] as f64 / pair[1][i] as f64);
        println!("{whole:.3} times fewer, {all:.3} with the nodes whose channels are no whole vectors");
        assert!(whole >= 1.9 && all >= 1.8, "{whole:.3} {all:.3}");
        // Most of the network is in what was counted.
        assert!(pair[0][0] * 10 > pair[0][1] * 8, "{counts:?}");
    }
}

#[test]
fn as_many_instructions_as_the_emulator_executes() {
    let text = std::fs::read_to_string(workspace_root().join("examples/mobilenet_v2.toml")).unwrap();
    let model = Model::from_description(&text.replace("= 224", "= 64"), "mobilenet_v2.toml").unwrap();
    let dims = model.inputs()[0].ty.dims().to_vec();
    let input = Tensor::f32(dims.clone(), vec![0.25; dims.iter().product()]).unwrap();
    for emulator in &EMULATORS {
        let options = Options { name: Some("network".into()), ..Options::default() };
        let artifact = model.compile(&emulator.target(), &options).unwrap();
        let simulation = simulate(&artifact).unwrap();
        let executed = executed(emulator, artifact, std::slice::from_ref(&input));
        let counted = simulation.total.instructions;
        println!("{:<16} {executed} executed, {counted} counted", emulator.target);
        // Scalars of RISC-V are selected by branches, which count as if each half of them ran.
        let bound = if simulation.at_most { executed / 50 } else { 0 };
        assert!((executed..=executed + bound).contains(&counted), "{}", emulator.target);
        assert_eq!(simulation.at_most, emulator.target == "rv64gc");
    }
}

#[test]
fn bench_simulates_any_target() {
    let mut command = Command::new(avocet_program());
    command.current_dir(workspace_root());
    command.args(["bench", "examples/mobilenet_v2.toml", "--simulate", "--target", "cortex-a72"]);
    let text = run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    for line in ["pointwise ", "depthwise ", "for one inference, ", "300 774 272, "] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    let output = capture(command.args(["--threads", "2"])).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(output.status.code(), Some(2));
}
