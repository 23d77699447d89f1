//! The network's inputs: their types, with every dimension bound to a size.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use avocet_ir::tensor::{Shape, TensorType};

use super::error::{OnnxError, Unsupported};
use super::proto::{DimensionProto, GraphProto, ValueInfoProto};
use super::tensors;

/// Name and type of each input in the order of the model; `None` for an element type that is unsupported, which is
/// added to the list. Weights, which before IR version 4 were listed as inputs too, are left out.
pub(super) fn inputs<'a>(
    proto: &'a GraphProto,
    bound: &BTreeMap<String, usize>,
    unsupported: &mut Vec<Unsupported>,
) -> Result<Vec<(&'a str, Option<TensorType>)>, OnnxError> {
    let weights: BTreeSet<&str> = proto.initializer.iter().map(|t| t.name.as_str()).collect();
    let mut binding = Binding { bound, used: BTreeSet::new(), problems: Vec::new() };
    let mut inputs = Vec::new();
    for input in proto.input.iter().filter(|i| !weights.contains(i.name.as_str())) {
        let name = input.name.escape_debug();
        if input.name.is_empty() {
            return Err(OnnxError::invalid("an input has no name"));
        }
        let invalid = |what: &str| OnnxError::invalid(format!("input '{name}': {what}"));
        let ty = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let ty = ty.ok_or_else(|| invalid("it is not a tensor"))?;
        let shape =
            ty.shape.as_ref().ok_or_else(|| invalid("it has no shape; give it one and export again"))?;
        let dims: Vec<usize> =
            shape.dim.iter().enumerate().map(|(axis, dim)| binding.size(input, axis, dim)).collect();
        let shape = Shape::new(dims).map_err(|e| invalid(&e.to_string()))?;
        inputs.push(match tensors::dtype(ty.elem_type) {
            Ok(dtype) => (input.name.as_str(), Some(TensorType::new(dtype, shape))),
            Err(reason) => {
                unsupported.push(Unsupported::other("input", &input.name, reason));
                (input.name.as_str(), None)
            }
        });
    }
    let selections: BTreeSet<String> =
        selecting(proto).into_iter().flat_map(|(name, dim)| names(name, dim)).collect();
    let used = |name: &str| binding.used.contains(name) || selections.contains(name);
    for name in bound.keys().filter(|name| !used(name)).collect::<Vec<_>>() {
        let name = name.escape_debug();
        binding.problems.push(format!("no dimension of the model is called '{name}'"));
    }
    match binding.problems {
        problems if problems.is_empty() => Ok(inputs),
        problems => Err(OnnxError::Dimensions { file: String::new(), problems }),
    }
}

/// Results of which only the data decides how many rows they have: names, and what the model says of the number.
fn selecting(proto: &GraphProto) -> BTreeMap<&str, Option<&DimensionProto>> {
    fn rows(value: &ValueInfoProto) -> Option<&DimensionProto> {
        value.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?.dim.first()
    }
    let selects = proto.node.iter().filter(|node| node.op_type == "NonMaxSuppression");
    let mut found: BTreeMap<&str, Option<&DimensionProto>> =
        selects.filter_map(|node| node.output.first()).map(|name| (name.as_str(), None)).collect();
    for value in proto.value_info.iter().chain(&proto.output) {
        if let Some(known) = found.get_mut(value.name.as_str()) {
            *known = rows(value).or(*known);
        }
    }
    found
}

/// The names by which such a number can be bound: its own, and its place.
fn names(name: &str, dim: Option<&DimensionProto>) -> impl Iterator<Item = String> {
    let own = dim.and_then(|dim| dim.dim_param.clone()).filter(|own| !own.is_empty());
    own.into_iter().chain([format!("{name}.0")])
}

/// How many rows such results are to have: what the model says, or what is bound.
pub(super) fn selections<'a>(
    proto: &'a GraphProto,
    bound: &BTreeMap<String, usize>,
) -> HashMap<&'a str, usize> {
    let rows = |(name, dim): (&'a str, Option<&DimensionProto>)| {
        let given = names(name, dim).find_map(|name| bound.get(&name).copied());
        let fixed = || dim?.dim_value.and_then(|value| usize::try_from(value).ok());
        given.or_else(fixed).map(|rows| (name, rows))
    };
    selecting(proto).into_iter().filter_map(rows).collect()
}

/// The sizes given, which of them were of use, and what is wrong.
struct Binding<'a> {
    bound: &'a BTreeMap<String, usize>,
    used: BTreeSet<&'a str>,
    problems: Vec<String>,
}

impl<'a> Binding<'a> {
    fn lookup(&mut self, name: &str) -> Option<usize> {
        let (name, &size) = self.bound.get_key_value(name)?;
        self.used.insert(name);
        Some(size)
    }

    /// Size of one dimension; 1 where there is a problem, so that the others are found too.
    fn size(&mut self, input: &ValueInfoProto, axis: usize, dim: &DimensionProto) -> usize {
        let position = format!("{}.{axis}", input.name);
        // Some exporters write a question mark for "unknown", on every such dimension.
        let name = dim.dim_param.as_deref().filter(|&name| !name.is_empty() && name != "?");
        let given = [name.and_then(|name| self.lookup(name)), self.lookup(&position)];
        // Old exporters write 0 for "unknown" too, so that another size may be given in its place.
        let least = i64::from(given != [None; 2]);
        let fixed = dim.dim_value.filter(|&value| value >= least && name.is_none());
        let place = format!("dimension {axis} of input '{}'", input.name.escape_debug());
        let problem = match (fixed, given) {
            (None, [Some(by_name), Some(by_place)]) if by_name != by_place => {
                format!("{place} is bound to {by_name} by its name and to {by_place} by its place")
            }
            (_, [Some(0), _] | [_, Some(0)]) => format!("{place} can't be bound to 0"),
            (Some(value), [by_name, by_place]) => match by_name.or(by_place) {
                Some(size) if i64::try_from(size) != Ok(value) => {
                    format!("{place} is {value} in the model and can't be bound to {size}")
                }
                // A size beyond usize is as impossible as the product that would follow.
                _ => match usize::try_from(value) {
                    Ok(size) => return size,
                    Err(_) => format!("{place} is {value}, more than this machine can address"),
                },
            },
            (None, [Some(size), _] | [None, Some(size)]) => return size,
            (None, [None, None]) if axis == 0 => return 1,
            (None, [None, None]) => {
                let name = name.map_or(position, str::to_string);
                format!("{place} has no fixed size; bind it with --dim {}=SIZE", name.escape_debug())
            }
        };
        self.problems.push(problem);
        1
    }
}
