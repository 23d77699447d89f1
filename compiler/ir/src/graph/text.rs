//! Text form of a graph: one node a line in topological order, numbered in that order.
//!
//! ```text
//! graph tiny
//!   %0 = input : f32[1,3,8,8] ; image
//!   %1 = constant : f32[4,3,1,1] ; weights
//!   %2 = conv %0, %1 {layout=nchw} -> add(%3) -> relu : f32[1,4,8,8] ; features
//!   return %2 "features"
//! ```

use std::collections::HashMap;
use std::fmt;

use super::{Graph, NodeId, Value};
use crate::of_any_type;
use crate::op::EpilogueStep;

/// Constants of up to this many elements are printed with their elements.
const PRINTED_ELEMENTS: usize = 4;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name())?;
        let order = match self.topological() {
            Ok(order) => order,
            Err(error) => return writeln!(f, "  {error}"),
        };
        let numbers: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
        let show = |value: Value| match value.port {
            0 => format!("%{}", numbers[&value.node]),
            port => format!("%{}.{port}", numbers[&value.node]),
        };
        for &id in &order {
            let node = self.node(id);
            write!(f, "  %{} = ", numbers[&id])?;
            self.computation(f, id, show)?;
            // Names come from the model and may hold anything.
            match node.name.is_empty() {
                true => writeln!(f)?,
                false => writeln!(f, " ; {}", node.name.escape_debug())?,
            }
            // The verifier bounds how deep regions are nested.
            for region in node.op.regions() {
                region.graph().to_string().lines().try_for_each(|line| writeln!(f, "    {line}"))?;
            }
        }
        for output in self.outputs() {
            writeln!(f, "  return {} {:?}", show(output.value), output.name)?;
        }
        Ok(())
    }
}

impl Graph {
    /// What a node computes, without names, weights or its place in the graph: the same text for nodes for which the same
    /// code does. `conv f32[1,56,56,24], constant f32[144,24,1,1] {layout=nhwc} -> relu : f32[1,56,56,144]`
    pub fn layer_text(&self, id: NodeId) -> String {
        let show = |value: Value| {
            let constant = if self.as_constant(value).is_some() { "constant " } else { "" };
            format!("{constant}{}", self.ty(value))
        };
        fmt::from_fn(|f| self.computation(f, id, show)).to_string()
    }

    /// A node's operator, attributes, epilogue and types; `show` gives the text of an input.
    fn computation(
        &self,
        f: &mut fmt::Formatter<'_>,
        id: NodeId,
        show: impl Fn(Value) -> String,
    ) -> fmt::Result {
        let (node, inputs) = (self.node(id), self.inputs(id));
        f.write_str(node.op.name())?;
        let own = inputs.len().saturating_sub(node.epilogue_operands());
        for (i, &value) in inputs[..own].iter().enumerate() {
            write!(f, "{} {}", if i > 0 { "," } else { "" }, show(value))?;
        }
        let attributes: Vec<String> =
            node.op.attributes().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        if !attributes.is_empty() {
            write!(f, " {{{}}}", attributes.join(", "))?;
        }
        if let Some(tensor) = node.op.as_constant()
            && (1..=PRINTED_ELEMENTS).contains(&tensor.shape().elements())
        {
            of_any_type!(tensor.data(), data => write!(f, " {data:?}")?);
        }
        for step in &node.epilogue {
            match step {
                EpilogueStep::Unary(unary) => write!(f, " -> {unary}")?,
                EpilogueStep::Binary { op, operand, swapped } => {
                    let operand = inputs.get(*operand).map_or_else(|| "?".into(), |&v| show(v));
                    let order = if *swapped { format!("{operand}, _") } else { operand };
                    write!(f, " -> {}({order})", op.name())?;
                }
            }
        }
        let types: Vec<String> = node.outputs.iter().map(ToString::to_string).collect();
        write!(f, " : {}", types.join(", "))
    }
}
