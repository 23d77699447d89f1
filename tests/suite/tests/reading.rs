//! Text in a picture, found and read by trained networks (PP-OCRv6) end to end, by avocet as by ONNX Runtime.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use avocet::data::picture::Picture;
use avocet::data::prepare::{Normalization, Preparation, Resizing, prepare};
use avocet::{LoadOptions, Model, Options, Target, Tensor, TensorType};
use avocet_tests::compare::assert_close;
use avocet_tests::oracle::{Page, RunOptions, oracle};

const TOLERANCE: f64 = 1e-4;
/// From which probability on a pixel is text.
const TEXT: f32 = 0.3;
/// The network draws text smaller than it is: a line grows by its area over its circumference times this.
const GROWTH: f64 = 1.6;
/// Height and width of a line as it is read.
const LINE_SIZE: [usize; 2] = [48, 480];

/// Whoever runs networks.
trait Engine {
    fn run(&self, model: &Path, input: &Tensor) -> Tensor;
}

struct Avocet;
struct OnnxRuntime;

/// Sizes for the open dimensions of the text networks: batch, height (of a line it is fixed), width.
fn open_dimensions(input: &Tensor) -> BTreeMap<String, usize> {
    let dims = input.shape().dims();
    let open: &[usize] =
        if dims[2] == LINE_SIZE[0] { &[dims[0], dims[3]] } else { &[dims[0], dims[2], dims[3]] };
    open.iter().enumerate().map(|(i, &size)| (format!("DynamicDimension.{i}"), size)).collect()
}

