//! A profile as a table.

use comfy_table::{CellAlignment, Table, presets};

use super::{Layer, Profile};
use crate::bench::limits_text;
use crate::inspect::{grouped, shortened};

/// Order of a table's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they run.
    Execution,
    /// The longest first.
    Time,
}

/// The profile as a table, with what it sums up to below.
pub fn table(profile: &Profile, order: Order) -> String {
    let mut layers: Vec<&Layer> = profile.layers.iter().collect();
    if order == Order::Time {
        layers.sort_by(|a, b| b.share_of_time.total_cmp(&a.share_of_time));
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "", "layer", "operator", "kernel", "µs", "%", "MMAC", "KiB", "GFLOP/s", "GB/s", "roofline",
    ]);
    for number in [0].into_iter().chain(4..11) {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for layer in layers {
        let bytes = layer.weight_bytes + layer.activation_bytes;
        let products = layer.multiply_adds as f64 / 1e6;
        table.add_row([
            layer.number.to_string(),
            shortened(&layer.node.escape_debug().to_string()),
            layer.operator.clone(),
            layer.kernel.clone(),
            match layer.runs {
                1 => format!("{:.1}", layer.time.median_ms * 1e3),
                runs => format!("{runs} x {:.1}", layer.time.median_ms * 1e3),
            },
            format!("{:.1}", layer.share_of_time * 100.0),
            if layer.multiply_adds == 0 { String::new() } else { format!("{products:.2}") },
            grouped(bytes.div_ceil(1024)),
            if layer.gflops == 0.0 { String::new() } else { format!("{:.1}", layer.gflops) },
            format!("{:.1}", layer.gigabytes_per_second),
            format!("{:.0} %", layer.share_of_roofline * 100.0),
        ]);
    }
    let share = |part: f64| if profile.sum_ms > 0.0 { part / profile.sum_ms * 100.0 } else { 0.0 };
    format!(
        "{table}\n\
         {:<14}{:.3} ms median, {:.3} ms minimum of {} whole runs; the calls one by one sum up to {:.3} ms\n\
         {:<14}{:.3} ms by the limits, {:.0} % of the calls' sum\n\
         {:<14}{}\n",
        "latency",
        profile.whole.median_ms,
        profile.whole.min_ms,
        profile.whole.runs,
        profile.sum_ms,
        "roofline",
        profile.bound_ms,
        share(profile.bound_ms),
        "limits",
        limits_text(&profile.limits),
    )
}
