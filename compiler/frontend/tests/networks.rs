//! Parameters and multiply-adds of the example networks against published figures.

use std::path::Path;

use avocet_frontend::arch::{BuildOptions, Description};
use avocet_ir::cost::costs;

/// torchvision documents the parameters of each of its models (`num_params`) and its multiply-adds (`_ops`, in billions).
const TORCHVISION: &str = "torchvision's documentation of the model's weights";

/// File, phi, parameters, multiply-adds in millions with the tolerance of the published figure, source.
type Row = (&'static str, u32, u64, f64, f64, &'static str);

const NETWORKS: &[Row] = &[
    ("mobilenet_v1", 0, 4_231_976, 569.0, 0.01, "timm mobilenetv1_100; 569 M in Howard et al. 2017, table 8"),
    ("mobilenet_v2", 0, 3_504_872, 300.0, 0.01, "torchvision; 300 M in Sandler et al. 2018, table 4"),
    ("mobilenet_v3_small", 0, 2_542_856, 56.0, 0.02, "torchvision; 56 M in Howard et al. 2019, table 4"),
    ("mobilenet_v3_large", 0, 5_483_032, 219.0, 0.02, "torchvision; 219 M in Howard et al. 2019, table 3"),
    (
        "efficientnet",
        0,
        5_288_548,
        390.0,
        0.02,
        "torchvision efficientnet_b0; 0.39 B in Tan and Le 2019, table 2",
    ),
    ("efficientnet", 1, 7_794_184, 700.0, 0.02, "torchvision efficientnet_b1; 0.70 B ibid."),
    ("efficientnet", 2, 9_109_994, 1000.0, 0.02, "torchvision efficientnet_b2; 1.0 B ibid."),
    ("efficientnet", 3, 12_233_232, 1800.0, 0.02, "torchvision efficientnet_b3; 1.8 B ibid."),
    (
        "efficientnet",
        4,
        19_341_616,
        4200.0,
        0.05,
        "torchvision efficientnet_b4; 4.2 B ibid., 4.39 in torchvision",
    ),
    (
        "efficientnet",
        5,
        30_389_784,
        9900.0,
        0.05,
        "torchvision efficientnet_b5; 9.9 B ibid., 10.27 in torchvision",
    ),
    ("efficientnet", 6, 43_040_704, 19_000.0, 0.02, "torchvision efficientnet_b6; 19 B ibid."),
    ("efficientnet", 7, 66_347_960, 37_000.0, 0.03, "torchvision efficientnet_b7; 37 B ibid."),
    (
        "efficientnet_lite0",
        0,
        4_652_008,
        407.0,
        0.06,
        "timm efficientnet_lite0; 407 M in TensorFlow's README, which counts additions of biases",
    ),
    ("mnasnet_a1", 0, 3_887_038, 312.0, 0.01, "timm semnasnet_100; 312 M in Tan et al. 2018, table 1"),
    ("shufflenet_v2_x1_0", 0, 2_278_604, 146.0, 0.01, "torchvision; 146 M in Ma et al. 2018, table 8"),
    ("resnet18", 0, 11_689_512, 1814.0, 0.001, TORCHVISION),
    ("resnet50", 0, 25_557_032, 4089.0, 0.001, TORCHVISION),
    ("resnext50_32x4d", 0, 25_028_904, 4230.0, 0.001, TORCHVISION),
    ("squeezenet1_1", 0, 1_235_496, 349.0, 0.001, TORCHVISION),
    (
        "nasnet_a_mobile",
        0,
        5_289_978,
        564.0,
        0.001,
        "pretrainedmodels nasnetamobile; 564 M in Zoph et al. 2017, table 2",
    ),
];

#[test]
fn parameters_and_multiply_adds_are_those_published() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for &(name, phi, parameters, millions, tolerance, source) in NETWORKS {
        let description =
            Description::from_file(folder.join(format!("{name}.toml"))).unwrap_or_else(|e| panic!("{e}"));
        let phi = (name == "efficientnet").then_some(phi);
        let options = BuildOptions { phi, ..BuildOptions::default() };
        let graph = description.build(&options).unwrap_or_else(|e| panic!("{e}"));
        let (_, total) = costs(&graph);
        assert_eq!(total.parameters, parameters, "{name} {phi:?} ({source})");
        let measured = total.multiply_adds as f64 / 1e6;
        let off = (measured - millions).abs() / millions;
        assert!(off <= tolerance, "{name} {phi:?}: {measured:.1} M multiply-adds, {millions} M in {source}");
    }
}
