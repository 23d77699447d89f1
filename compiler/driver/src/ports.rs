//! Inputs and outputs by name: which of a model's a name means, and whether what is given is all that it needs.

use std::collections::BTreeMap;

use avocet_ir::program::Port;
use avocet_ir::{Tensor, TensorType};
use thiserror::Error;

use crate::jit::{Compiled, RunError, Session};

/// What is wrong with the use of an input or output; the message lists those that the model has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}; the model's {side}s are {}", list(.ports))]
pub struct PortError {
    /// What is wrong.
    pub problem: PortProblem,
    /// Whether inputs or outputs are meant.
    pub side: Side,
    /// All of them.
    pub ports: Vec<Port>,
}

/// Inputs or outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the caller gives.
    Input,
    /// What the caller gets.
    Output,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Input => "input",
            Side::Output => "output",
        })
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortProblem {
    /// A name that the model does not have.
    #[error("there is no '{}'", .0.escape_debug())]
    Unknown(String),
    /// No name, where there is not exactly one input or output.
    #[error("which is meant has to be said by NAME=")]
    Unnamed,
    /// A name given twice.
    #[error("'{}' is given twice", .0.escape_debug())]
    Twice(String),
    /// Inputs that were not given.
    #[error("{} {} not given", quoted(.0), if .0.len() == 1 { "is" } else { "are" })]
    Missing(Vec<String>),
    /// Another element type or shape.
    #[error("{given} was given for '{}'", name.escape_debug())]
    Type {
        /// Name of the input.
        name: String,
        /// What was given.
        given: TensorType,
    },
}

/// Most ports that a message lists.
const MOST_LISTED: usize = 40;

/// Names and types of inputs or outputs, for messages.
pub fn list(ports: &[Port]) -> String {
    let shown = ports.iter().take(MOST_LISTED);
    let mut shown: Vec<String> =
        shown.map(|port| format!("'{}' {}", port.name.escape_debug(), port.ty)).collect();
    if ports.len() > MOST_LISTED {
        shown.push(format!("{} more", ports.len() - MOST_LISTED));
    }
    if shown.is_empty() { "none".into() } else { shown.join(", ") }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("'{}'", name.escape_debug())).collect::<Vec<_>>().join(", ")
}

/// The number of the input or output that a name means; without a name, of the only one.
pub fn find(side: Side, ports: &[Port], name: Option<&str>) -> Result<usize, PortError> {
    let problem = match name {
        Some(name) => match ports.iter().position(|port| port.name == name) {
            Some(number) => return Ok(number),
            None => PortProblem::Unknown(name.into()),
        },
        None if ports.len() == 1 => return Ok(0),
        None => PortProblem::Unnamed,
    };
    Err(PortError { problem, side, ports: ports.to_vec() })
}

/// Inputs of a model that are being gathered, in any order.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    ports: &'a [Port],
    /// Whether the ports are of the largest sizes, and others may be given.
    any_size: bool,
    given: Vec<Option<Tensor>>,
}

impl<'a> Inputs<'a> {
    /// None given yet. With `any_size`, smaller ones than the ports are may be given; which sizes there are is for the run to
    /// say.
    pub fn new(ports: &'a [Port], any_size: bool) -> Self {
        Inputs { ports, any_size, given: vec![None; ports.len()] }
    }

    /// Whether an input may be of a type.
    pub fn takes(&self, number: usize, ty: &TensorType) -> bool {
        let port = &self.ports[number].ty;
        let smaller = self.any_size
            && ty.dtype == port.dtype
            && ty.shape.rank() == port.shape.rank()
            && ty.bytes() <= port.bytes();
        ty == port || smaller
    }

    /// The number and type of the input that a name means, which must not be given yet.
    pub fn find(&self, name: Option<&str>) -> Result<(usize, &'a Port), PortError> {
        let number = find(Side::Input, self.ports, name)?;
        let port = &self.ports[number];
        match self.given[number] {
            Some(_) => Err(self.error(PortProblem::Twice(port.name.clone()))),
            None => Ok((number, port)),
        }
    }

    /// Gives an input, by the number that [`Self::find`] told; or what was found in its place, of another type.
    pub fn give(&mut self, number: usize, tensor: Result<Tensor, TensorType>) -> Result<(), PortError> {
        let port = &self.ports[number];
        let given = match tensor {
            Ok(tensor) if self.takes(number, &tensor.ty()) => {
                self.given[number] = Some(tensor);
                return Ok(());
            }
            Ok(tensor) => tensor.ty(),
            Err(given) => given,
        };
        Err(self.error(PortProblem::Type { name: port.name.clone(), given }))
    }

