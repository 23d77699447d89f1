use avocet_ir::cost::costs;
use proptest::prelude::*;

use super::*;

const HEAD: &str = "version = 1\nname = \"net\"\ninput = { channels = 4, height = 16, width = 16 }\n";

/// A description with these blocks, one a line from line 5 on.
fn text(blocks: &[&str]) -> String {
    let lines: Vec<String> = blocks.iter().map(|b| format!("    {{ {b} }},\n")).collect();
    format!("{HEAD}blocks = [\n{}]\n", lines.concat())
}

fn build(text: &str) -> Result<Graph, ArchError> {
    Description::parse(text, Format::Toml, "net.toml")?.build(&BuildOptions::default())
}

fn error(text: &str) -> String {
    build(text).expect_err("it is wrong").to_string()
}

/// One block of each kind, with the shape that it gives.
const KINDS: &[(&str, &[usize])] = &[
    ("type = \"conv\", out = 8, kernel = 3, stride = 2", &[1, 8, 8, 8]),
    (
        "type = \"conv\", out = 8, kernel = 3, groups = 4, dilation = 2, norm = false, activation = \"gelu\"",
        &[1, 8, 16, 16],
    ),
    ("type = \"depthwise_separable\", out = 6, kernel = 5, padding = \"same\", stride = 2", &[1, 6, 8, 8]),
    ("type = \"inverted_residual\", out = 4, expand = 3, repeat = 2", &[1, 4, 16, 16]),
    ("type = \"mbconv\", out = 12, hidden = 10, stride = 2", &[1, 12, 8, 8]),
    (
        "type = \"fused_mbconv\", out = 4, expand = 4, se = { ratio = 0.5, gate = \"hard_sigmoid\" }",
        &[1, 4, 16, 16],
    ),
    ("type = \"fused_mbconv\", out = 6", &[1, 6, 16, 16]),
    ("type = \"bottleneck\", out = 16, hidden = 8, groups = 4, stride = 2, repeat = 2", &[1, 16, 8, 8]),
    (
        "type = \"basic\", out = 8, stride = 2, se = { ratio = 0.25, of = \"expanded\", divisor = 8 }",
        &[1, 8, 8, 8],
    ),
    ("type = \"shuffle_unit\", out = 8, stride = 2, repeat = 2", &[1, 8, 8, 8]),
    ("type = \"fire\", squeeze = 3, out = 10", &[1, 10, 16, 16]),
    ("type = \"cell\", cell = \"c\", out = 4, stride = 2", &[1, 8, 8, 8]),
    (
        "type = \"pool\", pool = \"max\", kernel = 3, stride = 2, ceil = true, padding = \"valid\"",
        &[1, 4, 8, 8],
    ),
    ("type = \"pool\", pool = \"average\", kernel = 2, stride = 2, padding = \"valid\"", &[1, 4, 8, 8]),
    ("type = \"global_pool\"", &[1, 4]),
    ("type = \"flatten\"", &[1, 1024]),
    ("type = \"dropout\"", &[1, 4, 16, 16]),
    ("type = \"activation\", activation = \"tanh\"", &[1, 4, 16, 16]),
    ("type = \"dense\", out = 5, activation = \"silu\"", &[1, 5]),
    ("type = \"classifier\", classes = 7", &[1, 7]),
];

#[test]
fn every_kind_of_block() {
    for (block, shape) in KINDS {
        let cell = "\n[cells.c]\ncombine = [[\"separable3\", \"current\", \"max3\", \"previous\"], [\"average3\", \"0\", \"identity\", \"0\"]]\nconcat = [\"0\", \"1\"]\n";
        let graph = build(&(text(&[block]) + cell)).unwrap_or_else(|e| panic!("{block}: {e}"));
        assert_eq!(graph.ty(graph.outputs()[0].value).dims(), *shape, "{block}");
    }
}

