//! Tests of descriptions: what they mean, and what is said about mistakes in them.

use avocet_ir::cost::costs;
use proptest::prelude::*;

use super::*;

mod conditional;

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
    ("type = \"conv\", out = 8, kernel = [10, 4], stride = [2, 1], padding = \"same\"", &[1, 8, 8, 16]),
    ("type = \"conv\", out = 8, norm = false, bias = false", &[1, 8, 16, 16]),
    ("type = \"resize\", factor = 2", &[1, 4, 32, 32]),
    ("type = \"resize\", like = \"input\", mode = \"nearest\"", &[1, 4, 16, 16]),
    ("type = \"global_pool\", keep = true", &[1, 4, 1, 1]),
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
    ("type = \"cbam\", cbam = { reduction = 2, kernel = 3, norm = false }", &[1, 4, 16, 16]),
    ("type = \"eca\"", &[1, 4, 16, 16]),
    ("type = \"basic\", out = 4, cbam = {}", &[1, 4, 16, 16]),
    ("type = \"mbconv\", out = 8, stride = 2, eca = { kernel = 5 }", &[1, 8, 8, 8]),
    ("type = \"condconv\", out = 6, experts = 3, kernel = 3, stride = 2, groups = 2", &[1, 6, 8, 8]),
    ("type = \"skip_gate\", hidden = 3, body = [{ type = \"basic\", out = 4 }]", &[1, 4, 16, 16]),
    (
        "type = \"moe\", experts = 5, top_k = 2, body = [{ type = \"conv\", out = 6, stride = 2 }], repeat = 2",
        &[1, 6, 4, 4],
    ),
    // It gives nothing to what follows, so there is no network of it alone.
    ("type = \"early_exit\", classes = 1024, body = []", &[]),
];

#[test]
fn every_kind_of_block() {
    for (block, shape) in KINDS.iter().filter(|(_, shape)| !shape.is_empty()) {
        let cell = "\n[cells.c]\ncombine = [[\"separable3\", \"current\", \"max3\", \"previous\"], [\"average3\", \"0\", \"identity\", \"0\"]]\nconcat = [\"0\", \"1\"]\n";
        let graph = build(&(text(&[block]) + cell)).unwrap_or_else(|e| panic!("{block}: {e}"));
        assert_eq!(graph.ty(graph.outputs()[0].value).dims(), *shape, "{block}");
    }
}

#[test]
fn the_documentation_lists_the_keys_of_each_kind() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/description.md");
    let documentation = std::fs::read_to_string(path).expect("the documentation");
    for (block, _) in KINDS {
        let description = Description::parse(&text(&[block]), Format::Toml, "net").expect("valid");
        let kind = description.file.blocks[0].kind;
        // The row of mbconv refers to the one above it.
        let named = if kind == schema::Kind::Mbconv { schema::Kind::InvertedResidual } else { kind };
        let row = documentation.lines().find(|line| line.starts_with(&format!("| `{}` |", named.name())));
        let row = row.unwrap_or_else(|| panic!("{} has no row", named.name()));
        let keys = row.split('|').nth(2).expect("a column of keys");
        let mut listed: Vec<&str> = keys.split('`').skip(1).step_by(2).collect();
        let mut expected = kind.keys().to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected, "{}", kind.name());
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
            vec![
                "type = \"global_pool\"",
                "type = \"dense\", out = 131072",
                "type = \"dense\", out = 131072",
            ],
            "net.toml:7: block 3 (dense): 'blocks.2.weight' brings the network over",
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
        (
            vec!["type = \"conv\", out = 6, groups = 4"],
            "net.toml:5: block 1 (conv): 4 groups do not divide 4 input and 6 output channels",
        ),
        (
            vec!["type = \"mbconv\", out = 8, expand = 6, hidden = 8"],
            "net.toml:5: block 1 (mbconv): 'hidden' and 'expand' exclude each other",
        ),
        (
            vec!["type = \"mbconv\", out = 8, residual = true"],
            "net.toml:5: block 1 (mbconv): f32[1,8,16,16] and f32[1,4,16,16] can't be added",
        ),
        (
            vec!["type = \"mbconv\", out = 8, se = { ratio = nan }"],
            "net.toml:5: block 1 (mbconv): se.ratio must be from 0 to 16",
        ),
        (
            vec!["name = \"a\", type = \"conv\", out = 8", "name = \"a\", type = \"conv\", out = 8"],
            "net.toml:6: block 2 (conv): there is a tensor 'a.conv.weight' already",
        ),
        (vec!["name = \"\", type = \"dropout\""], "net.toml:5: block 1 (dropout): '' is no name"),
        (vec!["name = \"a\\nb\", type = \"dropout\""], "net.toml:5: block 1 (dropout): 'a\\nb' is no name"),
        (vec![], "net.toml:1: there are no blocks"),
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
    assert_eq!(error(&zero), "net.toml:3: the input [1, 4, 0, 16] has a dimension of size zero");
    let huge = text(&[conv]).replace("height = 16", "height = 9999999999999");
    assert_eq!(error(&huge), "net.toml:3: the input's size is 9999999999999, expected 1 to 65536");
}

