//! Preprocessing as part of the network: an input of pictures becomes one of bytes, as cameras and decoders give them, and
//! the network itself crops, resizes, normalises and brings them into its layout.
//!
//! What is put before the input are operators like any others, so everything that is known of them holds: they are
//! compiled for every target, run in parts on several threads, and are fused and moved by the passes.

use std::str::FromStr;

use avocet_ir::op::{Binary, Layout, NearestRounding, Op, Resize, ResizeCoordinates, ResizeMode, SliceAxis};
use avocet_ir::tensor::TensorError;
use avocet_ir::{DType, Graph, GraphError, Shape, Tensor, TensorType, Value};
use thiserror::Error;

use crate::data::prepare::{ChannelOrder, ImageShape, Normalization, PrepareError, channels, deviations};
use crate::error::Error;
use crate::model::Model;
use crate::ports::{PortError, Side, find};

/// Most rows or columns of a picture.
const MOST_SIDE: usize = 1 << 15;

/// Why preprocessing can't be put before a model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PreprocessError {
    /// Its text has another form.
    #[error(
        "{0}; expected [NAME=]HEIGHTxWIDTH[,crop=HxW][,resize=bilinear|nearest][,mean=M][,std=S][,channels=rgb|bgr]"
    )]
    Text(String),
    /// There is no such input.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The input is not one of pictures.
    #[error(transparent)]
    NoPicture(#[from] PrepareError),
    /// The picture has other channels than the network.
    #[error("a picture of {got} channels for an input of {expected}")]
    Channels {
        /// The network's.
        expected: usize,
        /// The picture's.
        got: usize,
    },
    /// More is cropped than there is.
    #[error("{0}x{1} can't be cropped from a picture of {2}x{3}", .crop[0], .crop[1], .size[0], .size[1])]
    Crop {
        /// Rows and columns of what is to be left.
        crop: [usize; 2],
        /// Rows and columns of the picture.
        size: [usize; 2],
    },
    /// The operators don't fit the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// How a network gets its input from a picture of bytes, `[N,H,W,C]`, or `[H,W,C]` where its own input has no batch.
///
/// The text form is `[NAME=]HEIGHTxWIDTH[xCHANNELS]` and, after commas, `crop=HxW` (the centre is cut out first),
/// `resize=bilinear` or `resize=nearest` (pixels are sampled at the centres of the network's; no resizing where the sizes
/// agree), `mean=M` and `std=S` (for values between 0 and 1, one number or three with `/` between, ImageNet's by default)
/// and `channels=bgr` where the network has the channels in the other order than the picture.
///
/// ```
/// use avocet::{LoadOptions, Model, Preprocessing};
///
/// let text = "version = 1\nname = 'tiny'\ninput = { channels = 3, height = 8, width = 8 }\n\
///             blocks = [{ type = 'conv', out = 4 }]\n";
/// let how: Preprocessing = "input=48x64,resize=bilinear,mean=0.5/0.4/0.3,std=0.25".parse()?;
/// let model = Model::from_description(text, "tiny.toml")?.with_preprocessing(&how)?;
/// assert_eq!(model.inputs()[0].ty.to_string(), "u8[1,48,64,3]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// Name of the input; none for the only one.
    pub input: Option<String>,
    /// Rows and columns of the picture.
    pub size: [usize; 2],
    /// Its channels, where they are to be checked against the network's.
    pub channels: Option<usize>,
    /// Rows and columns of the centre, where it is cut out first.
    pub crop: Option<[usize; 2]>,
    /// How the network's size is sampled.
    pub mode: ResizeMode,
    /// Means and deviations, and the order of channels.
    pub normalization: Normalization,
}

impl Preprocessing {
    /// Bilinear resizing and ImageNet's means for pictures of this size.
    pub fn new(height: usize, width: usize) -> Self {
        Preprocessing {
            input: None,
            size: [height, width],
            channels: None,
            crop: None,
            mode: ResizeMode::Linear,
            normalization: Normalization::default(),
        }
    }
}

impl FromStr for Preprocessing {
    type Err = PreprocessError;

