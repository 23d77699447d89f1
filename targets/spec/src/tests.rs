use proptest::prelude::*;

use super::*;

const V3: &str = include_str!("../data/x86-64-v3.toml");

/// The error of a description, without its origin.
fn error(text: &str) -> String {
    let error = Target::from_toml(text, "my.toml").expect_err(text).to_string();
    error.strip_prefix("my.toml:").expect("the origin comes first").to_owned()
}

/// The error after a change of V3.
fn error_with(from: &str, to: &str) -> String {
    assert_eq!(V3.matches(from).count(), 1, "'{from}' is there once");
    error(&V3.replace(from, to))
}

#[test]
fn every_built_in_target_reads_and_is_named_as_its_file() {
    for (name, _) in BUILT_IN {
        let target = Target::by_name(name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(target.name, *name);
        assert_eq!(Target::from_toml(&target.to_toml(), "printed").as_ref(), Ok(&target));
    }
}

#[test]
fn every_file_is_built_in() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<String> =
        files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    let mut built_in: Vec<String> = BUILT_IN.iter().map(|(name, _)| format!("{name}.toml")).collect();
    built_in.sort();
    assert_eq!(files, built_in);
}

#[test]
fn the_levels_of_x86_include_each_other() {
    let levels = ["x86-64", "x86-64-v3", "x86-64-v4"].map(|name| Target::by_name(name).expect("built in"));
    assert!(levels.is_sorted_by(|less, more| less.features.is_subset(&more.features)));
    assert_eq!(levels.each_ref().map(|t| t.has_feature("avx2")), [false, true, true]);
    assert_eq!(levels.each_ref().map(|t| t.has_feature("avx512f")), [false, false, true]);
}

#[test]
fn the_host_reads_back() {
    let host = Target::host();
    assert_eq!(Target::from_toml(&host.to_toml(), "printed").as_ref(), Ok(&host));
    assert_eq!(Target::by_name("host"), Ok(host));
}

#[test]
fn lanes_follow_the_widest_vector_allowed() {
    let mut target = Target::by_name("x86-64-v4").expect("built in");
    assert_eq!([0, 64, 128, 256, 300, 512, u32::MAX].map(|b| target.f32_lanes(b)), [1, 1, 4, 8, 8, 16, 16]);
    target.vector.bits.clear();
    assert_eq!(target.f32_lanes(512), 1);
}

#[test]
fn an_unknown_name_lists_the_known_and_suggests_the_nearest() {
    let known = format!("known are: {}", Target::names().join(", "));
    for (name, suggestion) in [
        ("z80", ""),
        ("", ""),
        ("x86_64", ", did you mean 'x86-64'?"),
        ("x86-64-v33", ", did you mean 'x86-64-v3'?"),
        ("hots", ""),
        ("Host", ", did you mean 'host'?"),
    ] {
        let error = Target::by_name(name).expect_err("not built in");
        assert_eq!(error.to_string(), format!("there is no target '{name}'{suggestion}; {known}"));
    }
    assert!(Target::by_name(&"x".repeat(1 << 20)).is_err());
}

#[test]
fn a_target_shows_its_name() {
    let target = Target::by_name("x86-64").expect("built in");
    assert_eq!(target.to_string(), "x86-64 (Any 64-bit x86 processor: SSE2)");
}

#[test]
fn numbers_out_of_range_are_named_with_their_line() {
    for (from, to, expected) in [
        ("version = 1", "version = 2", "1: version 2 is not known here, only 1"),
        ("version = 1", "version = 2\ncolour = 3", "1: version 2 is not known here, only 1"),
        ("registers = 16", "registers = 0", "11: registers is 0, expected 1 to 128"),
        ("registers = 16", "registers = 1000", "11: registers is 1000, expected 1 to 128"),
        (
            "registers = 16",
            "registers = 3",
            "11: registers is 3, but this architecture has 16 or 32 vector registers",
        ),
        ("l1d = 32768", "l1d = 32", "16: l1d is 32; sizes are in bytes, 1024 or more, or 0 for none"),
        ("l1d = 32768", "l1d = 32800", "16: l1d is 32800, which is not a whole number of lines of 64 bytes"),
        ("l1d = 32768", "l1d = 33554432", "17: l2 is 262144, less than l1d with 33554432"),
        (
            "version = 1",
            "version = 1\npower_milliwatts = 0",
            "2: power_milliwatts is 0, expected 1 to 2000000",
        ),
        (
            "version = 1",
            "version = 1\nsources = [\"a\\u0007\"]",
            "2: a source must be one line, without control codes",
        ),
        ("l1d = 32768", "l1d = 2_000_000_000", "16: l1d is 2000000000, expected 0 to 1073741824"),
        ("l2 = 262144", "l2 = 2_000_000_000", "17: l2 is 2000000000, expected 0 to 1073741824"),
        ("l2 = 262144", "l3 = 2_000_000_000", "17: l3 is 2000000000, expected 0 to 1073741824"),
        (
            "line = 64",
            "line = 48",
            "15: line is 48, expected a power of two, 8 to 1024, or 0 if there is no cache",
        ),
        (
            "line = 64",
            "line = 0",
            "15: line is 0, expected a power of two, 8 to 1024, or 0 if there is no cache",
        ),
        ("multiply_add = 2", "multiply_add = 17", "20: multiply_add is 17, expected 1 to 16"),
        ("loads = 2", "loads = 0", "21: loads is 0, expected 1 to 16"),
        ("version = 1", "version = 1\ncores = 0", "2: cores is 0, expected 1 to 4096"),
        (
            "version = 1",
            "version = 1\nfrequency_mhz = 3000000",
            "2: frequency_mhz is 3000000, expected 1 to 20000",
        ),
    ] {
        assert_eq!(error_with(from, to), expected);
    }
}

