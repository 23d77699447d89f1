//! Attention, and blocks that depend on the image.

use avocet_ir::Tensor;
use avocet_ir::op::Op;

use super::*;

const CLASSIFIER: &str = "type = \"classifier\", classes = 5";

/// All constants of a graph and of its regions, by name.
fn constants(graph: &Graph, found: &mut Vec<(String, Tensor)>) {
    for id in graph.ids() {
        let node = graph.node(id);
        if let Op::Constant(tensor) = &node.op {
            found.push((node.name.clone(), tensor.clone()));
        }
        node.op.regions().into_iter().for_each(|region| constants(region.graph(), found));
    }
}

fn tensors(text: &str) -> Vec<(String, Tensor)> {
    let mut found = Vec::new();
    constants(&build(text).unwrap_or_else(|e| panic!("{e}")), &mut found);
    found
}

#[test]
fn mistakes_within_blocks_point_at_their_own_line() {
    let nested = |inner: &str| {
        format!(
            "{HEAD}blocks = [\n{{ type = \"skip_gate\", body = [\n  {{ type = \"dropout\" }},\n  {{ {inner} }},\n] }},\n]\n"
        )
    };
    for (inner, expected) in [
        (
            "type = \"conv\", out = 8, groups = 3",
            "net.toml:7: block 1 (skip_gate): block 2 (conv): 3 groups do not",
        ),
        ("type = \"conv\", kernle = 3", "net.toml:7: unknown field `kernle`"),
        (
            "type = \"conv\", out = 8",
            "net.toml:5: block 1 (skip_gate): its body makes f32[1,8,16,16] of f32[1,4,16,16]",
        ),
        (
            "type = \"early_exit\", classes = 3",
            "net.toml:7: block 1 (skip_gate): block 2 (early_exit): an exit stands among",
        ),
        (
            "type = \"moe\", experts = 2, body = [{ type = \"skip_gate\", body = [{ type = \"dropout\" }] }]",
            "net.toml:7: block 1 (skip_gate): block 2 (moe): block 1 (skip_gate): blocks are nested deeper than 2",
        ),
        (
            "type = \"dropout\", add = \"x\"",
            "net.toml:7: block 1 (skip_gate): block 2 (dropout): nothing was saved as",
        ),
    ] {
        let got = error(&nested(inner));
        assert!(got.starts_with(expected), "{got}\nexpected: {expected}");
    }
    let yaml = "version: 1\nname: net\ninput: { channels: 3, height: 8, width: 8 }\nblocks:\n  - type: skip_gate\n    body:\n      - { type: dropout }\n      - { type: conv }\n";
    let description = Description::parse(yaml, Format::Yaml, "net").unwrap_or_else(|e| panic!("{e}"));
    let got = description.build(&BuildOptions::default()).expect_err("no channels").to_string();
    assert!(got.starts_with("net:8: block 1 (skip_gate): block 2 (conv): it needs a key 'out'"), "{got}");
}

#[test]
fn mistakes_in_keys() {
    let body = "body = [{ type = \"dropout\" }]";
    let mistake = |block: &str| error(&text(&[block]));
    for (block, expected) in [
        ("type = \"cbam\", cbam = { kernel = 4 }".to_string(), "cbam.kernel is 4, expected an odd number"),
        ("type = \"cbam\", cbam = { reduction = 0 }".into(), "cbam.reduction is 0, expected 1 to 1024"),
        ("type = \"eca\", eca = { kernel = 65 }".into(), "eca.kernel is 65, expected 1 to 63"),
        ("type = \"eca\", eca = { gamma = 0 }".into(), "eca.gamma must be from 0.01 to 100"),
        ("type = \"eca\", eca = { b = nan }".into(), "eca.gamma must be from 0.01 to 100"),
        (
            "type = \"basic\", out = 4, eca = {}, cbam = {}".into(),
            "'se', 'cbam' and 'eca' exclude each other",
        ),
        (
            "type = \"basic\", out = 4, eca = {}, se = { ratio = 0.5 }".into(),
            "'se', 'cbam' and 'eca' exclude",
        ),
        ("type = \"skip_gate\"".into(), "it needs a key 'body'"),
        ("type = \"skip_gate\", body = []".into(), "it needs a key 'body'"),
        (format!("type = \"skip_gate\", threshold = 3, {body}"), "threshold is 3, expected 0 to 2"),
        (format!("type = \"skip_gate\", hidden = 0, {body}"), "units is 0, expected 1 to"),
        (format!("type = \"moe\", {body}"), "it needs a key 'experts'"),
        (format!("type = \"moe\", experts = 65, {body}"), "experts is 65, expected 1 to 64"),
        (format!("type = \"moe\", experts = 3, top_k = 4, {body}"), "top_k is 4, expected 1 to 3"),
        ("type = \"condconv\", out = 4".into(), "it needs a key 'experts'"),
        ("type = \"condconv\", experts = 4".into(), "it needs a key 'out'"),
        ("type = \"early_exit\"".into(), "it needs a key 'classes'"),
        ("type = \"early_exit\", classes = 3, repeat = 2".into(), "an exit can't be repeated"),
        (
            "type = \"early_exit\", classes = 3, kernel = 2".into(),
            "it has no key 'kernel'; its keys are: body, classes",
        ),
    ] {
        let got = mistake(&block);
        assert!(
            got.starts_with("net.toml:5: block 1 (") && got.contains(expected),
            "{got}\nexpected: {expected}"
        );
    }
    let other = error(&text(&["type = \"early_exit\", classes = 3", CLASSIFIER]));
    assert!(other.contains("exit 'exits.0' gives f32[1,3], but the whole network f32[1,5]"), "{other}");
    let exits = vec!["type = \"early_exit\", classes = 5"; 17];
    let many = error(&text(&exits));
    assert!(many.contains("there are 17 exits, expected up to 16"), "{many}");
}

