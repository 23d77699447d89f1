//! Models: reading them, asking what they are, and the reference that judges what is compiled from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use avocet_frontend::arch::{BuildOptions, Description, Format};
use avocet_frontend::onnx;
use avocet_ir::program::Port;
use avocet_ir::{Graph, Tensor};
use avocet_reference::Reference;

use crate::error::Error;
use crate::sizes::{Dynamic, SizeRange};

/// Largest tensor of a model, in bytes: what is larger is a mistake in some dimension.
const LARGEST_TENSOR: usize = 16 << 30;

/// What a model file leaves open.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Sizes of symbolic dimensions of an ONNX model, where a first dimension that is not named is 1; of a description's `N`,
    /// `H` and `W`.
    pub dims: BTreeMap<String, usize>,
    /// Dimensions whose sizes are given at the call.
    pub ranges: BTreeMap<String, SizeRange>,
    /// The compound coefficient of a description, in place of its own.
    pub phi: Option<u32>,
    /// A file of weights for a description, in place of what it names.
    pub weights: Option<PathBuf>,
    /// Seed of random weights of a description, in place of its own.
    pub seed: Option<u64>,
}

/// A network as its author wrote it: a verified graph with weights, not yet changed by any pass.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Graph,
    /// The other sizes, when some are given at the call; the graph is of the largest.
    dynamic: Option<Dynamic>,
}

impl Model {
    /// Reads a model by the ending of its name: `.onnx`, or `.toml`, `.yaml`, `.yml`, `.json` for descriptions.
    pub fn open(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        if !options.ranges.is_empty() {
            return Dynamic::open(path, options);
        }
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "onnx" => {
                let options = onnx::Options { dims: options.dims.clone() };
                Model::from_graph(onnx::from_file(path, &options, &Reference)?)
            }
            "toml" | "yaml" | "yml" | "json" => {
                let description = Description::from_file(path)?;
                Model::from_graph(description.build(&build_options(options)?)?)
            }
            _ => Err(Error::UnknownFormat(path.into())),
        }
    }

    /// Reads an ONNX file with symbolic dimensions at their defaults.
    pub fn from_onnx(path: impl AsRef<Path>) -> Result<Self, Error> {
        Model::from_graph(onnx::from_file(path.as_ref(), &onnx::Options::default(), &Reference)?)
    }

    /// Reads an architecture description in TOML; `origin` names it in errors.
    ///
    /// ```
    /// use avocet::Model;
    ///
    /// let text = "version = 1\nname = 'tiny'\ninput = { channels = 3, height = 8, width = 8 }\n";
    /// let model = Model::from_description(&format!("{text}[[blocks]]\ntype = 'conv'\nout = 4\n"), "tiny.toml")?;
    /// assert_eq!(model.outputs()[0].ty.dims(), [1, 4, 8, 8]);
    /// let mistake = format!("{text}[[blocks]]\ntype = 'conv'\nkernle = 3\n");
    /// let error = Model::from_description(&mistake, "tiny.toml").unwrap_err();
    /// assert!(error.to_string().starts_with("tiny.toml:6: unknown field `kernle`"));
    /// # Ok::<(), avocet::Error>(())
    /// ```
    pub fn from_description(text: &str, origin: &str) -> Result<Self, Error> {
        let description = Description::parse(text, Format::Toml, origin)?;
        Model::from_graph(description.build(&BuildOptions::default())?)
    }

    /// A model of the caller's making.
    pub fn from_graph(graph: Graph) -> Result<Self, Error> {
        graph.verify()?;
        for id in graph.ids() {
            let node = graph.node(id);
            let bytes = node.outputs.iter().map(|ty| ty.bytes()).max().unwrap_or(0);
            if bytes > LARGEST_TENSOR {
                return Err(Error::TooLarge { node: node.name.clone(), bytes });
            }
        }
        Ok(Model { graph, dynamic: None })
    }

    /// The same model, at these sizes and others.
    pub(crate) fn with_dynamic(self, dynamic: Dynamic) -> Self {
        Model { dynamic: Some(dynamic), ..self }
    }

    /// The sizes that are given at the call, if there are any.
    pub(crate) fn dynamic(&self) -> Option<&Dynamic> {
        self.dynamic.as_ref()
    }

    /// Whether sizes are given at the call.
    pub fn takes_sizes(&self) -> bool {
        self.dynamic.is_some()
    }

    /// The network; at its largest where sizes are given at the call.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        self.graph.name()
    }

    /// Inputs, in order.
    pub fn inputs(&self) -> Vec<Port> {
        let nodes = self.graph.input_nodes().iter().map(|&id| self.graph.node(id));
        nodes.map(|node| Port { name: node.name.clone(), ty: node.outputs[0].clone() }).collect()
    }

    /// Outputs, in order.
    pub fn outputs(&self) -> Vec<Port> {
        let outputs = self.graph.outputs().iter();
        outputs.map(|o| Port { name: o.name.clone(), ty: self.graph.ty(o.value).clone() }).collect()
    }

    /// Runs the model in the reference interpreter: slow, plain, in double precision.
    pub fn reference(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        if let Some(dynamic) = &self.dynamic {
            let model = dynamic.fitting(&inputs.iter().map(Tensor::ty).collect::<Vec<_>>())?;
            return Ok(avocet_reference::run(model.graph(), inputs)?);
        }
        Ok(avocet_reference::run(&self.graph, inputs)?)
    }
}

fn build_options(options: &LoadOptions) -> Result<BuildOptions, Error> {
    let mut built = BuildOptions {
        phi: options.phi,
        weights: options.weights.clone(),
        seed: options.seed,
        ..BuildOptions::default()
    };
    for (name, &size) in &options.dims {
        match name.as_str() {
            "N" => built.batch = size,
            "H" => built.size[0] = Some(size),
            "W" => built.size[1] = Some(size),
            _ => return Err(Error::Dimension(name.clone())),
        }
    }
    Ok(built)
}
