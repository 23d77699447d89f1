//! The machine code of MobileNetV2's pointwise convolutions where no real machine is at hand: how many of the instructions
//! of their inner loops are multiply-adds, and that no value is kept on the stack there. By the assembly's text.

use avocet::{LoadOptions, Model, Options, Target};
use avocet_tests::files::workspace_root;

/// An inner loop.
#[derive(Debug)]
struct Loop {
    kernel: String,
    multiply_adds: usize,
    instructions: usize,
    stack: usize,
}

/// The inner loops of kernels with multiply-adds in them. A loop is what is between a block and a branch back to it, and
/// an inner one has no other within.
fn inner_loops(assembly: &str) -> Vec<Loop> {
    let mut found = Vec::new();
    for kernel in assembly.split("\n\n") {
        let lines: Vec<&str> = kernel.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let name = lines.first().copied().unwrap_or_default();
        let block = |number: &str| {
            let label = format!("block{number}:");
            lines.iter().position(|line| *line == label)
        };
        let mut loops: Vec<(usize, usize)> = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            for target in line.split("label").skip(1) {
                let digits: String = target.chars().take_while(char::is_ascii_digit).collect();
                loops.extend(block(&digits).filter(|&start| start <= place).map(|start| (start, place)));
            }
        }
        let within = |inner: &(usize, usize), outer: &(usize, usize)| {
            inner != outer && outer.0 <= inner.0 && inner.1 <= outer.1
        };
        for body in loops.iter().filter(|body| !loops.iter().any(|other| within(other, body))) {
            let code: Vec<&str> =
                lines[body.0..=body.1].iter().copied().filter(|line| !line.ends_with(':')).collect();
            let starts = |line: &&&str| ["fmla", "vfmacc", "fmadd"].iter().any(|op| line.starts_with(op));
            let multiply_adds = code.iter().filter(starts).count();
            let on_stack = |line: &&&str| ["[sp", "(slot)", "(sp)"].iter().any(|place| line.contains(place));
            if multiply_adds > 0 {
                found.push(Loop {
                    kernel: name.into(),
                    multiply_adds,
                    instructions: code.len(),
                    stack: code.iter().filter(on_stack).count(),
                });
            }
        }
    }
    found
}

/// The part of multiply-adds that each target must reach. RISC-V's vector loads have no offset, so each takes an addition
/// besides, and there is no multiply-add by a lane, so each pixel takes a load: that is what its lower bound is made of.
#[test]
fn pointwise_inner_loops_are_mostly_multiply_adds() {
    let file = workspace_root().join("examples/mobilenet_v2.toml");
    let model = Model::open(file, &LoadOptions::default()).unwrap();
    for (target, least) in [
        ("cortex-a53", 0.70),
        ("cortex-a72", 0.70),
        ("cortex-a76", 0.70),
        ("neoverse-n1", 0.70),
        ("rv64gcv", 0.60),
        ("rv64gcv-zvl256b", 0.60),
        ("rv64gcv-zvl512b", 0.60),
    ] {
        let target = Target::by_name(target).unwrap();
        let artifact = model.compile(&target, &Options::default()).unwrap();
        let loops = inner_loops(&artifact.assembly());
        let loops: Vec<&Loop> = loops.iter().filter(|l| l.kernel.starts_with("pointwise")).collect();
        assert!(loops.len() > 20, "{}: {} loops", target.name, loops.len());
        let sum = |of: fn(&Loop) -> usize| loops.iter().map(|l| of(l)).sum::<usize>();
        let part = sum(|l| l.multiply_adds) as f64 / sum(|l| l.instructions) as f64;
        println!("{:<16} {} loops, {:.1} % multiply-adds", target.name, loops.len(), part * 100.0);
        assert!(part >= least, "{}: {part:.3}", target.name);
        let spilled: Vec<_> = loops.iter().filter(|l| l.stack > 0).collect();
        assert!(spilled.is_empty(), "{}: {spilled:?}", target.name);
    }
}