#[test]
fn mistakes_point_at_their_line() {
    let conv = "type = \"conv\", out = 8";
    for (blocks, expected) in [
        (vec![conv, "type = \"conv\", out = 8, kernle = 3"], "net.toml:6: unknown field `kernle`"),
        (vec!["type = \"convolution\""], "net.toml:5: unknown variant `convolution`"),
        (
            vec![conv, conv, "type = \"conv\", out = \"8\""],
            "net.toml:7: invalid type: string \"8\", expected usize",
        ),
        (
            vec!["type = \"dense\", out = 3, stride = 2"],
            "net.toml:5: block 1 (dense): it has no key 'stride'; its keys are: out, activation",
        ),
        (vec![conv, "type = \"conv\""], "net.toml:6: block 2 (conv): it needs a key 'out', at least 1"),
        (
            vec!["type = \"conv\", out = 8, groups = 3"],
            "net.toml:5: block 1 (conv): 3 groups do not divide 4 channels",
        ),
        (
            vec!["type = \"conv\", out = 8, kernel = 33, padding = \"valid\""],
            "net.toml:5: block 1 (conv): a window of 33",
        ),
        (
            vec!["type = \"conv\", out = 8, kernel = 0"],
            "net.toml:5: block 1 (conv): kernel is 0, expected 1 to 1024",
        ),
        (
            vec!["type = \"conv\", out = 999999999"],
            "net.toml:5: block 1 (conv): channels is 999999999, expected 1 to 131072",
        ),
        (
            vec!["type = \"conv\", out = 8, repeat = 100000"],
            "net.toml:5: block 1 (conv): repeat is 100000, expected 1 to 1000",
        ),
        (
            vec!["type = \"dense\", out = 131072", "type = \"dense\", out = 131072"],
            "net.toml:6: block 2 (dense): 'blocks.1.weight' brings the network over",
        ),
        (
            vec![conv, "type = \"activation\", add = \"x\""],
            "net.toml:6: block 2 (activation): nothing was saved as 'x' before",
        ),
        (
            vec!["type = \"dropout\", save = \"x\"", "type = \"conv\", out = 8, add = \"x\""],
            "net.toml:6: block 2 (conv): f32[1,8,16,16] and f32[1,4,16,16] can't be added",
        ),
        (
            vec!["type = \"global_pool\"", "type = \"pool\", pool = \"max\", kernel = 2"],
            "net.toml:6: block 2 (pool): ",
        ),
        (
            vec!["type = \"shuffle_unit\", out = 8"],
            "net.toml:5: block 1 (shuffle_unit): with stride 1 it keeps its channels: 4, not 8",
        ),
        (vec!["type = \"cell\", cell = \"z\", out = 4"], "net.toml:5: block 1 (cell): there is no cell 'z'"),
    ] {
        let got = error(&text(&blocks));
        assert!(got.starts_with(expected), "{got}\nexpected: {expected}");
    }
    assert_eq!(
        error("version = 2\nname = \"x\"\nblocks = []\ninput = { channels = 1, height = 1, width = 1 }"),
        "net.toml:1: version 2 is not known here, only 1"
    );
    assert!(error("name = \"x\"").starts_with("net.toml:1: missing field `version`"));
    let zero = text(&[conv]).replace("height = 16", "height = 0");
    assert_eq!(error(&zero), "net.toml:1: the input [1, 4, 0, 16] has a dimension of size zero");
    let huge = text(&[conv]).replace("height = 16", "height = 9999999999999");
    assert_eq!(error(&huge), "net.toml:1: the input's size is 9999999999999, expected 1 to 65536");
}