    /// All inputs in order, if none is missing.
    pub fn all(self) -> Result<Vec<Tensor>, PortError> {
        let missing = self.ports.iter().zip(&self.given).filter(|(_, given)| given.is_none());
        let missing: Vec<String> = missing.map(|(port, _)| port.name.clone()).collect();
        if !missing.is_empty() {
            return Err(self.error(PortProblem::Missing(missing)));
        }
        Ok(self.given.into_iter().flatten().collect())
    }

    fn error(&self, problem: PortProblem) -> PortError {
        PortError { problem, side: Side::Input, ports: self.ports.to_vec() }
    }
}

/// Inputs by name in the order of the model.
fn in_order(model: &Compiled, named: &[(&str, Tensor)]) -> Result<Vec<Tensor>, PortError> {
    let mut inputs = Inputs::new(model.inputs(), model.sizes().is_some());
    for (name, tensor) in named {
        let (number, _) = inputs.find(Some(name))?;
        inputs.give(number, Ok(tensor.clone()))?;
    }
    inputs.all()
}

impl Compiled {
    /// Number of the input of this name.
    pub fn input(&self, name: &str) -> Result<usize, PortError> {
        find(Side::Input, self.inputs(), Some(name))
    }

    /// Number of the output of this name.
    pub fn output(&self, name: &str) -> Result<usize, PortError> {
        find(Side::Output, self.outputs(), Some(name))
    }

    /// Runs the model once on inputs by name, in any order, and gives its outputs by name.
    pub fn run_named(&self, inputs: &[(&str, Tensor)]) -> Result<BTreeMap<String, Tensor>, RunError> {
        let outputs = self.run(&in_order(self, inputs)?)?;
        Ok(self.outputs().iter().map(|port| port.name.clone()).zip(outputs).collect())
    }
}

impl Session<'_> {
    /// Runs the model on inputs by name, in any order; the results stay in the session.
    pub fn run_named(&mut self, inputs: &[(&str, Tensor)]) -> Result<(), RunError> {
        let inputs = in_order(self.model(), inputs)?;
        self.run(&inputs)
    }
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::{Binary, Op};

    use super::*;
    use crate::{Graph, Model, Options, Target};

    /// `difference = a - b`, `sum = a + b`.
    fn model() -> Compiled {
        let mut graph = Graph::new("two");
        let ty = TensorType::f32([2]).expect("small");
        let a = graph.add("a", Op::Input(ty.clone()), &[]).expect("an input");
        let b = graph.add("b", Op::Input(ty), &[]).expect("an input");
        for (name, op) in [("difference", Binary::Sub), ("sum", Binary::Add)] {
            let value = graph.add(name, Op::Binary(op), &[a, b]).expect("a node");
            graph.add_output(name, value);
        }
        let model = Model::from_graph(graph).expect("valid");
        let artifact = model.compile(&Target::host(), &Options::default()).expect("compiled");
        artifact.jit().expect("placed")
    }

    fn pair(values: [f32; 2]) -> Tensor {
        Tensor::f32([2], values).expect("small")
    }

    #[test]
    fn names_in_any_order() {
        let model = model();
        let (a, b) = (pair([5.0, 7.0]), pair([1.0, 2.0]));
        let outputs = model.run_named(&[("b", b.clone()), ("a", a.clone())]).expect("run");
        assert_eq!(outputs["difference"], pair([4.0, 5.0]));
        assert_eq!(outputs["sum"], pair([6.0, 9.0]));
        let mut session = model.session().expect("memory");
        session.run_named(&[("a", a), ("b", b)]).expect("run");
        assert_eq!(session.output_f32(model.output("sum").expect("there")), Some(&[6.0, 9.0][..]));
    }

    #[test]
    fn mistakes_list_what_there_is() {
        let model = model();
        let told = |inputs: &[(&str, Tensor)]| model.run_named(inputs).unwrap_err().to_string();
        let x = pair([0.0; 2]);
        let list = "the model's inputs are 'a' f32[2], 'b' f32[2]";
        assert_eq!(told(&[("c", x.clone())]), format!("there is no 'c'; {list}"));
        assert_eq!(told(&[("a", x.clone()), ("a", x.clone())]), format!("'a' is given twice; {list}"));
        assert_eq!(told(&[("a", x.clone())]), format!("'b' is not given; {list}"));
        assert_eq!(told(&[]), format!("'a', 'b' are not given; {list}"));
        assert_eq!(told(&[("a", Tensor::scalar_f32(1.0))]), format!("f32[] was given for 'a'; {list}"));
        let output = model.output("a").unwrap_err().to_string();
        assert_eq!(output, "there is no 'a'; the model's outputs are 'difference' f32[2], 'sum' f32[2]");
        assert!(find(Side::Input, model.inputs(), None).is_err());
    }
}
