//! A node's attributes with their types checked.

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Why a node can't be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Avocet can't compile this. An empty text: the operator itself.
    Unsupported(String),
    /// The model is wrong.
    Invalid(String),
}

pub(super) fn unsupported<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Unsupported(what.into()))
}

pub(super) fn invalid<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Invalid(what.into()))
}

impl From<avocet_ir::TensorError> for Problem {
    fn from(error: avocet_ir::TensorError) -> Self {
        Problem::Invalid(error.to_string())
    }
}

impl From<avocet_ir::infer::InferError> for Problem {
    fn from(error: avocet_ir::infer::InferError) -> Self {
        Problem::Invalid(error.to_string())
    }
}

/// Types of attributes by their number in `AttributeProto.AttributeType`. Only those in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
}

/// The attributes of a node. Each getter refuses an attribute of another type.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a NodeProto);

impl<'a> Attributes<'a> {
    fn get(self, name: &str, kind: Kind) -> Result<Option<&'a AttributeProto>, Problem> {
        match self.0.attribute.iter().find(|a| a.name == name) {
            // Files older than IR version 2 leave the type open.
            Some(a) if a.r#type != kind as i32 && a.r#type != 0 => {
                invalid(format!("attribute {name} is of type {}, expected {kind:?}", a.r#type))
            }
            found => Ok(found),
        }
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.0.attribute.iter().any(|a| a.name == name)
    }

    pub(super) fn int(self, name: &str, default: i64) -> Result<i64, Problem> {
        Ok(self.get(name, Kind::Int)?.map_or(default, |a| a.i))
    }

    /// An integer that stands for true when it isn't zero.
    pub(super) fn flag(self, name: &str, default: bool) -> Result<bool, Problem> {
        Ok(self.int(name, default.into())? != 0)
    }

    pub(super) fn float(self, name: &str, default: f32) -> Result<f32, Problem> {
        Ok(self.get(name, Kind::Float)?.map_or(default, |a| a.f))
    }

    pub(super) fn text(self, name: &str, default: &str) -> Result<String, Problem> {
        let found = self.get(name, Kind::String)?;
        Ok(found.map_or_else(|| default.into(), |a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    pub(super) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, Problem> {
        Ok(self.get(name, Kind::Ints)?.map(|a| a.ints.as_slice()))
    }

    pub(super) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, Problem> {
        Ok(self.get(name, Kind::Floats)?.map(|a| a.floats.as_slice()))
    }

    /// A graph that must be there.
    pub(super) fn graph(self, name: &str) -> Result<&'a GraphProto, Problem> {
        let graph = self.get(name, Kind::Graph)?.and_then(|a| a.g.as_ref());
        graph.ok_or_else(|| Problem::Invalid(format!("attribute {name} is missing")))
    }

    pub(super) fn texts(self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let found = self.get(name, Kind::Strings)?;
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        Ok(found.map(|a| a.strings.iter().map(text).collect()))
    }

    pub(super) fn tensor(self, name: &str) -> Result<Option<&'a TensorProto>, Problem> {
        Ok(self.get(name, Kind::Tensor)?.and_then(|a| a.t.as_ref()))
    }
}

/// A size of at least `least`.
pub(super) fn size(name: &str, value: i64, least: usize) -> Result<usize, Problem> {
    match usize::try_from(value) {
        Ok(value) if value >= least => Ok(value),
        _ => invalid(format!("{name} is {value}, expected at least {least}")),
    }
}

/// Attributes as text for messages.
pub(super) fn describe(node: &NodeProto) -> String {
    /// Longest text and most numbers that are shown.
    const SHOWN: usize = 40;
    let one = |a: &AttributeProto| {
        let value = match a.r#type {
            1 => a.f.to_string(),
            2 => a.i.to_string(),
            3 => String::from_utf8_lossy(&a.s).chars().take(SHOWN).flat_map(char::escape_debug).collect(),
            4 => "tensor".into(),
            5 | 10 => "graph".into(),
            6 => format!("{:?}", &a.floats[..a.floats.len().min(SHOWN)]),
            7 => format!("{:?}", &a.ints[..a.ints.len().min(SHOWN)]),
            _ => "…".into(),
        };
        format!("{}={value}", a.name.escape_debug())
    };
    node.attribute.iter().take(SHOWN).map(one).collect::<Vec<_>>().join(", ")
}