    fn from_str(text: &str) -> Result<Self, PreprocessError> {
        let wrong = |what: String| PreprocessError::Text(what);
        let mut items = text.split(',').map(str::trim);
        let first = items.next().unwrap_or_default();
        let (name, size) = match first.rsplit_once('=') {
            Some((name, size)) => (Some(name), size),
            None => (None, first),
        };
        let (size, channels_given) = match sizes(size).as_deref() {
            Some(&[h, w]) => ([h, w], None),
            Some(&[h, w, c]) => ([h, w], Some(c)),
            _ => return Err(wrong(format!("'{first}' has no size of a picture, as in 480x640"))),
        };
        let mut out = Preprocessing {
            input: name.map(str::to_string),
            channels: channels_given,
            ..Preprocessing::new(size[0], size[1])
        };
        for item in items {
            let (key, value) =
                item.split_once('=').ok_or_else(|| wrong(format!("'{item}' is no KEY=VALUE")))?;
            let numbers = value.replace('/', ",");
            match (key, value) {
                ("crop", value) => match sizes(value).as_deref() {
                    Some(&[h, w]) => out.crop = Some([h, w]),
                    _ => return Err(wrong(format!("'{value}' is no size, as in 480x480"))),
                },
                ("resize", "bilinear") => out.mode = ResizeMode::Linear,
                ("resize", "nearest") => out.mode = ResizeMode::Nearest(NearestRounding::RoundPreferFloor),
                ("mean", _) => out.normalization.mean = channels(&numbers).map_err(wrong)?,
                ("std", _) => out.normalization.std = deviations(&numbers).map_err(wrong)?,
                ("channels", "rgb") => out.normalization.order = ChannelOrder::Rgb,
                ("channels", "bgr") => out.normalization.order = ChannelOrder::Bgr,
                _ => return Err(wrong(format!("'{item}' is not known"))),
            }
        }
        Ok(out)
    }
}

/// `480x640`, each at least 1 and no more than a picture has.
fn sizes(text: &str) -> Option<Vec<usize>> {
    text.split('x').map(|n| n.parse().ok().filter(|n| (1..=MOST_SIDE).contains(n))).collect()
}

impl Model {
    /// The model with preprocessing before one of its inputs, which becomes one of bytes.
    pub fn with_preprocessing(&self, how: &Preprocessing) -> Result<Model, Error> {
        let model = Model::from_graph(rewritten(self, how)?)?;
        match self.dynamic() {
            Some(dynamic) => Ok(model.with_dynamic(dynamic.with_preprocessing(how)?)),
            None => Ok(model),
        }
    }
}

fn rewritten(model: &Model, how: &Preprocessing) -> Result<Graph, PreprocessError> {
    let ports = model.inputs();
    let number = find(Side::Input, &ports, how.input.as_deref())?;
    let ty = &ports[number].ty;
    let no_picture = || PrepareError::NoPicture(ty.clone());
    let shape = ImageShape::of(ty.dims()).filter(|_| ty.dtype == DType::F32).ok_or_else(no_picture)?;
    if let Some(got) = how.channels.filter(|&c| c != shape.channels) {
        return Err(PreprocessError::Channels { expected: shape.channels, got });
    }
    let (size, crop) = (how.size, how.crop.unwrap_or(how.size));
    if crop[0] > size[0] || crop[1] > size[1] {
        return Err(PreprocessError::Crop { crop, size });
    }
    let dims = [shape.batch, size[0], size[1], shape.channels];
    let dims = &dims[4 - ty.shape.rank()..];
    // Checked when it becomes a tensor of the model.
    let bytes = Shape::new(dims).map_err(|_| no_picture())?;
    let mut graph = model.graph().clone();
    let [new, old] = graph.exchange_input(number, TensorType::new(DType::U8, bytes))?;
    let mut chain = Chain { name: ports[number].name.clone(), graph: &mut graph, value: new };
    chain.picture_to_input(how, &shape, crop, ty)?;
    let value = chain.value;
    graph.replace_uses(old, value)?;
    graph.remove(old.node)?;
    Ok(graph)
}

/// Operators one after the other.
struct Chain<'a> {
    name: String,
    graph: &'a mut Graph,
    value: Value,
}

