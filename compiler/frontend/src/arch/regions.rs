//! Blocks in graphs of their own: what a branch sees, and the choice between two branches.
//!
//! [`Builder::enter`] puts an empty graph in place of the one in the making, with an input for all that later blocks may use:
//! the result so far, the one before, what was saved. Blocks are then added as ever. [`Builder::leave`] gives that graph and
//! takes up the one around it; [`Builder::choose`] joins two such graphs, and leaves out the inputs that neither uses.
//!
//! Images are handed over with channels last, as kernels have them, and turned back inside: both transpositions meet others
//! and vanish, so that a region is optimised as the same blocks outside would be, with the same roundings.

use std::collections::BTreeMap;

use avocet_ir::op::{Comparison, Op, Region};
use avocet_ir::{Graph, GraphError, Tensor, TensorType, Value};

use super::builder::{BuildError, Builder, Names};
use super::schema::Block;

/// Blocks within blocks: deep enough for experts with gates, and less than regions may be nested.
const MOST_DEPTH: usize = 2;

/// What blocks see of what was computed before.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// The result so far.
    pub(super) value: Value,
    /// The result before the last block, for cells.
    pub(super) previous: Option<Value>,
    pub(super) saved: BTreeMap<String, Value>,
    /// The network's thresholds of exits.
    pub(super) thresholds: Option<Value>,
    /// What an exit or a gate has computed.
    pub(super) head: Option<Value>,
}

impl Sight {
    fn all(&self) -> Vec<Value> {
        let others = [Some(self.value), self.previous, self.thresholds, self.head];
        let mut all: Vec<Value> = Vec::new();
        for value in others.into_iter().flatten().chain(self.saved.values().copied()) {
            if !all.contains(&value) {
                all.push(value);
            }
        }
        all
    }

    fn map(&mut self, change: impl Fn(Value) -> Value) {
        self.value = change(self.value);
        for value in [&mut self.previous, &mut self.thresholds, &mut self.head].into_iter().flatten() {
            *value = change(*value);
        }
        self.saved.values_mut().for_each(|value| *value = change(*value));
    }
}

/// The graph around the one in the making.
pub(super) struct Outside {
    graph: Graph,
    sight: Sight,
}

/// A graph that sees what another sees at some place.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) graph: Graph,
    /// What its inputs are there.
    pub(super) given: Vec<Value>,
}

const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

impl Branch {
    /// The transposition after an input that is an image.
    fn turned(&self, number: usize) -> Option<Value> {
        let input = Value::from(self.graph.input_nodes()[number]);
        let (user, _) = self.graph.only_user(input)?;
        (self.graph.ty(input).shape.rank() == 4).then_some(user.into())
    }

    fn is_used(&self, number: usize) -> bool {
        let value = self.turned(number).unwrap_or_else(|| self.graph.input_nodes()[number].into());
        !self.graph.users(value).is_empty() || self.graph.is_output(value)
    }

    fn remove(&mut self, number: usize) -> Result<(), GraphError> {
        self.given.remove(number);
        if let Some(turned) = self.turned(number) {
            self.graph.remove(turned.node)?;
        }
        self.graph.remove_input(self.graph.input_nodes()[number])
    }
}

/// Leaves out the inputs that none of several branches at one place uses.
pub(super) fn prune(branches: &mut [Branch]) -> Result<(), BuildError> {
    let count = branches.first().map_or(0, |branch| branch.given.len());
    for number in (0..count).rev() {
        if branches.iter().any(|branch| branch.is_used(number)) {
            continue;
        }
        for branch in branches.iter_mut() {
            branch.remove(number)?;
        }
    }
    Ok(())
}

/// Branches of which one is computed, by its number.
pub(super) struct Table {
    rows: Vec<Region>,
    given: Vec<Value>,
    /// Types of what is given, and last that of the number.
    types: Vec<TensorType>,
}

/// Results of the row that the last operand says, which counts from the first row of all.
fn pick(
    graph: &mut Graph,
    name: &str,
    (rows, first): (&[Region], usize),
    types: &[TensorType],
    operands: &[Value],
) -> Result<Vec<Value>, BuildError> {
    if let [row] = rows {
        return Ok(graph.splice(row.graph(), operands, &format!("{name}."))?);
    }
    let half = rows.len() / 2;
    let (low, high) = rows.split_at(half);
    let place = *operands.last().ok_or("a choice without a number")?;
    let shape = graph.ty(place).dims().to_vec();
    let border = Tensor::i64(shape, vec![(first + half) as i64]).map_err(|e| e.to_string())?;
    let border = graph.constant(format!("{name}.border"), border);
    let is_low = graph.add(format!("{name}.is_low"), Op::Compare(Comparison::Less), &[place, border])?;
    let side = |rows: &[Region], first: usize| -> Result<Region, BuildError> {
        if let [row] = rows {
            return Ok(row.clone());
        }
        let mut inner = Graph::new(format!("{name}.{first}"));
        let inputs = types.iter().enumerate();
        let inputs = inputs
            .map(|(number, ty)| inner.add(format!("given.{number}"), Op::Input(ty.clone()), &[]))
            .collect::<Result<Vec<_>, _>>()?;
        let results = pick(&mut inner, &format!("{name}.{first}"), (rows, first), types, &inputs)?;
        for (number, value) in results.into_iter().enumerate() {
            inner.add_output(format!("result.{number}"), value);
        }
        Ok(Region::new(inner))
    };
    let op = Op::If { then: side(low, first)?, otherwise: side(high, first + half)? };
    let operands: Vec<Value> = [is_low].into_iter().chain(operands.iter().copied()).collect();
    let choice = graph.add(name, op, &operands)?;
    let count = graph.node(choice.node).outputs.len();
    Ok((0..count).map(|port| Value { node: choice.node, port }).collect())
}