#[test]
fn mistakes_beside_the_blocks_point_at_their_line() {
    let good = text(&["type = \"conv\", out = 8"]);
    let compound = |keys: &str| format!("{good}[compound]\nalpha = 1.2\nbeta = 1.1\ngamma = 1.15\n{keys}\n");
    for (text, expected) in [
        (good.replace("version = 1", "\nversion = 2"), "net.toml:2: version 2 is not known here, only 1"),
        (good.replace("channels = 4", "channels = 999999"), "net.toml:3: the input's channels is 999999"),
        (
            good.clone() + "[defaults]\nepsilon = nan\n",
            "net.toml:7: defaults.epsilon is NaN, expected 0 to 1",
        ),
        (good.clone() + "[defaults]\nepsilon = -1e-3\n", "net.toml:7: defaults.epsilon is -0.001"),
        (compound("phi = 21"), "net.toml:7: phi is 21, expected 0 to 20"),
        (compound("divisor = 0"), "net.toml:7: compound.divisor is 0, expected 1 to 1024"),
        (compound("").replace("1.15", "inf"), "net.toml:7: compound.gamma is inf, expected 1 to 4"),
        (compound("gama = 1.0"), "net.toml:11: unknown field `gama`"),
    ] {
        let got = error(&text);
        assert!(got.starts_with(expected), "{got}\nexpected: {expected}");
    }
}

#[test]
fn cells_with_mistakes() {
    for (cell, expected) in [
        ("combine = []\nconcat = [\"current\"]", "pairs of the cell is 0, expected 1 to 64"),
        (
            "combine = [[\"identity\", \"current\", \"identity\", \"0\"]]\nconcat = [\"0\"]",
            "'0' is no state here; expected current, previous or a number below 0",
        ),
        (
            "combine = [[\"identity\", \"current\", \"max9\", \"current\"]]\nconcat = [\"0\"]",
            "there is no operation 'max9'; known are: separable3",
        ),
        (
            "combine = [[\"identity\", \"current\", \"max3\", \"current\"]]\nconcat = []",
            "the cell's 'concat' names no state",
        ),
    ] {
        let blocks = text(&["type = \"cell\", cell = \"c\", out = 4"]);
        let got = error(&format!("{blocks}[cells.c]\n{cell}\n"));
        let expected = format!("net.toml:5: block 1 (cell): {expected}");
        assert!(got.starts_with(&expected), "{got}\nexpected: {expected}");
    }
}

#[test]
fn compound_scaling_widens_what_is_inside_too() {
    let compound = "[compound]\nphi = 1\nalpha = 2\nbeta = 2\ngamma = 2\n";
    let scaled = text(&[
        "type = \"bottleneck\", name = \"a\", out = 16, hidden = 8, repeat = 2",
        "type = \"fire\", name = \"b\", out = 16, squeeze = 8",
        "type = \"basic\", name = \"c\", out = 16, scale = false, repeat = 1",
    ]);
    let graph = build(&(scaled + compound)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(graph.ty(graph.outputs()[0].value).dims(), [1, 16, 32, 32]);
    let dims = |name: &str| {
        let node = graph.topological().expect("no cycle").into_iter().find(|&id| graph.node(id).name == name);
        node.map(|id| graph.node(id).outputs[0].dims().to_vec())
    };
    assert_eq!(dims("a.3.spatial.conv.weight"), Some(vec![16, 16, 3, 3]));
    assert_eq!(dims("a.4.spatial.conv.weight"), None);
    assert_eq!(dims("b.squeeze.conv.weight"), Some(vec![16, 32, 1, 1]));
    assert_eq!(dims("c.0.second.conv.weight"), Some(vec![16, 16, 3, 3]));
    assert_eq!(dims("c.1.second.conv.weight"), None);
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

#[test]
fn branches_meet_again() {
    let blocks = [
        "type = \"conv\", out = 6, stride = 2, save = \"low\"",
        "type = \"conv\", out = 8, stride = 2, save = \"high\"",
        "type = \"global_pool\", keep = true",
        "type = \"conv\", out = 6, kernel = 1, norm = false, bias = false, activation = \"sigmoid\", save = \"gate\"",
        "type = \"conv\", from = \"high\", out = 6, kernel = 1, mul = \"gate\"",
        "type = \"resize\", like = \"low\", concat = \"low\"",
        "type = \"resize\", like = \"input\"",
    ];
    let graph = build(&text(&blocks)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(graph.ty(graph.outputs()[0].value).dims(), [1, 12, 16, 16]);

    let told = |block: &str| error(&text(&["type = \"conv\", out = 6, stride = 2, save = \"low\"", block]));
    for (block, expected) in [
        (
            "type = \"conv\", out = 6, from = \"here\"",
            "net.toml:6: block 2 (conv): nothing was saved as 'here' before",
        ),
        ("type = \"conv\", out = 5, mul = \"low\"", "f32[1,5,8,8] and f32[1,6,8,8] can't be multiplied"),
        ("type = \"resize\", factor = 2, concat = \"low\"", "net.toml:6: "),
        ("type = \"resize\"", "either a key 'like'"),
        ("type = \"resize\", factor = 99", "factor is 99, expected 1 to 64"),
        ("type = \"conv\", out = 6, kernel = [3]", "a pair of sizes for rows and columns"),
        ("type = \"conv\", out = 6, kernel = [3, 3, 3]", "a pair of sizes for rows and columns"),
        ("type = \"conv\", out = 6, kernel = -1", "a size, or a pair of sizes"),
        ("type = \"conv\", out = 6, kernel = \"3\"", "a size, or a pair of sizes"),
        ("type = \"conv\", out = 6, kernel = [2000, 3]", "kernel is 2000, expected 1 to 1024"),
    ] {
        let error = told(block);
        assert!(error.contains(expected), "{block}: {error}");
    }
}