#[test]
fn words_are_checked() {
    let name = "2: the name must be 1 to 64 ASCII letters, digits, '-', '_' or '.'";
    for wrong in ["", "two words", "../up", "naïve", &"x".repeat(65)] {
        assert_eq!(error_with("name = \"x86-64-v3\"", &format!("name = \"{wrong}\"")), name);
    }
    assert_eq!(
        error_with("x86 with", "x86\\u001b[2J with"),
        "3: the description must be one line, without control codes"
    );
    assert_eq!(
        error_with("x86_64-unknown-linux-gnu", "abacus"),
        "4: 'abacus' is not a target triple: Unrecognized architecture: abacus"
    );
}

#[test]
fn vectors_are_checked() {
    let bits = |list: &str| error_with("bits = [128, 256]", &format!("bits = {list}"));
    for (list, width) in [
        ("[128, 100]", 100),
        ("[32]", 32),
        ("[4096]", 4096),
        ("[256, 128]", 128),
        ("[128, 128]", 128),
        ("[0]", 0),
    ] {
        assert_eq!(
            bits(list),
            format!("10: vector width {width}: expected ascending powers of two, 64 to 2048")
        );
    }
    assert_eq!(bits("[\n128,\n512]"), "12: vectors of 512 bits need the feature 'avx512f', which is missing");
    assert_eq!(bits("[1024]"), "10: this architecture has no vectors of 1024 bits");
    assert_eq!(bits("[]"), "11: without vectors (bits = []) registers must be 0");
    assert_eq!(
        error_with("registers = 16", "registers = 32"),
        "11: 32 registers need the feature 'avx512vl', which is missing"
    );
    assert_eq!(error_with("\"fma\", ", ""), "12: fma needs the feature 'fma', which is missing");
}

#[test]
fn features_are_checked() {
    let unknown = error_with("\"avx2\"", "\"avx3\"");
    assert!(unknown.starts_with("6: x86_64 has no feature 'avx3'; known are: avx, avx2, "), "{unknown}");
    assert_eq!(error_with("\"avx2\"", "\"sse2\""), "6: feature 'sse2' is here twice");
    assert_eq!(error_with("\"sse4.2\", ", ""), "6: feature 'avx' implies 'sse4.2', which is missing");
    assert_eq!(
        error_with("x86_64-unknown-linux-gnu", "s390x-unknown-linux-gnu"),
        "6: s390x has no feature 'sse'; known are: none"
    );
}

#[test]
fn keys_and_types_are_checked() {
    let with = |line: &str| error(&V3.replace("fma = true", line));
    assert!(with("fma = true\nfmaa = true").starts_with("13: unknown field `fmaa`"));
    assert!(with("fma = 1").starts_with("12: invalid type: integer `1`, expected a boolean"));
    assert!(with("fma = true\nfma = true").starts_with("13: duplicate key"));
    assert!(with("fma =").starts_with("12: "));
    assert!(error("").starts_with("1: missing field `version`"));
    assert!(error("version = -1").starts_with("1: invalid value: integer `-1`, expected u32"));
    for key in ["name", "description", "triple", "bits", "registers", "fma", "line", "multiply_add", "loads"]
    {
        let text: String = V3
            .lines()
            .filter(|l| !l.starts_with(&format!("{key} =")))
            .fold(String::new(), |text, line| text + line + "\n");
        let error = error(&text);
        assert!(error.contains(&format!("missing field `{key}`")), "{error}");
    }
}

#[test]
fn a_text_of_any_size_is_refused_before_it_is_read() {
    let text = format!("{V3}#{}", "x".repeat(limits::TEXT));
    let expected = format!("1: the text has {} bytes, expected at most 65536", text.len());
    assert_eq!(error(&text), expected);
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let nested = format!("version = 1\nname = {}1{}", open.repeat(10_000), close.repeat(10_000));
        assert!(error(&nested).starts_with("2: "));
    }
}