impl Builder<'_> {
    /// Begins a graph that sees what this one sees.
    pub(super) fn enter(&mut self, name: &str) -> Result<Outside, BuildError> {
        let mut graph = Graph::new(name);
        let given = self.sight.all();
        let mut places: BTreeMap<Value, Value> = BTreeMap::new();
        for (number, &value) in given.iter().enumerate() {
            let name = format!("given.{number}");
            let ty = self.graph.ty(value);
            let &[batch, channels, height, width] = ty.dims() else {
                places.insert(value, graph.add(name, Op::Input(ty.clone()), &[])?);
                continue;
            };
            let turned = TensorType::f32([batch, height, width, channels]).map_err(|e| e.to_string())?;
            let input = graph.add(name.clone(), Op::Input(turned), &[])?;
            let back = Op::Transpose { perm: TO_NCHW.to_vec() };
            places.insert(value, graph.add(format!("{name}.nchw"), back, &[input])?);
        }
        let outside = Outside { graph: std::mem::replace(&mut self.graph, graph), sight: self.sight.clone() };
        self.nodes += outside.graph.len();
        self.sight.map(|value| places.get(&value).copied().unwrap_or(value));
        Ok(outside)
    }

    /// Ends the graph, and takes up the one around it.
    pub(super) fn leave(&mut self, outside: Outside) -> Branch {
        let Outside { graph, sight } = outside;
        let given = sight.all();
        self.nodes = self.nodes + self.graph.len() - graph.len();
        self.sight = sight;
        Branch { graph: std::mem::replace(&mut self.graph, graph), given }
    }

    /// What regions are given, images with channels last.
    fn handed(&mut self, name: &str, given: &[Value]) -> Result<Vec<Value>, BuildError> {
        let mut handed = Vec::with_capacity(given.len());
        for &value in given {
            handed.push(match self.graph.ty(value).shape.rank() {
                4 => self.add(&format!("{name}.nhwc"), Op::Transpose { perm: TO_NHWC.to_vec() }, &[value])?,
                _ => value,
            });
        }
        Ok(handed)
    }

    /// The results of one of two branches.
    pub(super) fn choose(
        &mut self,
        name: &str,
        condition: Value,
        branches: [Branch; 2],
    ) -> Result<Vec<Value>, BuildError> {
        let mut branches = branches;
        prune(&mut branches)?;
        let [then, otherwise] = branches;
        let mut operands = vec![condition];
        operands.extend(self.handed(name, &then.given)?);
        let op = Op::If { then: Region::new(then.graph), otherwise: Region::new(otherwise.graph) };
        let first = self.add(name, op, &operands)?;
        let count = self.graph.node(first.node).outputs.len();
        Ok((0..count).map(|port| Value { node: first.node, port }).collect())
    }

    /// Branches as the rows of a table, of which [`Builder::pick`] computes one; `place` is the type of the row's number.
    pub(super) fn table(
        &mut self,
        name: &str,
        mut branches: Vec<Branch>,
        place: &TensorType,
    ) -> Result<Table, BuildError> {
        prune(&mut branches)?;
        let given = branches.first().map(|branch| branch.given.clone()).unwrap_or_default();
        let given = self.handed(name, &given)?;
        let types = given.iter().map(|&value| self.graph.ty(value)).chain([place]).cloned().collect();
        let rows = branches.into_iter().map(|mut branch| {
            // It is given the number too, which it does not look at.
            branch.graph.add("place", Op::Input(place.clone()), &[])?;
            Ok(Region::new(branch.graph))
        });
        Ok(Table { rows: rows.collect::<Result<_, GraphError>>()?, given, types })
    }

    /// The results of the row of this number, or of the nearest: found by halves, so that few comparisons come before it.
    pub(super) fn pick(&mut self, name: &str, table: &Table, place: Value) -> Result<Vec<Value>, BuildError> {
        let operands: Vec<Value> = table.given.iter().copied().chain([place]).collect();
        pick(&mut self.graph, name, (&table.rows, 0), &table.types, &operands)
    }

    /// Adds the blocks within a block. Their names start with its name; what they save is seen by them only.
    pub(super) fn body(&mut self, name: &str, body: &[Block]) -> Result<(), BuildError> {
        if self.depth >= MOST_DEPTH {
            return Err(format!("blocks are nested deeper than {MOST_DEPTH}").into());
        }
        let prefix = format!("{name}.");
        let inner = Names { given: prefix.clone(), numbered: prefix, unnamed: 0 };
        let names = std::mem::replace(&mut self.names, inner);
        let saved = self.sight.saved.clone();
        self.depth += 1;
        self.blocks(body)?;
        self.depth -= 1;
        (self.names, self.sight.saved) = (names, saved);
        Ok(())
    }

    /// That a choice is for a single image.
    pub(super) fn check_single(&self) -> Result<(), BuildError> {
        match self.dims(self.sight.value).first() {
            Some(1) => Ok(()),
            _ => Err("it decides for a single image: the batch must be 1".into()),
        }
    }
}
