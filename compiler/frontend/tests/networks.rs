//! Parameters and multiply-adds of the example networks against those of the models that they describe.
//!
//! The figures were measured with forward hooks on all convolutions and linear layers of the models of torchvision 0.29.2
//! and timm 1.0.31 (PyTorch 2.15.0), a multiply-add being one multiplication with its addition. Biases, normalisations
//! and pooling do not count. Both libraries publish the same parameters in their documentation.

use std::path::Path;

use avocet_frontend::arch::{BuildOptions, Description};
use avocet_ir::cost::costs;

/// A network with the figures of its model.
struct Row {
    /// Example without `.toml`.
    example: &'static str,
    /// Compound coefficient, where the description scales.
    phi: Option<u32>,
    parameters: u64,
    multiply_adds: MultiplyAdds,
    /// Where the figures are from.
    source: &'static str,
}

#[derive(Clone, Copy)]
enum MultiplyAdds {
    /// Measured: must be equal.
    Measured(u64),
    /// Published in millions: must be equal within 1 %.
    Millions(u64),
}

use MultiplyAdds::{Measured, Millions};

const fn row(
    example: &'static str,
    parameters: u64,
    multiply_adds: MultiplyAdds,
    source: &'static str,
) -> Row {
    Row { example, phi: None, parameters, multiply_adds, source }
}

const fn efficientnet(phi: u32, parameters: u64, multiply_adds: u64, source: &'static str) -> Row {
    Row {
        example: "efficientnet",
        phi: Some(phi),
        parameters,
        multiply_adds: Measured(multiply_adds),
        source,
    }
}

const NETWORKS: &[Row] = &[
    row("mobilenet_v1", 4_231_976, Measured(568_740_352), "timm mobilenetv1_100"),
    row("mobilenet_v2", 3_504_872, Measured(300_774_272), "torchvision mobilenet_v2"),
    row("mobilenet_v3_small", 2_542_856, Measured(56_510_400), "torchvision mobilenet_v3_small"),
    row("mobilenet_v3_large", 5_483_032, Measured(216_589_760), "torchvision mobilenet_v3_large"),
    efficientnet(0, 5_288_548, 385_814_752, "torchvision efficientnet_b0 at 224"),
    efficientnet(1, 7_794_184, 686_802_832, "torchvision efficientnet_b1 at 240"),
    efficientnet(2, 9_109_994, 993_561_872, "torchvision efficientnet_b2 at 260"),
    efficientnet(3, 12_233_232, 1_827_141_392, "torchvision efficientnet_b3 at 300"),
    efficientnet(4, 19_341_616, 4_393_771_024, "torchvision efficientnet_b4 at 380"),
    efficientnet(5, 30_389_784, 10_266_384_752, "torchvision efficientnet_b5 at 456"),
    efficientnet(6, 43_040_704, 19_067_593_536, "torchvision efficientnet_b6 at 528"),
    efficientnet(7, 66_347_960, 37_745_884_192, "torchvision efficientnet_b7 at 600"),
    row("efficientnet_lite0", 4_652_008, Measured(385_187_552), "timm tf_efficientnet_lite0"),
    row("mnasnet_a1", 3_887_038, Measured(311_579_072), "timm semnasnet_100"),
    row("shufflenet_v2_x1_0", 2_278_604, Measured(144_907_992), "torchvision shufflenet_v2_x1_0"),
    row("resnet18", 11_689_512, Measured(1_814_073_344), "torchvision resnet18"),
    row("resnet50", 25_557_032, Measured(4_089_184_256), "torchvision resnet50"),
    row("resnext50_32x4d", 25_028_904, Measured(4_230_479_872), "torchvision resnext50_32x4d"),
    row("squeezenet1_1", 1_235_496, Measured(349_151_936), "torchvision squeezenet1_1"),
    // Neither library has the mobile size: parameters of pretrainedmodels, multiply-adds of the paper.
    row("nasnet_a_mobile", 5_289_978, Millions(564), "pretrainedmodels nasnetamobile; Zoph et al. 2017"),
    // Without published figures to the unit. LR-ASPP's parameters are those of torchvision's; CBAM's paper has 11.78 million and
    // 1.815 billion multiply-adds. The others are to stay as they are: what any image may need, experts and widths all counted.
    row(
        "lraspp_mobilenet_v3_large",
        3_221_538,
        Measured(379_281_312),
        "counted here; torchvision's parameters",
    ),
    row("resnet18_cbam", 11_779_392, Measured(1_815_063_764), "counted here; near the paper's"),
    row("ds_cnn", 23_180, Measured(2_656_768), "counted here"),
    row("eca_mobilenet_v2", 3_504_903, Measured(300_777_952), "counted here"),
    row("skipnet_resnet50", 25_737_640, Measured(4_089_364_672), "counted here"),
    row("mobilenet_v2_moe", 9_981_872, Measured(347_335_104), "counted here"),
    row("mobilenet_v2_exits", 4_363_000, Measured(314_726_016), "counted here"),
    row("condconv_mobilenet_v1", 22_610_776, Measured(589_740_544), "counted here"),
    row("slimmable_mobilenet_v2", 9_787_104, Measured(300_774_272), "counted here"),
];

#[test]
fn parameters_and_multiply_adds_are_those_of_the_models() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for &Row { example, phi, parameters, multiply_adds, source } in NETWORKS {
        let file = folder.join(format!("{example}.toml"));
        let description = Description::from_file(file).unwrap_or_else(|e| panic!("{e}"));
        let options = BuildOptions { phi, ..BuildOptions::default() };
        let graph = description.build(&options).unwrap_or_else(|e| panic!("{e}"));
        let (_, total) = costs(&graph);
        let what = format!("{example} {phi:?} ({source})");
        assert_eq!(total.parameters, parameters, "parameters of {what}");
        match multiply_adds {
            Measured(expected) => assert_eq!(total.multiply_adds, expected, "multiply-adds of {what}"),
            Millions(millions) => {
                let (got, expected) = (total.multiply_adds, millions * 1_000_000);
                assert!(got.abs_diff(expected) * 100 <= expected, "{got} multiply-adds of {what}");
            }
        }
    }
}

#[test]
fn every_example_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in std::fs::read_dir(folder).expect("the examples").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(example) = name.strip_suffix(".toml") {
            assert!(NETWORKS.iter().any(|row| row.example == example), "{name} has no figures here");
        }
    }
}
