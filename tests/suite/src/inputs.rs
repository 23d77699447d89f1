//! Inputs for example networks: a picture, and what decides which parts of a network are computed, so that each part is.

use avocet::{Model, Tensor};

/// A picture-like pattern, the same each time.
///
/// # Panics
/// When the dimensions are those of no tensor.
pub fn picture(dims: &[usize]) -> Tensor {
    let count = dims.iter().product::<usize>();
    let data: Vec<f32> = (0..count).map(|i| ((i * 7919 % 2003) as f32) / 1001.5 - 1.0).collect();
    Tensor::f32(dims, data).expect("an input's shape")
}

/// Several sets of all inputs: one for each exit and one for the whole network, one for each width and one beyond.
///
/// # Panics
/// When the model has an input that no description has.
pub fn sets(model: &Model) -> Vec<Vec<Tensor>> {
    let ports = model.inputs();
    let mut sets = vec![vec![picture(ports[0].ty.dims())]];
    for port in &ports[1..] {
        let values: Vec<Tensor> = match port.name.as_str() {
            "exit_thresholds" => {
                let count = port.ty.dims()[0];
                let taken =
                    |exit: usize| (0..count).map(|i| if i == exit { 0.0 } else { 1.5 }).collect::<Vec<_>>();
                (0..=count).map(|exit| Tensor::f32([count], taken(exit)).expect("its shape")).collect()
            }
            "width" => (0..5).map(|place| Tensor::i64([1], vec![place]).expect("its shape")).collect(),
            other => panic!("an input '{other}'"),
        };
        let with = |set: &Vec<Tensor>| {
            let one = |value: &Tensor| set.iter().chain([value]).cloned().collect::<Vec<_>>();
            values.iter().map(one).collect::<Vec<_>>()
        };
        sets = sets.iter().flat_map(with).collect();
    }
    sets
}
