//! What a model is made of: operators, shapes, parameters, multiply-adds, bytes; per layer and in total.

use avocet_ir::cost::{Cost, costs};
use avocet_ir::{Graph, Value};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::model::Model;

/// One layer.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Name from the model.
    pub name: String,
    /// Operator.
    pub operator: &'static str,
    /// Its attributes as `key=value`.
    pub attributes: Vec<String>,
    /// Type of the result.
    pub output: String,
    /// Learned numbers.
    pub parameters: u64,
    /// Multiply-adds of one inference.
    pub multiply_adds: u64,
    /// Bytes of constants.
    pub weight_bytes: u64,
    /// Bytes of all tensors that are live while the layer is computed.
    pub live_bytes: u64,
}

/// A model's report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the model.
    pub name: String,
    /// Inputs as `name: type`.
    pub inputs: Vec<String>,
    /// Outputs as `name: type`.
    pub outputs: Vec<String>,
    /// Layers in the order of computation.
    pub layers: Vec<Layer>,
    /// Sum over the layers.
    pub parameters: u64,
    /// Sum over the layers.
    pub multiply_adds: u64,
    /// Sum over the layers.
    pub weight_bytes: u64,
    /// Largest `live_bytes`: what activations need when nothing is fused.
    pub peak_activation_bytes: u64,
    /// Names of constants that hold a NaN, which is kept but seldom meant.
    pub nan_constants: Vec<String>,
}

/// Examines a model as its author wrote it, before any pass.
pub fn report(model: &Model) -> Report {
    let graph = model.graph();
    let (nodes, total) = costs(graph);
    let live = live_bytes(graph, &nodes.iter().map(|n| n.0).collect::<Vec<_>>());
    let layers: Vec<Layer> = nodes
        .iter()
        .zip(live)
        .map(|(&(id, cost), live_bytes)| {
            let node = graph.node(id);
            let Cost { parameters, multiply_adds, weight_bytes, .. } = cost;
            let attributes = node.op.attributes().into_iter().map(|(k, v)| format!("{k}={v}")).collect();
            Layer {
                name: node.name.clone(),
                operator: node.op.name(),
                attributes,
                output: node.outputs[0].to_string(),
                parameters,
                multiply_adds,
                weight_bytes,
                live_bytes,
            }
        })
        .collect();
    let nan_constants = graph
        .ids()
        .filter(|&id| {
            let data = graph.node(id).op.as_constant().and_then(|t| t.as_f32());
            data.is_some_and(|data| data.iter().any(|v| v.is_nan()))
        })
        .map(|id| graph.node(id).name.clone())
        .collect();
    let show = |ports: Vec<avocet_ir::program::Port>| {
        ports.iter().map(|p| format!("{}: {}", p.name, p.ty)).collect()
    };
    Report {
        name: model.name().into(),
        inputs: show(model.inputs()),
        outputs: show(model.outputs()),
        parameters: total.parameters,
        multiply_adds: total.multiply_adds,
        weight_bytes: total.weight_bytes,
        peak_activation_bytes: layers.iter().map(|l| l.live_bytes).max().unwrap_or(0),
        layers,
        nan_constants,
    }
}

/// Bytes of activations that exist while each node runs: made before or by it, and used by it or later.
fn live_bytes(graph: &Graph, order: &[avocet_ir::NodeId]) -> Vec<u64> {
    let index: std::collections::HashMap<_, _> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let mut change = vec![0i64; order.len() + 1];
    let mut add = |value: Value, from: usize| {
        let users = graph.users(value);
        let last = users.iter().filter_map(|(user, _)| index.get(user)).max().copied();
        let last = if graph.is_output(value) { Some(order.len().saturating_sub(1)) } else { last };
        let bytes = graph.ty(value).bytes() as i64;
        let end = last.unwrap_or(from).max(from);
        if let Some(slot) = change.get_mut(from) {
            *slot += bytes;
        }
        if let Some(slot) = change.get_mut(end + 1) {
            *slot -= bytes;
        }
    };
    for &id in graph.input_nodes() {
        add(id.into(), 0);
    }
    for (from, &id) in order.iter().enumerate() {
        add(id.into(), from);
    }
    let mut sum = 0i64;
    change[..order.len()]
        .iter()
        .map(|c| {
            sum += c;
            sum.max(0) as u64
        })
        .collect()
}

/// The report as a table, with totals below.
pub fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["layer", "operator", "output", "parameters", "multiply-adds", "weights", "live"]);
    for number in 3..7 {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for layer in &report.layers {
        let count = |n: u64| if n == 0 { String::new() } else { grouped(n) };
        table.add_row([
            shortened(&layer.name.escape_debug().to_string()),
            layer.operator.to_string(),
            layer.output.clone(),
            count(layer.parameters),
            count(layer.multiply_adds),
            count(layer.weight_bytes),
            count(layer.live_bytes),
        ]);
    }
    let mut out = format!("{table}\n");
    for (what, ports) in [("input", &report.inputs), ("output", &report.outputs)] {
        ports.iter().for_each(|port| out += &format!("{what:<24}{port}\n"));
    }
    for (what, number) in [
        ("parameters", report.parameters),
        ("multiply-adds", report.multiply_adds),
        ("weight bytes", report.weight_bytes),
        ("peak activation bytes", report.peak_activation_bytes),
    ] {
        out += &format!("{what:<24}{}\n", grouped(number));
    }
    for name in &report.nan_constants {
        out += &format!("warning: constant '{}' holds a NaN\n", name.escape_debug());
    }
    out
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// The end of a long name, which tells layers apart.
pub(crate) fn shortened(name: &str) -> String {
    const MOST: usize = 40;
    let count = name.chars().count();
    match count > MOST {
        true => format!("…{}", name.chars().skip(count - MOST + 1).collect::<String>()),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::{Binary, Op};
    use avocet_ir::{Tensor, TensorType};

    use super::*;

    #[test]
    fn a_nan_weight_is_kept_and_reported() {
        let mut graph = Graph::new("net");
        let ty = TensorType::f32([2]).expect("small");
        let x = graph.add("x", Op::Input(ty), &[]).expect("an input");
        let nan = graph.constant("scale", Tensor::f32([2], vec![1.0, f32::NAN]).expect("two"));
        let fine = graph.constant("bias", Tensor::f32([2], vec![1.0, 2.0]).expect("two"));
        let y = graph.add("product", Op::Binary(Binary::Mul), &[x, nan]).expect("valid");
        let y = graph.add("y", Op::Binary(Binary::Add), &[y, fine]).expect("valid");
        graph.add_output("y", y);
        let model = Model::from_graph(graph).expect("valid");
        let report = report(&model);
        assert_eq!(report.nan_constants, ["scale"]);
        assert!(table(&report).ends_with("warning: constant 'scale' holds a NaN\n"), "{}", table(&report));
        let kept = model.reference(&[Tensor::f32([2], vec![1.0; 2]).expect("two")]).expect("runs");
        assert!(kept[0].as_f32().is_some_and(|v| v[0] == 2.0 && v[1].is_nan()), "{kept:?}");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