#[test]
fn the_three_formats_say_the_same() {
    let toml = text(&["type = \"conv\", out = 8, kernel = 3", "type = \"classifier\", classes = 3"]);
    let json = r#"{ "version": 1, "name": "net", "input": { "channels": 4, "height": 16, "width": 16 },
        "blocks": [ { "type": "conv", "out": 8, "kernel": 3 }, { "type": "classifier", "classes": 3 } ] }"#;
    let yaml = "version: 1\nname: net\ninput: { channels: 4, height: 16, width: 16 }\nblocks:\n  - { type: conv, out: 8, kernel: 3 }\n  - type: classifier\n    classes: 3\n";
    let graph = |text: &str, format| {
        let description = Description::parse(text, format, "net").unwrap_or_else(|e| panic!("{e}"));
        description.build(&BuildOptions::default()).unwrap_or_else(|e| panic!("{e}")).to_string()
    };
    let expected = graph(&toml, Format::Toml);
    assert_eq!(graph(json, Format::Json), expected);
    assert_eq!(graph(yaml, Format::Yaml), expected);
    for (text, format, line) in [
        (yaml.replace("classes: 3", "classes: 0"), Format::Yaml, 6),
        (yaml.replace("classes", "clases"), Format::Yaml, 7),
        (json.replace("\"classes\": 3", "\"classes\": 0"), Format::Json, 2),
    ] {
        let result = Description::parse(&text, format, "net").and_then(|d| d.build(&BuildOptions::default()));
        let error = result.expect_err("it is wrong").to_string();
        assert!(error.starts_with(&format!("net:{line}: ")), "{error}");
    }
}

#[test]
fn saved_results_are_added() {
    let plain = text(&["type = \"conv\", out = 4, kernel = 3"]);
    let residual =
        text(&["type = \"dropout\", save = \"in\"", "type = \"conv\", out = 4, kernel = 3, add = \"in\""]);
    let (plain, residual) = (build(&plain).expect("valid"), build(&residual).expect("valid"));
    assert_eq!(residual.len(), plain.len() + 1);
    assert_eq!(costs(&residual).1.parameters, costs(&plain).1.parameters);
}

#[test]
fn weights_may_not_leave_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in ["../secret.safetensors", "/etc/passwd", "a/../../b.pth"] {
        let file = folder.path().join("net.toml");
        let text = text(&["type = \"conv\", out = 4"]) + &format!("[weights]\nfile = \"{path}\"\n");
        std::fs::write(&file, text).expect("writable");
        let description = Description::from_file(&file).expect("parses");
        let error = description.build(&BuildOptions::default()).expect_err("it leaves").to_string();
        assert!(error.contains("may only name weights in its own folder"), "{error}");
    }
}

#[test]
fn weights_of_a_file_must_fit_exactly() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = vec![0u8; 4 * 4 * 4];
    let view = |shape: Vec<usize>| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &data).expect("valid")
    };
    let bytes =
        safetensors::serialize([("stem.conv.weight", view(vec![2, 8])), ("other", view(vec![16]))], None);
    std::fs::write(folder.path().join("w.safetensors"), bytes.expect("valid")).expect("writable");
    let file = folder.path().join("net.toml");
    let text = text(&["type = \"conv\", name = \"stem\", out = 4, kernel = 1, norm = false"]);
    std::fs::write(&file, text + "[weights]\nfile = \"w.safetensors\"\n").expect("writable");
    let error =
        Description::from_file(&file).and_then(|d| d.build(&BuildOptions::default())).expect_err("misfits");
    let error = error.to_string();
    for line in [
        "  'stem.conv.weight' is [2,8], expected [4,4,1,1]",
        "  'stem.conv.bias' [4] is missing",
        "  'other' is not part of the network",
    ] {
        assert!(error.lines().any(|l| l == line), "{error}");
    }
}

proptest! {
    #[test]
    fn mutated_descriptions_are_never_a_panic(kind in 0..KINDS.len(), at in 0usize..400, byte in 32u8..127, cut in 0usize..400) {
        let mut bytes = text(&[KINDS[kind].0]).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).expect("ASCII");
        let _ = build(&text);
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            let _ = Description::parse(&text[..cut.min(text.len())], format, "cut");
        }
    }
}
