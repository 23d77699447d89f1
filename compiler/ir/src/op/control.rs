//! Operators that hold graphs: a choice between two, and the repetition of one.
//!
//! A [`Region`] is a graph of its own. It sees nothing of the graph around it but its inputs, which are the node's operands:
//! what a region uses from outside is handed to it, so that every pass and every check works on a region as on a network.

use std::fmt;
use std::sync::Arc;

use crate::graph::Graph;

/// A graph within a graph, shared when the graph around it is cloned.
#[derive(Clone)]
pub struct Region(Arc<Graph>);

impl Region {
    /// Deepest nesting of regions that [`Graph::verify`] accepts.
    pub const MAX_DEPTH: usize = 32;

    /// The region that a graph is.
    pub fn new(graph: Graph) -> Self {
        Region(Arc::new(graph))
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.0
    }

    /// How deep regions are nested in it, itself included; no more than one beyond [`Region::MAX_DEPTH`] is counted.
    pub(crate) fn depth(&self, room: usize) -> usize {
        if room == 0 {
            return 1;
        }
        let graph = self.graph();
        let regions = graph.ids().flat_map(|id| graph.node(id).op.regions());
        1 + regions.map(|region| region.depth(room - 1)).max().unwrap_or(0)
    }
}

impl PartialEq for Region {
    /// Whether they are one and the same; two that only look alike are not.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({:?})", self.0.name())
    }
}

/// A body that is run again and again (ONNX Loop and Scan).
///
/// Inputs of the node, in this order: the limit, if there is one; the condition, if there is one; what is carried from
/// iteration to iteration, as it is at first; tensors of which each iteration gets one slice of the first dimension; anything
/// else that the body uses.
///
/// Inputs of the body: what is carried, the slices without their first dimension, anything else. Its results: the next
/// condition, if there is one; what is carried on; what is stacked.
///
/// Results of the node: what is carried, as it is at last; for each stacked result a tensor `[count, ..]` of one slice an
/// iteration, zeros where no iteration was.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// What is run.
    pub body: Region,
    /// Most iterations; as many as there are when there is neither limit nor condition.
    pub count: usize,
    /// Whether the first input is a 64-bit integer that may be less than `count`.
    pub limited: bool,
    /// Whether iterations end when a boolean of one element is false. The next input is its first value.
    pub conditional: bool,
    /// How many tensors are carried.
    pub carried: usize,
    /// The tensors that are cut into slices: whether the last slice comes first.
    pub scanned: Vec<bool>,
    /// The results that are stacked: whether the first iteration's comes last.
    pub stacked: Vec<bool>,
}

impl Loop {
    /// Number of inputs before what is carried.
    pub fn controls(&self) -> usize {
        usize::from(self.limited) + usize::from(self.conditional)
    }

    /// Number of inputs before those that the body gets whole in every iteration.
    pub fn own_inputs(&self) -> usize {
        self.controls() + self.carried + self.scanned.len()
    }
}