#[test]
fn what_decides_takes_a_single_image() {
    for block in [
        "type = \"skip_gate\", body = [{ type = \"dropout\" }]",
        "type = \"moe\", experts = 2, body = [{ type = \"dropout\" }]",
        "type = \"condconv\", experts = 2, out = 3",
        "type = \"early_exit\", classes = 3",
    ] {
        let description = Description::parse(&text(&[block]), Format::Toml, "net").expect("valid");
        let built = description.build(&BuildOptions { batch: 2, ..BuildOptions::default() });
        let got = built.expect_err("two images").to_string();
        assert!(got.ends_with("it decides for a single image: the batch must be 1"), "{got}");
    }
}

#[test]
fn exits_have_an_input_and_a_result() {
    let exit = "type = \"early_exit\", classes = 5, body = [{ type = \"conv\", out = 3, save = \"inner\" }]";
    let blocks = [
        "type = \"dropout\", save = \"in\"",
        exit,
        "type = \"conv\", out = 4",
        exit,
        "type = \"dropout\", add = \"in\"",
        CLASSIFIER,
    ];
    let graph = build(&text(&blocks)).unwrap_or_else(|e| panic!("{e}"));
    let inputs: Vec<String> = graph.input_nodes().iter().map(|&id| graph.node(id).to_input()).collect();
    assert_eq!(inputs, ["input f32[1,4,16,16]", "exit_thresholds f32[2]"]);
    let outputs: Vec<String> =
        graph.outputs().iter().map(|output| format!("{} {}", output.name, graph.ty(output.value))).collect();
    assert_eq!(outputs, ["output f32[1,5]", "exit i64[1]"]);

    // Without exits the tensors have the same names and values.
    let with: Vec<_> =
        tensors(&text(&blocks)).into_iter().filter(|(name, _)| !name.starts_with("exits.")).collect();
    let plain: Vec<&str> = blocks.into_iter().filter(|&block| block != exit).collect();
    for (name, tensor) in tensors(&text(&plain)) {
        assert!(with.contains(&(name.clone(), tensor)), "{name}");
    }
    // What a head saves is its own.
    let outside = error(&text(&[exit, "type = \"dropout\", add = \"inner\"", CLASSIFIER]));
    assert!(outside.contains("nothing was saved as 'inner' before"), "{outside}");
}

trait Described {
    fn to_input(&self) -> String;
}

impl Described for avocet_ir::Node {
    fn to_input(&self) -> String {
        format!("{} {}", self.name, self.outputs[0])
    }
}