impl Engine for Avocet {
    fn run(&self, model: &Path, input: &Tensor) -> Tensor {
        let options = LoadOptions { dims: open_dimensions(input), ..LoadOptions::default() };
        let model = Model::open(model, &options).unwrap_or_else(|e| panic!("{e}"));
        let artifact = model.compile(&Target::host(), &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let compiled = artifact.jit().unwrap_or_else(|e| panic!("{e}"));
        compiled.run(std::slice::from_ref(input)).unwrap_or_else(|e| panic!("{e}")).remove(0)
    }
}

impl Engine for OnnxRuntime {
    fn run(&self, model: &Path, input: &Tensor) -> Tensor {
        let inputs = std::slice::from_ref(input);
        oracle().run_onnx(model, inputs, &RunOptions::default()).unwrap().remove(0).tensor
    }
}

fn models() -> [PathBuf; 2] {
    ["text_detection.onnx", "text_recognition.onnx"].map(|name| oracle().trained_network(name).unwrap())
}

/// A picture stretched to `[1,3,height,width]`, values from -1 to 1.
fn input(picture: &Picture, [height, width]: [usize; 2]) -> Tensor {
    let normalization = Normalization { mean: [0.5; 3], std: [0.5; 3], ..Normalization::default() };
    let how = Preparation { resizing: Resizing::Exact, normalization };
    let ty = TensorType::f32([1, 3, height, width]).expect("small");
    prepare(std::slice::from_ref(picture), &how, &ty).unwrap_or_else(|e| panic!("{e}"))
}

/// First and last row and column of a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

/// Connected text in a map of probabilities, grown to the size of the letters, from top to bottom.
fn lines(map: &Tensor) -> Vec<Line> {
    let [_, _, height, width] = *map.shape().dims() else { panic!("a map is [1,1,H,W]") };
    let mut text: Vec<bool> = map.as_f32().expect("f32").iter().map(|&p| p > TEXT).collect();
    let mut found = Vec::new();
    for start in 0..text.len() {
        if !text[start] {
            continue;
        }
        let mut line = Line { top: height, bottom: 0, left: width, right: 0 };
        let mut waiting = vec![start];
        text[start] = false;
        while let Some(at) = waiting.pop() {
            let (y, x) = (at / width, at % width);
            line.top = line.top.min(y);
            line.bottom = line.bottom.max(y);
            line.left = line.left.min(x);
            line.right = line.right.max(x);
            let neighbours = [
                (y > 0).then(|| at - width),
                (y + 1 < height).then_some(at + width),
                (x > 0).then(|| at - 1),
                (x + 1 < width).then_some(at + 1),
            ];
            for next in neighbours.into_iter().flatten() {
                if text[next] {
                    text[next] = false;
                    waiting.push(next);
                }
            }
        }
        let (rows, columns) = (line.bottom + 1 - line.top, line.right + 1 - line.left);
        let grown = GROWTH * (rows * columns) as f64 / (2 * (rows + columns)) as f64;
        let grown = grown.round() as usize;
        found.push(Line {
            top: line.top.saturating_sub(grown),
            bottom: (line.bottom + grown).min(height - 1),
            left: line.left.saturating_sub(grown),
            right: (line.right + grown).min(width - 1),
        });
    }
    found
}

/// A line cut out of the page, at the height that is read, with zeros behind it.
fn line_input(page: &Picture, line: &Line) -> Tensor {
    let (rows, columns) = (line.bottom + 1 - line.top, line.right + 1 - line.left);
    let row = |y: usize| {
        let start = (y * page.width() + line.left) * 3;
        page.pixels()[start..start + columns * 3].iter().copied()
    };
    let pixels = (line.top..=line.bottom).flat_map(row).collect();
    let cut = Picture::new(columns, rows, pixels).expect("a picture");
    let width = (LINE_SIZE[0] * columns).div_ceil(rows).min(LINE_SIZE[1]);
    let narrow = input(&cut, [LINE_SIZE[0], width]);
    let mut data = vec![0.0; 3 * LINE_SIZE[0] * LINE_SIZE[1]];
    let rows = narrow.as_f32().expect("f32").chunks_exact(width);
    for (to, from) in data.chunks_exact_mut(LINE_SIZE[1]).zip(rows) {
        to[..width].copy_from_slice(from);
    }
    Tensor::f32([1, 3, LINE_SIZE[0], LINE_SIZE[1]], data).expect("of that size")
}

/// The most likely class of each place, repetitions and places of nothing left out.
fn decoded(scores: &Tensor, characters: &[String]) -> String {
    let mut last = 0;
    let mut text = String::new();
    for row in scores.as_f32().expect("f32").chunks_exact(characters.len()) {
        let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("classes");
        if best != last {
            text += &characters[best];
        }
        last = best;
    }
    text
}

/// The lines of a page, found and read by one engine.
fn read(engine: &dyn Engine, page: &Page) -> Vec<String> {
    let [detection, recognition] = models();
    let picture = Picture::read(&page.picture).unwrap_or_else(|e| panic!("{e}"));
    let map = engine.run(&detection, &input(&picture, [picture.height(), picture.width()]));
    let inputs = lines(&map).into_iter().map(|line| line_input(&picture, &line));
    inputs.map(|input| decoded(&engine.run(&recognition, &input), &page.characters)).collect()
}

#[test]
fn a_page_is_read_as_onnx_runtime_reads_it() {
    let page = oracle().page().unwrap();
    let by_avocet = read(&Avocet, &page);
    assert_eq!(by_avocet, read(&OnnxRuntime, &page));
    assert_eq!(by_avocet, page.lines);
}

#[test]
fn text_networks_agree_with_onnx_runtime_at_several_sizes() {
    let page = oracle().page().unwrap();
    let picture = Picture::read(&page.picture).unwrap_or_else(|e| panic!("{e}"));
    let [detection, recognition] = models();
    for (model, sizes) in
        [(&detection, [[160, 224], [320, 320], [480, 640]]), (&recognition, [[48, 96], [48, 320], [48, 344]])]
    {
        for size in sizes {
            let input = input(&picture, size);
            let (got, expected) = (Avocet.run(model, &input), OnnxRuntime.run(model, &input));
            assert_close(&format!("{} at {size:?}", model.display()), &got, &expected, TOLERANCE);
        }
    }
}
