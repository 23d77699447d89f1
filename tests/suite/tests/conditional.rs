//! What blocks of descriptions mean that depend on the image: against other networks, to the bit, and against formulas.

use avocet::{Compiled, Model, Options, Target, Tensor};
use avocet_tests::compare::assert_close;
use avocet_tests::inputs::picture;

const TOLERANCE: f64 = 1e-5;

fn model(head: &str, blocks: &[&str]) -> Model {
    let blocks: Vec<String> = blocks.iter().map(|block| format!("    {{ {block} }},\n")).collect();
    let text = format!(
        "version = 1\nname = 'net'\ninput = {{ channels = 3, height = 24, width = 24 }}\n{head}\nblocks = [\n{}]\n",
        blocks.concat()
    );
    Model::from_description(&text, "net.toml").unwrap_or_else(|e| panic!("{e}"))
}

fn compiled(model: &Model) -> Compiled {
    let options = Options { verify: true, ..Options::default() };
    let artifact = model.compile(&Target::host(), &options).unwrap_or_else(|e| panic!("{e}"));
    artifact.jit().unwrap_or_else(|e| panic!("{e}"))
}

fn run(blocks: &[&str], others: &[Tensor]) -> Vec<Tensor> {
    let model = model("", blocks);
    let inputs: Vec<Tensor> = [picture(&[1, 3, 24, 24])].into_iter().chain(others.iter().cloned()).collect();
    compiled(&model).run(&inputs).unwrap_or_else(|e| panic!("{e}"))
}

fn thresholds(values: &[f32]) -> [Tensor; 1] {
    [Tensor::f32([values.len()], values).expect("as many")]
}

fn exit_of(results: &[Tensor]) -> i64 {
    match results[1].data() {
        avocet_ir::TensorData::I64(data) => data[0],
        other => panic!("an exit is no {other:?}"),
    }
}

const STEM: &str = "type = 'conv', name = 'stem', out = 16, kernel = 3, stride = 2";
const MIDDLE: &str = "type = 'mbconv', out = 16, repeat = 2";
const LAST: &str = "type = 'basic', out = 24, stride = 2";
const CLASSES: &str = "type = 'classifier', name = 'c', classes = 10";
const EARLY: &str = "type = 'early_exit', classes = 10";
const LATER: &str = "type = 'early_exit', name = 'later', classes = 10, body = [{ type = 'conv', out = 8 }]";

#[test]
fn exits_that_are_off_leave_the_network_as_it_is() {
    let plain = run(&[STEM, MIDDLE, LAST, CLASSES], &[]);
    let blocks = [STEM, EARLY, MIDDLE, LATER, LAST, CLASSES];
    for off in [[1.5, 1.5], [f32::NAN, 1.1], [f32::INFINITY, f32::NAN]] {
        let full = run(&blocks, &thresholds(&off));
        assert_eq!(full[0], plain[0], "{off:?}");
        assert_eq!(exit_of(&full), 2);
    }
    let head = run(&[STEM, "type = 'classifier', name = 'exits.0', classes = 10"], &[]);
    for on in [[0.0, 1.5], [0.0, 0.0], [-1.0, f32::NAN]] {
        let early = run(&blocks, &thresholds(&on));
        assert_eq!((&early[0], exit_of(&early)), (&head[0], 0), "{on:?}");
    }
    let head = run(
        &[
            STEM,
            MIDDLE,
            "type = 'conv', name = 'later.0', out = 8",
            "type = 'classifier', name = 'later', classes = 10",
        ],
        &[],
    );
    let later = run(&blocks, &thresholds(&[1.5, 0.0]));
    assert_eq!((&later[0], exit_of(&later)), (&head[0], 1));
}

#[test]
fn a_head_ends_the_computation_from_its_confidence_on() {
    let blocks = [STEM, EARLY, MIDDLE, CLASSES];
    let model = model("", &blocks);
    let network = compiled(&model);
    let inputs = |threshold: f32| [picture(&[1, 3, 24, 24]), thresholds(&[threshold])[0].clone()];
    let scores = network.run(&inputs(0.0)).expect("runs")[0].clone();
    let scores = scores.as_f32().expect("f32");
    let sum: f64 = scores.iter().map(|&score| f64::from(score).exp()).sum();
    let most = f64::from(scores.iter().copied().fold(f32::MIN, f32::max)).exp() / sum;
    let exit = |threshold: f64| exit_of(&network.run(&inputs(threshold as f32)).expect("runs"));
    assert_eq!([exit(most - 1e-5), exit(most + 1e-5)], [0, 1]);
}

