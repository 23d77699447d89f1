//! Names of a model's inputs and outputs as constants of C and Rust: `MODEL_INPUT_IMAGE`, `input::IMAGE`.

use std::collections::BTreeSet;

use avocet_ir::program::Port;

/// What C headers define under the same prefix.
const RESERVED: &str = "COUNT";
/// Longest name before a number is added to it.
const MOST: usize = 60;

/// For each port a name of capitals, digits and single underscores, no two the same and none beginning with a digit. What is
/// no letter or digit becomes an underscore; where that leaves two the same, the later has its number added.
pub(crate) fn constants(ports: &[Port]) -> Vec<String> {
    constants_of(ports.iter().map(|port| port.name.as_str()))
}

/// The same for any names.
pub(crate) fn constants_of<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut used = BTreeSet::from([RESERVED.to_string()]);
    let constant = |(number, name): (usize, &str)| {
        let mut constant = identifier(name);
        while !used.insert(constant.clone()) {
            constant = format!("{constant}_{number}");
        }
        constant
    };
    names.enumerate().map(constant).collect()
}

fn identifier(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut out: String = words.collect::<Vec<_>>().join("_").to_ascii_uppercase();
    out.truncate(MOST);
    let out = out.trim_end_matches('_');
    // `MODEL_INPUT_0_BYTES` and the like are the header's own.
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("TENSOR_{out}").trim_end_matches('_').to_string();
    }
    out.to_string()
}

#[cfg(test)]
mod tests {
    use avocet_ir::TensorType;

    use super::*;

    #[test]
    fn every_name_becomes_one_of_its_own() {
        let names = ["image", "Image", "/model/out:0", "0", "", "naïve", "count", "image_1", "--", "0_BYTES"];
        let ty = TensorType::f32([1]).expect("small");
        let ports: Vec<Port> =
            names.iter().map(|name| Port { name: (*name).into(), ty: ty.clone() }).collect();
        assert_eq!(
            constants(&ports),
            [
                "IMAGE",
                "IMAGE_1",
                "MODEL_OUT_0",
                "TENSOR_0",
                "TENSOR",
                "NA_VE",
                "COUNT_6",
                "IMAGE_1_7",
                "TENSOR_8",
                "TENSOR_0_BYTES"
            ]
        );
    }
}
