//! What a model executes, as a table.

use comfy_table::{CellAlignment, Table, presets};

use super::{Share, Simulation};
use crate::inspect::grouped;

/// The kinds of kernels as a table, with what they sum up to below.
pub fn table(simulation: &Simulation) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "kernels",
        "calls",
        "instructions",
        "%",
        "multiply-adds",
        "inner loops",
        "multiply-adds",
        "%",
        "stack",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for share in &simulation.kinds {
        table.add_row([
            share.name.clone(),
            share.calls.to_string(),
            grouped(share.instructions),
            percent(share.instructions, simulation.total.instructions),
            grouped(share.multiply_add_instructions),
            grouped(share.inner_instructions),
            grouped(share.inner_multiply_add_instructions),
            percent(share.inner_multiply_add_instructions, share.inner_instructions),
            grouped(share.inner_stack_instructions),
        ]);
    }
    let Share { instructions, multiply_add_instructions, .. } = simulation.total;
    format!(
        "{table}\n\
         {:<14}{}{} for one inference, {} % of them multiply-adds\n\
         {:<14}{}, {:.2} for each instruction\n",
        "instructions",
        if simulation.at_most { "at most " } else { "" },
        grouped(instructions),
        percent(multiply_add_instructions, instructions),
        "multiply-adds",
        grouped(simulation.needed_multiply_adds),
        simulation.needed_multiply_adds as f64 / instructions.max(1) as f64,
    )
}

fn percent(part: u64, of: u64) -> String {
    format!("{:.1}", part as f64 / of.max(1) as f64 * 100.0)
}
