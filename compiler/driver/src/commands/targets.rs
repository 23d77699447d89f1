//! `avocet targets`: the processors that there are descriptions of, and one such description.

use std::process::ExitCode;

use avocet::Target;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::{CommandError, print, target};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Print the description of this one, a built-in target or a .toml file, to begin a file of one's own with.
    #[arg(value_name = "NAME|FILE")]
    target: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    print(&match &arguments.target {
        Some(name) => target(name)?.to_toml(),
        None => {
            let all = Target::names().into_iter().map(Target::by_name).collect::<Result<Vec<_>, _>>()?;
            table(&all)
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn table(targets: &[Target]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["target", "triple", "vectors", "L1", "L2", "L3", "cores", "GHz", "what"]);
    for number in 3..8 {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for target in targets {
        let vectors = match target.vector.bits.last() {
            Some(bits) => format!("{} of {bits}", target.vector.registers),
            None => "none".into(),
        };
        let size = |bytes: u32| match bytes {
            0 => String::new(),
            bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
            bytes => format!("{} KiB", bytes >> 10),
        };
        let caches = target.caches;
        table.add_row([
            target.name.clone(),
            target.triple.to_string(),
            vectors,
            size(caches.l1d),
            size(caches.l2),
            size(caches.l3),
            target.cores.map(|cores| cores.to_string()).unwrap_or_default(),
            target.frequency_mhz.map(|mhz| format!("{:.1}", f64::from(mhz) / 1000.0)).unwrap_or_default(),
            target.description.clone(),
        ]);
    }
    format!("{table}\n")
}