/// The schema as other architectures would use it.
#[test]
fn other_architectures_need_no_other_schema() {
    let arm = "version = 1\nname = \"cortex-a76\"\ndescription = \"Arm Cortex-A76\"\n\
        triple = \"aarch64-unknown-linux-gnu\"\nfeatures = [\"neon\", \"fp16\", \"dotprod\"]\n\
        frequency_mhz = 2400\ncores = 4\n\
        [vector]\nbits = [128]\nregisters = 32\nfma = true\n\
        [caches]\nline = 64\nl1d = 65536\nl2 = 524288\nl3 = 2097152\n[issue]\nmultiply_add = 2\nloads = 2\n";
    let riscv = "version = 1\nname = \"rva23\"\ndescription = \"RISC-V with V\"\n\
        triple = \"riscv64gc-unknown-linux-gnu\"\nfeatures = [\"f\", \"d\", \"v\", \"zvl128b\", \"zvl256b\"]\n\
        [vector]\nbits = [128, 256]\nregisters = 32\nfma = true\n\
        [caches]\nline = 64\nl1d = 32768\n[issue]\nmultiply_add = 1\nloads = 1\n";
    let microcontroller = "version = 1\nname = \"cortex-m4\"\ndescription = \"Arm Cortex-M4F, no cache\"\n\
        triple = \"thumbv7em-none-eabihf\"\nfeatures = []\n\
        [vector]\nbits = []\nregisters = 0\nfma = true\n\
        [caches]\nline = 0\n[issue]\nmultiply_add = 1\nloads = 1\n";
    for (text, lanes) in [(arm, 4), (riscv, 8), (microcontroller, 1)] {
        let target = Target::from_toml(text, "other").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(target.f32_lanes(u32::MAX), lanes);
        assert_eq!(Target::from_toml(&target.to_toml(), "printed"), Ok(target));
    }
}

/// An edit of a text: a place, how many bytes go, and what comes instead.
fn edit() -> impl Strategy<Value = (usize, usize, String)> {
    let token = prop_oneof![
        "[ -~\n]{0,3}",
        "-?[0-9]{1,20}",
        prop::sample::select(vec!["[", "]", "\"", "\n", "=", "1e999", "\u{0}", "é", "nan", "\"\"\""])
            .prop_map(str::to_owned),
    ];
    (0..V3.len(), 0usize..8, token)
}

proptest! {
    /// Whatever the text is, there is no panic, an error is at a line of the text, and what reads also reads back.
    #[test]
    fn mutated_text_is_an_error_or_reads_back(edits in prop::collection::vec(edit(), 1..4), cut in 0..2 * V3.len()) {
        let mut bytes = V3.as_bytes().to_vec();
        for (start, gone, token) in edits {
            let start = start.min(bytes.len());
            let end = (start + gone).min(bytes.len());
            bytes.splice(start..end, token.bytes());
        }
        bytes.truncate(cut);
        let text = String::from_utf8_lossy(&bytes);
        match Target::from_toml(&text, "mutated") {
            Ok(target) => prop_assert_eq!(Target::from_toml(&target.to_toml(), "printed"), Ok(target)),
            Err(TargetError::Invalid { line, .. }) => {
                prop_assert!((1..=1 + text.matches('\n').count()).contains(&line));
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    /// Valid numbers in every field, so that the property above isn't only about errors.
    #[test]
    fn any_valid_numbers_read_back(
        (cores, frequency_mhz) in (prop::option::of(limits::CORES), prop::option::of(limits::FREQUENCY_MHZ)),
        (power_milliwatts, sources) in
            (prop::option::of(limits::POWER_MILLIWATTS), prop::collection::vec("[ -~é]{0,20}", 0..3)),
        (first, second, third) in (0u32..=1 << 10, 0u32..=1 << 10, 0u32..=1 << 10),
        (line, registers) in (3u32..=10, prop::sample::select(vec![16u32, 32])),
        (multiply_add, loads) in (limits::ISSUE, limits::ISSUE),
    ) {
        let target = Target {
            vector: Vector { bits: vec![128, 256, 512], registers, fma: true },
            caches: Caches {
                line: 1 << line,
                l1d: first << 10,
                l2: (first + second) << 10,
                l3: (first + second + third) << 10,
            },
            issue: Issue { multiply_add, loads },
            cores,
            frequency_mhz,
            power_milliwatts,
            sources,
            ..Target::by_name("x86-64-v4").expect("built in")
        };
        prop_assert_eq!(Target::from_toml(&target.to_toml(), "printed"), Ok(target));
    }
}