impl Chain<'_> {
    fn then(&mut self, what: &str, op: Op, more: &[Value]) -> Result<(), GraphError> {
        let inputs: Vec<Value> = std::iter::once(self.value).chain(more.iter().copied()).collect();
        self.value = self.graph.add(format!("{}.{what}", self.name), op, &inputs)?;
        Ok(())
    }

    /// What is cropped is bytes still, what is normalised of the network's size: as little as possible is touched.
    fn picture_to_input(
        &mut self,
        how: &Preprocessing,
        shape: &ImageShape,
        crop: [usize; 2],
        ty: &TensorType,
    ) -> Result<(), PreprocessError> {
        let (batch, channels) = (shape.batch, shape.channels);
        let dims = |dims: [usize; 4]| Shape::new(dims).map_err(|_| PrepareError::NoPicture(ty.clone()));
        self.then("batch", Op::Reshape { shape: dims([batch, how.size[0], how.size[1], channels])? }, &[])?;
        if crop != how.size {
            let whole = |count| SliceAxis { start: 0, count, step: 1 };
            let centre = |i: usize| SliceAxis { start: (how.size[i] - crop[i]) / 2, count: crop[i], step: 1 };
            self.then(
                "crop",
                Op::Slice { axes: vec![whole(batch), centre(0), centre(1), whole(channels)] },
                &[],
            )?;
        }
        self.then("float", Op::Cast { to: DType::F32 }, &[])?;
        if crop != shape.size {
            let resize = Resize {
                mode: how.mode,
                coordinates: ResizeCoordinates::HalfPixel,
                size: shape.size,
                scales: [0, 1].map(|i| shape.size[i] as f32 / crop[i] as f32),
                layout: Layout::Nhwc,
            };
            self.then("resize", Op::Resize(resize), &[])?;
        }
        match channels {
            1 => self.normalise(&[how.normalization.gray()])?,
            _ => self.normalise(&how.normalization.scale_and_offset())?,
        }
        if how.normalization.order == ChannelOrder::Bgr && channels == 3 {
            // Means are told in the picture's own order, so the channels change places afterwards.
            let whole = |count| SliceAxis { start: 0, count, step: 1 };
            let turned = SliceAxis { start: 2, count: 3, step: -1 };
            let axes = vec![whole(batch), whole(shape.size[0]), whole(shape.size[1]), turned];
            self.then("channels", Op::Slice { axes }, &[])?;
        }
        if !shape.channels_last {
            self.then("planes", Op::Transpose { perm: vec![0, 3, 1, 2] }, &[])?;
        }
        self.then("shape", Op::Reshape { shape: ty.shape.clone() }, &[])?;
        Ok(())
    }

    /// A factor and a summand for each channel of the picture, `[N,H,W,C]`. Written for a whole row, since a vector holds more
    /// than three numbers.
    fn normalise(&mut self, each: &[(f32, f32)]) -> Result<(), PreprocessError> {
        let picture = self.graph.ty(self.value).shape.clone();
        let columns = picture[2];
        let wrong = |e: TensorError| PreprocessError::Text(e.to_string());
        let rows = Shape::new([picture[0], picture[1], columns * each.len()]).map_err(wrong)?;
        let constant = |numbers: Vec<f32>| Tensor::f32([rows[2]], numbers.repeat(columns)).map_err(wrong);
        let scale = constant(each.iter().map(|one| one.0).collect())?;
        let offset = constant(each.iter().map(|one| one.1).collect())?;
        let scale = self.graph.constant(format!("{}.scale", self.name), scale);
        let offset = self.graph.constant(format!("{}.offset", self.name), offset);
        self.then("rows", Op::Reshape { shape: rows }, &[])?;
        self.then("scaled", Op::Binary(Binary::Mul), &[scale])?;
        self.then("normalised", Op::Binary(Binary::Add), &[offset])?;
        self.then("pixels", Op::Reshape { shape: picture }, &[])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use avocet_ir::TensorData;

    use super::*;
    use crate::{Options, Target};

    /// A network that gives its input as it is.
    fn mirror(dims: &[usize]) -> Model {
        let mut graph = Graph::new("mirror");
        let ty = TensorType::f32(dims).expect("small");
        let image = graph.add("image", Op::Input(ty), &[]).expect("an input");
        let value = graph.add("same", Op::Identity, &[image]).expect("a node");
        graph.add_output("out", value);
        Model::from_graph(graph).expect("valid")
    }

    fn parse(text: &str) -> Preprocessing {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// Pixels in no pattern.
    fn pixels(count: usize) -> Vec<u8> {
        (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// One element by the definition of bilinear sampling at the centres of pixels.
    fn sampled(pixels: &[u8], [h, w]: [usize; 2], [y, x]: [f64; 2], c: usize) -> f64 {
        let place = |at: f64, size: usize| {
            let at = at.clamp(0.0, (size - 1) as f64);
            (at.floor() as usize, (at.floor() as usize + 1).min(size - 1), at.fract())
        };
        let ((top, bottom, down), (left, right, along)) = (place(y, h), place(x, w));
        let at = |y: usize, x: usize| f64::from(pixels[(y * w + x) * 3 + c]);
        (at(top, left) * (1.0 - along) + at(top, right) * along) * (1.0 - down)
            + (at(bottom, left) * (1.0 - along) + at(bottom, right) * along) * down
    }

    #[test]
    fn compiled_in_is_as_done_outside() {
        let from = [30, 44];
        let bytes = pixels(30 * 44 * 3);
        for (dims, order) in [([1, 3, 16, 20], "rgb"), ([1, 16, 20, 3], "rgb"), ([1, 3, 40, 17], "bgr")] {
            let planes = dims[1] == 3;
            let size = if planes { [dims[2], dims[3]] } else { [dims[1], dims[2]] };
            let how = parse(&format!("image=30x44,mean=0.5/0.4/0.3,std=0.2/0.3/0.4,channels={order}"));
            let model = mirror(&dims).with_preprocessing(&how).expect("before the model");
            let artifact = model.compile(&Target::host(), &Options::default()).expect("compiled");
            let image =
                Tensor::new(Shape::new([1, 30, 44, 3]).expect("small"), TensorData::U8(bytes.clone().into()));
            let inputs = [image.expect("a picture")];
            let outputs = artifact.jit().expect("placed").run(&inputs).expect("run");
            assert_eq!(outputs[0].shape().dims(), dims);
            let got = outputs[0].as_f32().expect("f32");
            let mut most = 0.0f64;
            for (i, &value) in got.iter().enumerate() {
                let (c, y, x) = if planes {
                    (i / (size[0] * size[1]), i / size[1] % size[0], i % size[1])
                } else {
                    (i % 3, i / 3 / size[1], i / 3 % size[1])
                };
                let c = if order == "bgr" { 2 - c } else { c };
                let at =
                    |i: usize, axis: usize| (i as f64 + 0.5) * from[axis] as f64 / size[axis] as f64 - 0.5;
                let byte = sampled(&bytes, from, [at(y, 0), at(x, 1)], c);
                let expected = (byte / 255.0 - [0.5, 0.4, 0.3][c]) / [0.2, 0.3, 0.4][c];
                most = most.max((f64::from(value) - expected).abs());
            }
            assert!(most < 1e-4 * 2.5, "{dims:?}: {most}");
        }
    }

    #[test]
    fn the_centre_is_cut_out_and_nothing_resized() {
        let how = parse("5x7x1,crop=2x4,mean=0,std=0.00392156862745098");
        let model = mirror(&[1, 2, 4]).with_preprocessing(&how).expect("before the model");
        let bytes: Vec<u8> = (0..35).collect();
        let image = Tensor::new(Shape::new([5, 7, 1]).expect("small"), TensorData::U8(bytes.into()))
            .expect("a picture");
        let got = model.reference(&[image]).expect("run");
        let got: Vec<f32> = got[0].as_f32().expect("f32").iter().map(|v| v.round()).collect();
        assert_eq!(got, [8.0, 9.0, 10.0, 11.0, 15.0, 16.0, 17.0, 18.0]);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, expected) in [
            ("", "'' has no size"),
            ("image=0x3", "'image=0x3' has no size"),
            ("99999x3", "has no size"),
            ("4x4,resize=cubic", "'resize=cubic' is not known"),
            ("4x4,std=0", "deviations are at least"),
            ("4x4,mean=a", "is not one number or three"),
            ("4x4,crop=1", "'1' is no size"),
            ("4x4,bare", "'bare' is no KEY=VALUE"),
        ] {
            let error = text.parse::<Preprocessing>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let told = |dims: &[usize], text: &str| {
            mirror(dims).with_preprocessing(&parse(text)).unwrap_err().to_string()
        };
        assert!(
            told(&[1, 3, 4, 4], "x=8x8")
                .contains("there is no 'x'; the model's inputs are 'image' f32[1,3,4,4]")
        );
        assert!(told(&[1, 5, 4, 4], "8x8").contains("does not take pictures"));
        assert!(told(&[1, 3, 4, 4], "8x8x1").contains("a picture of 1 channels for an input of 3"));
        assert!(told(&[1, 3, 4, 4], "8x8,crop=9x8").contains("9x8 can't be cropped from a picture of 8x8"));
    }
}
