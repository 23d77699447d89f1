//! Names of classes, and the best of an output's scores.

use std::io::Read;
use std::path::Path;

use avocet_ir::{DType, Tensor, TensorType};

/// The 1000 classes of ImageNet; the file says where it is from.
const IMAGENET: &str = include_str!("../../data/imagenet.txt");
/// Largest file of names.
const MOST_BYTES: u64 = 1 << 24;
/// How far probabilities may be from a sum of 1.
const TOLERANCE: f64 = 1e-3;

/// The names of ImageNet's classes.
pub fn imagenet() -> Vec<String> {
    parse(IMAGENET)
}

/// The names in a file, one a line; lines that start with # are comments.
pub fn read(path: &Path) -> std::io::Result<Vec<String>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<String> {
    let name = |line: &str| line.trim().chars().filter(|c| !c.is_control()).collect();
    text.lines().filter(|line| !line.starts_with('#')).map(name).collect()
}

/// Class and probability of the best classes of one picture.
pub type Ranking = Vec<(usize, f64)>;

/// Whether such an output has a score for each of so many classes: the last dimension that is not 1 is theirs.
pub fn has_scores(ty: &TensorType, classes: usize) -> bool {
    // [1,1000], but also [1,1000,1,1], as some networks give them.
    let width = ty.dims().iter().rev().find(|&&dim| dim != 1);
    ty.dtype == DType::F32 && classes > 1 && width == Some(&classes)
}

/// For each row of scores (all dimensions but the last that is not 1 count pictures) its best classes, the best first; and
/// whether the scores were probabilities already. Those that are not, logits, go through softmax. None when there are no
/// `classes` scores a row.
pub fn rank(scores: &Tensor, classes: usize, best: usize) -> Option<(Vec<Ranking>, bool)> {
    let data = scores.as_f32().filter(|_| has_scores(&scores.ty(), classes))?;
    let rows: Vec<Vec<f64>> =
        data.chunks_exact(classes).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
    let probabilities = rows.iter().all(|row| are_probabilities(row));
    let ranked = rows.into_iter().map(|row| {
        let row = if probabilities { row } else { softmax(&row) };
        let mut order: Vec<(usize, f64)> = row.into_iter().enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        order.truncate(best);
        order
    });
    Some((ranked.collect(), probabilities))
}

fn are_probabilities(row: &[f64]) -> bool {
    row.iter().all(|v| (0.0..=1.0 + TOLERANCE).contains(v))
        && (row.iter().sum::<f64>() - 1.0).abs() <= TOLERANCE
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|v| (v - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_names() {
        let names = imagenet();
        assert_eq!(
            (names.len(), &*names[0], &*names[285], &*names[999]),
            (1000, "tench", "Egyptian cat", "toilet tissue")
        );
    }

    #[test]
    fn logits_become_probabilities_and_probabilities_stay() {
        let tensor = |dims: &[usize], data: &[f32]| Tensor::f32(dims, data).expect("small");
        let (rows, already) = rank(&tensor(&[1, 3], &[0.0, 2.0f32.ln(), 0.0]), 3, 2).expect("scores");
        assert!(!already && rows.len() == 1 && rows[0].len() == 2);
        assert!(rows[0][0].0 == 1 && (rows[0][0].1 - 0.5).abs() < 1e-6);
        let (rows, already) = rank(&tensor(&[2, 2, 1, 1], &[0.25, 0.75, 1.0, 0.0]), 2, 1).expect("scores");
        assert!(already);
        assert_eq!(rows, [[(1, 0.75)], [(0, 1.0)]]);
        assert!(rank(&tensor(&[1, 3], &[0.0; 3]), 4, 1).is_none());
        // NaN is not in order, but no panic either.
        assert!(rank(&tensor(&[1, 2], &[f32::NAN, 1.0]), 2, 1).is_some());
    }
}
