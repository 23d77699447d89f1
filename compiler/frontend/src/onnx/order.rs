//! The order of nodes: each after those whose results it uses.
//!
//! The specification demands that order of the file. Files that are merely out of order are accepted; cycles are not.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::error::OnnxError;
use super::proto::{GraphProto, NodeProto};
use super::regions::used_names;

/// Numbers of the nodes in an order in which each follows those that it depends on; a file in order stays in order.
pub(super) fn order(proto: &GraphProto) -> Result<Vec<usize>, OnnxError> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    for (number, node) in proto.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if maker.insert(output, number).is_some() {
                let output = output.escape_debug();
                return Err(OnnxError::invalid(format!(
                    "two nodes compute '{output}'; names must be unique"
                )));
            }
        }
    }
    let mut waiting = vec![0usize; proto.node.len()];
    let mut users: HashMap<usize, Vec<usize>> = HashMap::new();
    for (number, node) in proto.node.iter().enumerate() {
        let sources: HashSet<usize> =
            used_names(node).into_iter().filter_map(|name| maker.get(name).copied()).collect();
        waiting[number] = sources.len();
        sources.into_iter().for_each(|source| users.entry(source).or_default().push(number));
    }
    let mut ready: BTreeSet<usize> = (0..waiting.len()).filter(|&number| waiting[number] == 0).collect();
    let mut order = Vec::with_capacity(waiting.len());
    // The smallest number first, so that a file in order stays in order.
    while let Some(number) = ready.pop_first() {
        order.push(number);
        for &user in users.get(&number).into_iter().flatten() {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.insert(user);
            }
        }
    }
    match waiting.iter().position(|&count| count > 0) {
        Some(number) => {
            let name = node_name(&proto.node[number], number);
            Err(OnnxError::invalid(format!(
                "the graph has a cycle through node '{}' or before it",
                name.escape_debug()
            )))
        }
        None => Ok(order),
    }
}

/// A node's name, or the operator with its first output, or the operator with the node's number.
pub(super) fn node_name(node: &NodeProto, number: usize) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) if !output.is_empty() => format!("{}_{output}", node.op_type),
        ("", _) => format!("{}_{number}", node.op_type),
        (name, _) => name.into(),
    }
}
