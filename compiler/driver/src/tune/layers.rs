//! The distinct layers of a network, each as a network of its own.

use std::collections::{BTreeMap, HashMap};

use avocet_ir::op::{EpilogueStep, Op};
use avocet_ir::{Graph, GraphError, NodeId, Value};

/// Nodes that pose the same problem.
#[derive(Clone, Debug)]
pub(crate) struct Distinct {
    /// What they compute.
    pub(crate) text: String,
    /// The nodes, in order.
    pub(crate) nodes: Vec<NodeId>,
}

/// The layers that have code, in the order of their first nodes.
pub(crate) fn distinct(graph: &Graph) -> Result<Vec<Distinct>, GraphError> {
    let mut found: Vec<Distinct> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for id in graph.topological()? {
        let node = graph.node(id);
        let is_data = matches!(node.op, Op::Input(_) | Op::Constant(_));
        let holds_regions = !node.op.regions().is_empty();
        if is_data || holds_regions || node.outputs[0].shape.elements() == 0 {
            continue;
        }
        let text = graph.layer_text(id);
        let place = *places.entry(text.clone()).or_insert(found.len());
        if place == found.len() {
            found.push(Distinct { text, nodes: Vec::new() });
        }
        found[place].nodes.push(id);
    }
    Ok(found)
}

/// A network of one node with its epilogue and constants; what it reads of others is input.
pub(crate) fn alone(graph: &Graph, id: NodeId) -> Result<(Graph, NodeId), GraphError> {
    let (node, inputs) = (graph.node(id), graph.inputs(id));
    let mut own = Graph::new(node.op.name());
    let mut values: HashMap<Value, Value> = HashMap::new();
    for &value in &inputs {
        if values.contains_key(&value) {
            continue;
        }
        let name = format!("x{}", values.len());
        let copy = match graph.as_constant(value) {
            Some(tensor) => own.constant(name, tensor.clone()),
            None => own.add(name, Op::Input(graph.ty(value).clone()), &[])?,
        };
        values.insert(value, copy);
    }
    let operands: Vec<Value> = inputs.iter().map(|value| values[value]).collect();
    let plain = inputs.len().saturating_sub(node.epilogue_operands());
    let result = own.add(node.name.clone(), node.op.clone(), &operands[..plain])?;
    for step in &node.epilogue {
        let operand = match step {
            EpilogueStep::Binary { operand, .. } => operands.get(*operand).copied(),
            EpilogueStep::Unary(_) => None,
        };
        own.push_epilogue(result.node, step.clone(), operand)?;
    }
    own.add_output("y", result);
    Ok((own, result.node))
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::{Binary, Unary};
    use avocet_ir::{Tensor, TensorType};

    use super::*;

    #[test]
    fn layers_stand_alone_and_equal_ones_are_one() {
        let mut graph = Graph::new("test");
        let ty = TensorType::f32([1, 8]).expect("small");
        let x = graph.add("x", Op::Input(ty), &[]).expect("valid");
        let weights = Tensor::f32([8, 8], vec![0.5; 64]).expect("small");
        let product = Op::MatMul { transpose_a: false, transpose_b: false };
        let mut y = x;
        for name in ["a", "b"] {
            let w = graph.constant(format!("{name}.w"), weights.clone());
            let next = graph.add(name, product.clone(), &[y, w]).expect("valid");
            let add = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
            graph.push_epilogue(next.node, add, Some(y)).expect("valid");
            graph.push_epilogue(next.node, EpilogueStep::Unary(Unary::Relu), None).expect("valid");
            y = next;
        }
        let z = graph.add("z", Op::Unary(Unary::Tanh), &[y]).expect("valid");
        graph.add_output("z", z);
        let layers = distinct(&graph).expect("acyclic");
        let sizes: Vec<usize> = layers.iter().map(|layer| layer.nodes.len()).collect();
        assert_eq!(sizes, [2, 1]);
        for layer in layers {
            let (own, id) = alone(&graph, layer.nodes[0]).expect("valid");
            own.verify().expect("valid");
            assert_eq!(own.layer_text(id), layer.text);
            assert_eq!(own.input_nodes().len(), 1);
        }
    }
}
