use proptest::prelude::*;

use super::*;

const V3: &str = include_str!("../data/x86-64-v3.toml");

#[test]
fn every_built_in_target_reads_and_is_named_as_its_file() {
    for (name, _) in BUILT_IN {
        let target = Target::by_name(name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(target.name, *name);
        assert_eq!(Target::from_toml(&target.to_toml(), "printed").as_ref(), Ok(&target));
    }
}

#[test]
fn the_host_reads_back() {
    let host = Target::host();
    assert_eq!(Target::from_toml(&host.to_toml(), "printed").as_ref(), Ok(&host));
    assert_eq!(Target::by_name("host"), Ok(host));
}

#[test]
fn lanes_follow_the_widest_vector_allowed() {
    let target = Target::by_name("x86-64-v4").expect("built in");
    assert_eq!([64, 128, 256, 512, 4096].map(|bits| target.f32_lanes(bits)), [1, 4, 8, 16, 16]);
}

#[test]
fn an_unknown_name_lists_the_known() {
    let error = Target::by_name("z80").expect_err("not built in");
    assert_eq!(error.to_string(), "there is no target 'z80'; known are: host, x86-64, x86-64-v3, x86-64-v4");
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (from, to, line, problem) in [
        ("version = 1", "version = 2", 1, "version 2 is not known here, only 1"),
        ("name = \"x86-64-v3\"", "name = \"\"", 2, "the name must be one word"),
        (
            "x86_64-unknown-linux-gnu",
            "abacus",
            4,
            "'abacus' is not a target triple: Unrecognized architecture: abacus",
        ),
        (
            "bits = [128, 256]",
            "bits = [128, 100]",
            10,
            "vector width 100: expected ascending powers of two from 64 to 2048",
        ),
        ("registers = 16", "registers = 1000", 11, "registers is 1000, expected 0 to 128"),
        ("loads = 2", "loads = 0", 21, "loads is 0, expected 1 to 16"),
    ] {
        assert!(V3.contains(from), "{from}");
        let error = Target::from_toml(&V3.replace(from, to), "my.toml").expect_err(problem);
        assert_eq!(error.to_string(), format!("my.toml:{line}: {problem}"));
    }
    let unknown = V3.replace("fma = true", "fma = true\nfmaa = true");
    let error = Target::from_toml(&unknown, "my.toml").expect_err("unknown key").to_string();
    assert!(error.starts_with("my.toml:13: unknown field `fmaa`"), "{error}");
    let feature = V3.replace("\"avx2\"", "\"avx3\"");
    let error = Target::from_toml(&feature, "my.toml").expect_err("unknown feature").to_string();
    assert!(error.starts_with("my.toml:6: x86_64 has no feature 'avx3'; known are: avx, "), "{error}");
}

proptest! {
    #[test]
    fn mutated_text_is_never_a_panic(position in 0..V3.len(), byte in 0u8..128, cut in 0..V3.len()) {
        let mut bytes = V3.as_bytes().to_vec();
        bytes[position] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = Target::from_toml(text, "mutated");
            let _ = Target::from_toml(text.get(..cut).unwrap_or_default(), "cut");
        }
    }
}