#[test]
fn what_is_saved_is_added_beyond_an_exit() {
    let save = "type = 'conv', out = 16, save = 'kept'";
    let add = "type = 'conv', out = 16, add = 'kept'";
    let plain = run(&[STEM, save, MIDDLE, add, CLASSES], &[]);
    let full = run(&[STEM, save, EARLY, MIDDLE, LATER, add, CLASSES], &thresholds(&[2.0, 2.0]));
    assert_eq!(full[0], plain[0]);
}

#[test]
fn gates_skip_their_blocks_or_run_them() {
    let gate = |keys: &str| {
        format!(
            "type = 'skip_gate', name = 'g', {keys}, body = [{{ type = 'basic', out = 16 }}, {{ type = 'conv', name = 'k', out = 16 }}]"
        )
    };
    let body = ["type = 'basic', name = 'g.0', out = 16", "type = 'conv', name = 'g.k', out = 16"];
    let ran = run(&[STEM, body[0], body[1], CLASSES], &[]);
    let skipped = run(&[STEM, CLASSES], &[]);
    assert_eq!(run(&[STEM, &gate("threshold = 0"), CLASSES], &[]), ran);
    assert_eq!(run(&[STEM, &gate("threshold = 2"), CLASSES], &[]), skipped);
    assert_eq!(run(&[STEM, &gate("threshold = 2, hidden = 5"), CLASSES], &[]), skipped);
    // With the input added; a body alone may be rounded otherwise than one whose end the addition is.
    let added = run(
        &[
            "type = 'conv', name = 'stem', out = 16, kernel = 3, stride = 2, save = 'x'",
            body[0],
            "type = 'conv', name = 'g.k', out = 16, add = 'x'",
            CLASSES,
        ],
        &[],
    );
    let got = run(&[STEM, &gate("threshold = 0, residual = true"), CLASSES], &[]);
    assert_close("the input is added", &got[0], &added[0], TOLERANCE);

    // The gate itself, computed by the network that ends with it.
    let value = run(
        &[STEM, "type = 'global_pool'", "type = 'dense', name = 'g.gate', out = 1, activation = 'sigmoid'"],
        &[],
    );
    let value = f64::from(value[0].as_f32().expect("f32")[0]);
    let at = |threshold: f64| run(&[STEM, &gate(&format!("threshold = {threshold:.6}")), CLASSES], &[]);
    assert_eq!(at(value - 1e-5), ran);
    assert_eq!(at(value + 1e-5), skipped);
}

#[test]
fn only_the_chosen_experts_count() {
    let moe = |keys: &str| {
        format!("type = 'moe', name = 'm', {keys}, body = [{{ type = 'mbconv', out = 24, stride = 2 }}]")
    };
    let scores = run(&[STEM, "type = 'global_pool'", "type = 'dense', name = 'm.gate', out = 5"], &[]);
    let scores: Vec<f64> = scores[0].as_f32().expect("f32").iter().map(|&s| f64::from(s)).collect();
    let mut order: Vec<usize> = (0..5).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let alone = |expert: usize| {
        run(&[STEM, &format!("type = 'mbconv', name = 'm.experts.{expert}.0', out = 24, stride = 2")], &[])
    };
    assert_eq!(run(&[STEM, &moe("experts = 5")], &[]), alone(order[0]));
    let all: Vec<Tensor> = (0..5).map(|expert| alone(expert)[0].clone()).collect();
    for chosen in [2, 5] {
        let best = &order[..chosen];
        let sum: f64 = best.iter().map(|&expert| scores[expert].exp()).sum();
        let mut expected = vec![0.0; all[0].shape().elements()];
        for &expert in best {
            let share = scores[expert].exp() / sum;
            let data = all[expert].as_f32().expect("f32");
            expected.iter_mut().zip(data).for_each(|(total, &value)| *total += share * f64::from(value));
        }
        let expected: Vec<f32> = expected.into_iter().map(|value| value as f32).collect();
        let expected = Tensor::f32(all[0].shape().dims(), expected).expect("the same shape");
        let got = run(&[STEM, &moe(&format!("experts = 5, top_k = {chosen}"))], &[]);
        assert_close(&format!("{chosen} experts"), &got[0], &expected, TOLERANCE);
    }
}

