//! What tuning has found, as a table.

use comfy_table::{CellAlignment, Table, presets};

use super::{Source, Tuning};
use crate::inspect::shortened;

/// The layers with the model's choice and the fastest, and what it sums up to below.
pub fn table(tuning: &Tuning) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["layer", "×", "tried", "model's choice", "predicted", "µs", "fastest", "µs", "ratio"]);
    for number in [1, 2, 4, 5, 7, 8] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for layer in &tuning.layers {
        let name = layer.nodes.first().map(|name| name.escape_debug().to_string()).unwrap_or_default();
        let predicted = format!("{:.1}", layer.predicted_microseconds);
        let mut row = vec![shortened(&name), layer.nodes.len().to_string()];
        if layer.source == Source::NotMeasured {
            row.extend(["".into(), layer.model.schedule.clone(), predicted, "not measured".into()]);
        } else {
            row.extend([
                layer.candidates.to_string(),
                layer.model.schedule.clone(),
                predicted,
                format!("{:.1}", layer.model.microseconds),
            ]);
            if layer.best.schedule != layer.model.schedule {
                let best = &layer.best;
                row.extend([
                    best.schedule.clone(),
                    format!("{:.1}", best.microseconds),
                    format!("{:.2}", layer.ratio),
                ]);
            }
        }
        row.resize(9, String::new());
        table.add_row(row);
    }
    let count = |source| tuning.layers.iter().filter(|layer| layer.source == source).count();
    let mut text = format!("{table}\n");
    let mut line = |name: &str, value: String| text += &format!("{name:<14}{value}\n");
    line("target", tuning.target.clone());
    let known = match count(Source::Known) {
        0 => String::new(),
        known => format!(", {known} known before"),
    };
    let left = match count(Source::NotMeasured) {
        0 => String::new(),
        left => format!(", {left} not measured since the time ran out"),
    };
    line("layers", format!("{} measured in {:.1} s{known}{left}", count(Source::Measured), tuning.seconds));
    line(
        "layers' sum",
        format!("{:.3} ms as the model chooses, {:.3} ms tuned", tuning.model_ms, tuning.tuned_ms),
    );
    line("cost model", format!("within {:.1} % of tuned", tuning.model_excess * 100.0));
    text
}
