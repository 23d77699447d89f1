//! A node's attributes with their types checked.

use super::proto::{AttributeProto, NodeProto, TensorProto};

/// Why a node can't be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Avocet can't compile this.
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

/// The attributes of a node.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a NodeProto);

impl<'a> Attributes<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|a| a.name == name)
    }

    pub(super) fn int(self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, |a| a.i)
    }

    pub(super) fn float(self, name: &str, default: f32) -> f32 {
        self.get(name).map_or(default, |a| a.f)
    }

    pub(super) fn text(self, name: &str, default: &str) -> String {
        self.get(name).map_or_else(|| default.into(), |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    pub(super) fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.get(name).map(|a| a.ints.as_slice())
    }

    pub(super) fn floats(self, name: &str) -> Option<&'a [f32]> {
        self.get(name).map(|a| a.floats.as_slice())
    }

    pub(super) fn tensor(self, name: &str) -> Option<&'a TensorProto> {
        self.get(name).and_then(|a| a.t.as_ref())
    }

    /// Two sizes of at least `least`, rows then columns.
    pub(super) fn pair(self, name: &str, default: usize, least: usize) -> Result<[usize; 2], Problem> {
        match self.ints(name) {
            None | Some([]) => Ok([default; 2]),
            Some(&[rows, columns]) => Ok([size(name, rows, least)?, size(name, columns, least)?]),
            Some(&[one]) => Ok([1, size(name, one, least)?]),
            Some(other) => unsupported(format!("{name} {other:?}; only images have kernels here")),
        }
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
    let one = |a: &AttributeProto| {
        let value = match a.r#type {
            1 => a.f.to_string(),
            2 => a.i.to_string(),
            3 => String::from_utf8_lossy(&a.s).chars().take(40).collect(),
            5 | 10 => "graph".into(),
            6 => format!("{:?}", a.floats.iter().take(8).collect::<Vec<_>>()),
            7 => format!("{:?}", a.ints.iter().take(8).collect::<Vec<_>>()),
            _ => "…".into(),
        };
        format!("{}={value}", a.name)
    };
    node.attribute.iter().map(one).collect::<Vec<_>>().join(", ")
}