#[test]
fn cells_see_what_was_before_an_exit() {
    let cells =
        "\n[cells.c]\ncombine = [[\"separable3\", \"current\", \"max3\", \"previous\"]]\nconcat = [\"0\"]\n";
    let cell = "type = \"cell\", cell = \"c\", out = 4, stride = 2";
    let exit = "type = \"early_exit\", classes = 5";
    let graph = build(&(text(&[cell, exit, cell, CLASSIFIER]) + cells)).unwrap_or_else(|e| panic!("{e}"));
    let names = |text: &str| {
        let mut names: Vec<String> = tensors(text).into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name.contains("previous"));
        names.sort();
        names
    };
    let with = names(&(text(&[cell, exit, cell, CLASSIFIER]) + cells));
    assert_eq!(with, names(&(text(&[cell, cell, CLASSIFIER]) + cells)));
    assert!(!with.is_empty());
    assert_eq!(graph.ty(graph.outputs()[0].value).dims(), [1, 5]);
}

#[test]
fn experts_have_weights_of_their_own() {
    let moe = "type = \"moe\", name = \"m\", experts = 3, top_k = 2, body = [{ type = \"conv\", out = 4 }, { type = \"conv\", name = \"last\", out = 4 }]";
    let found = tensors(&text(&[moe]));
    let tensor = |name: &str| {
        found.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name}")).1.clone()
    };
    assert_ne!(tensor("m.experts.0.0.conv.weight"), tensor("m.experts.1.0.conv.weight"));
    tensor("m.experts.2.last.norm.running_var");
    tensor("m.gate.bias");
}

#[test]
fn narrower_widths_use_the_first_channels() {
    let slim = "slimmable = { widths = [0.5, 1.0] }\n";
    let blocks = [
        "type = \"conv\", name = \"stem\", out = 16, kernel = 3",
        "type = \"inverted_residual\", name = \"block\", out = 16, expand = 2",
        CLASSIFIER,
    ];
    let text = text(&blocks).replace("blocks =", &format!("{slim}blocks ="));
    let graph = build(&text).unwrap_or_else(|e| panic!("{e}"));
    let inputs: Vec<String> = graph.input_nodes().iter().map(|&id| graph.node(id).to_input()).collect();
    assert_eq!(inputs, ["input f32[1,4,16,16]", "width i64[1]"]);
    let found = tensors(&text);
    let of = |name: &str| {
        let mut all: Vec<Tensor> =
            found.iter().filter(|(other, _)| other == name).map(|(_, t)| t.clone()).collect();
        all.sort_by_key(|tensor| tensor.shape().elements());
        all
    };
    let [narrow, wide] = &of("block.project.conv.weight")[..] else { panic!("not two of them") };
    assert_eq!((narrow.shape().dims(), wide.shape().dims()), (&[8, 16, 1, 1][..], &[16, 32, 1, 1][..]));
    let (narrow, wide) = (narrow.as_f32().expect("f32"), wide.as_f32().expect("f32"));
    for (i, value) in narrow.iter().enumerate() {
        assert_eq!(*value, wide[i / 16 * 32 + i % 16]);
    }
    assert_eq!(of("stem.norm.0.weight")[0].shape().dims(), [8]);
    assert_eq!(of("stem.norm.1.weight")[0].shape().dims(), [16]);

    let with =
        |slim: &str, blocks: &[&str]| super::text(blocks).replace("blocks =", &format!("{slim}\nblocks ="));
    for (slim, block, expected) in [
        (
            "slimmable = { widths = [] }",
            CLASSIFIER,
            "net.toml:4: slimmable.widths has 0 entries, expected 1 to 8",
        ),
        (
            "slimmable = { widths = [1.0, 0.5] }",
            CLASSIFIER,
            "net.toml:4: slimmable.widths is [1.0, 0.5], expected ascending",
        ),
        (
            "slimmable = { widths = [0.5] }",
            CLASSIFIER,
            "net.toml:4: slimmable.widths is [0.5], expected ascending",
        ),
        (
            "slimmable = { widths = [nan, 1.0] }",
            CLASSIFIER,
            "net.toml:4: slimmable.widths is [NaN, 1.0], expected",
        ),
        (
            "slimmable = { widths = [1.0], divisor = 0 }",
            CLASSIFIER,
            "net.toml:4: slimmable.divisor is 0, expected 1",
        ),
        (
            "slimmable = { widths = [1.0] }",
            "type = \"fire\", out = 4, squeeze = 2",
            "net.toml:6: block 1 (fire): it joins channels",
        ),
        (
            "slimmable = { widths = [1.0] }",
            "type = \"conv\", out = 8, groups = 2",
            "net.toml:6: block 1 (conv): a slimmable network has no groups",
        ),
    ] {
        let got = error(&with(slim, &[block]));
        assert!(got.starts_with(expected), "{got}\nexpected: {expected}");
    }
}