#[test]
fn the_widest_width_is_the_plain_network() {
    let conv = "type = 'conv', name = 'a', out = 32, kernel = 3, stride = 2, norm = false";
    let next = "type = 'conv', name = 'b', out = 24, kernel = 3, norm = false";
    let plain = compiled(&model("", &[conv, next, CLASSES])).run(&[picture(&[1, 3, 24, 24])]).expect("runs");
    let several = compiled(&model("slimmable = { widths = [0.25, 0.5, 1.0] }", &[conv, next, CLASSES]));
    let at = |place: i64| {
        let width = Tensor::i64([1], vec![place]).expect("one");
        several.run(&[picture(&[1, 3, 24, 24]), width]).expect("runs")
    };
    for place in [2, 3, i64::MAX] {
        // The transposition of the picture is outside, so the first sums may be in another order.
        assert_close(&format!("width {place}"), &at(place)[0], &plain[0], TOLERANCE);
    }
    assert_eq!(at(0), at(i64::MIN));
    assert_ne!(at(0), at(1));
    assert_ne!(at(1), at(2));
}

/// A tensor of a model by its name.
fn weight(model: &Model, name: &str) -> Vec<f64> {
    let graph = model.graph();
    let id = graph.ids().find(|&id| graph.node(id).name == name && graph.as_constant(id.into()).is_some());
    let id = id.unwrap_or_else(|| panic!("there is no tensor '{name}'"));
    let tensor = graph.as_constant(id.into()).and_then(|tensor| tensor.as_f32()).expect("f32");
    tensor.iter().map(|&value| f64::from(value)).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The network of the stem and a block, and what the stem alone gives: `[1, 16, 12, 12]`.
fn after_stem(block: &str) -> (Model, Tensor, Vec<f64>) {
    let whole = model("", &[STEM, block]);
    let got = compiled(&whole).run(&[picture(&[1, 3, 24, 24])]).expect("runs").remove(0);
    let x = run(&[STEM], &[]).remove(0);
    (whole, got, x.as_f32().expect("f32").iter().map(|&value| f64::from(value)).collect())
}

fn check(what: &str, got: &Tensor, expected: &[f64]) {
    let expected: Vec<f32> = expected.iter().map(|&value| value as f32).collect();
    let expected = Tensor::f32(got.shape().dims(), expected).expect("the same shape");
    assert_close(what, got, &expected, TOLERANCE);
}

const CHANNELS: usize = 16;
const EDGE: usize = 12;
const PIXELS: usize = EDGE * EDGE;

fn means(x: &[f64]) -> Vec<f64> {
    x.chunks(PIXELS).map(|channel| channel.iter().sum::<f64>() / PIXELS as f64).collect()
}

#[test]
fn eca_is_its_formula() {
    for (keys, kernel) in [("{}", 3), ("{ kernel = 5 }", 5), ("{ gamma = 1, b = 2 }", 7)] {
        let (model, got, x) = after_stem(&format!("type = 'eca', name = 'e', eca = {keys}"));
        let (w, means) = (weight(&model, "e.conv.weight"), means(&x));
        assert_eq!(w.len(), kernel);
        let gate = |channel: usize| {
            let at = |tap: usize| (channel + tap).checked_sub(kernel / 2).and_then(|i| means.get(i));
            sigmoid((0..kernel).map(|tap| w[tap] * at(tap).copied().unwrap_or(0.0)).sum())
        };
        let expected: Vec<f64> = x.iter().enumerate().map(|(i, &value)| value * gate(i / PIXELS)).collect();
        check(keys, &got, &expected);
    }
}

#[test]
fn cbam_is_its_formula() {
    let (model, got, mut x) =
        after_stem("type = 'cbam', name = 'a', cbam = { reduction = 4, kernel = 5, norm = false }");
    let tensor = |name: &str| weight(&model, &format!("a.{name}"));
    let (w1, b1) = (tensor("channel.reduce.weight"), tensor("channel.reduce.bias"));
    let (w2, b2) = (tensor("channel.expand.weight"), tensor("channel.expand.bias"));
    assert_eq!(b1.len(), 4);
    let layers = |pooled: &[f64]| -> Vec<f64> {
        let row = |w: &[f64], bias: f64, x: &[f64]| bias + w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        let hidden: Vec<f64> =
            w1.chunks(CHANNELS).zip(&b1).map(|(w, &bias)| row(w, bias, pooled).max(0.0)).collect();
        w2.chunks(4).zip(&b2).map(|(w, &bias)| row(w, bias, &hidden)).collect()
    };
    let most: Vec<f64> = x.chunks(PIXELS).map(|c| c.iter().copied().fold(f64::MIN, f64::max)).collect();
    let (of_means, of_most) = (layers(&means(&x)), layers(&most));
    for (i, value) in x.iter_mut().enumerate() {
        *value *= sigmoid(of_means[i / PIXELS] + of_most[i / PIXELS]);
    }
    let column = |pixel: usize| (0..CHANNELS).map(move |channel| channel * PIXELS + pixel);
    let most: Vec<f64> = (0..PIXELS).map(|p| column(p).map(|i| x[i]).fold(f64::MIN, f64::max)).collect();
    let mean: Vec<f64> =
        (0..PIXELS).map(|p| column(p).map(|i| x[i]).sum::<f64>() / CHANNELS as f64).collect();
    let (w, bias) = (tensor("spatial.conv.weight"), tensor("spatial.conv.bias")[0]);
    let gate = |pixel: usize| {
        let mut sum = bias;
        for (tap, weight) in w.iter().enumerate() {
            let plane = if tap < 25 { &most } else { &mean };
            let (row, column) = (pixel / EDGE + tap % 25 / 5, pixel % EDGE + tap % 5);
            if (2..EDGE + 2).contains(&row) && (2..EDGE + 2).contains(&column) {
                sum += weight * plane[(row - 2) * EDGE + column - 2];
            }
        }
        sigmoid(sum)
    };
    let expected: Vec<f64> = x.iter().enumerate().map(|(i, &value)| value * gate(i % PIXELS)).collect();
    check("cbam", &got, &expected);
}

#[test]
fn attention_in_blocks_comes_before_the_addition() {
    for attention in ["eca", "cbam"] {
        let keep = "type = 'conv', name = 'stem', out = 16, kernel = 3, stride = 2, save = 'x'";
        let block =
            format!("type = 'inverted_residual', name = 'b', out = 16, expand = 2, {attention} = {{}}");
        let same = "type = 'inverted_residual', name = 'b', out = 16, expand = 2, residual = false";
        let alone = format!("type = '{attention}', name = 'b.{attention}', add = 'x'");
        let (got, expected) = (run(&[STEM, &block], &[]), run(&[keep, same, &alone], &[]));
        assert_close(attention, &got[0], &expected[0], TOLERANCE);
    }
}

#[test]
fn mixed_convolutions_are_their_formula() {
    for (keys, kernel, groups, out) in
        [("", 1, 1, 27), ("kernel = 3", 3, 1, 24), ("kernel = 3, groups = 16", 3, 16, 16)]
    {
        let block = format!(
            "type = 'condconv', name = 'm', out = {out}, experts = 3, activation = 'none', norm = false, {keys}"
        );
        let (model, got, x) = after_stem(block.trim_end_matches(", "));
        let (routing, bias) = (weight(&model, "m.routing.weight"), weight(&model, "m.routing.bias"));
        let means = means(&x);
        let shares: Vec<f64> = routing
            .chunks(CHANNELS)
            .zip(&bias)
            .map(|(w, bias)| sigmoid(bias + w.iter().zip(&means).map(|(w, x)| w * x).sum::<f64>()))
            .collect();
        let (w, bias) = (weight(&model, "m.conv.weight"), weight(&model, "m.conv.bias"));
        let (per_group, half) = (CHANNELS / groups, kernel / 2);
        let size = out * per_group * kernel * kernel;
        let mixed: Vec<f64> = (0..size).map(|i| (0..3).map(|e| shares[e] * w[e * size + i]).sum()).collect();
        let mut expected = Vec::new();
        for channel in 0..out {
            for pixel in 0..PIXELS {
                let mut sum = bias[channel];
                for input in 0..per_group {
                    for tap in 0..kernel * kernel {
                        let (row, column) = (pixel / EDGE + tap / kernel, pixel % EDGE + tap % kernel);
                        if (half..EDGE + half).contains(&row) && (half..EDGE + half).contains(&column) {
                            let from = channel / (out / groups) * per_group + input;
                            let at = from * PIXELS + (row - half) * EDGE + column - half;
                            sum += mixed[(channel * per_group + input) * kernel * kernel + tap] * x[at];
                        }
                    }
                }
                expected.push(sum);
            }
        }
        check(&block, &got, &expected);
    }
}
