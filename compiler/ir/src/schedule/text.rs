//! Text form of schedules: each of one node has one, such as `gemm 6x2x8 positions`, that reads back to the same schedule;
//! those of a graph are one node a line.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Attention, Axis, Chain, Lie, Outer, Schedule, Schedules, Split, Tile, Winograd};
use crate::graph::Graph;

/// A text that is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "'{0}' is not a schedule; expected one such as 'gemm 6x2x8 positions', 'winograd 4x4 6x2x8 channels strips 2 panels 3' \
     or 'vector 8'"
)]
pub struct NoSchedule(String);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outer::Positions => "positions",
            Outer::Channels => "channels",
        })
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tile { rows, vectors, lanes, outer } = self;
        write!(f, "{rows}x{vectors}x{lanes} {outer}")
    }
}

impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Winograd { tile, output, rows, panels } = self;
        write!(f, "{output}x{output} {tile} strips {rows} panels {panels}")
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attention { scores, values, rows, keys } = self;
        write!(f, "{rows}x{keys} scores {scores} values {values}")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Alias => f.write_str("alias"),
            Schedule::Gemm(tile) => write!(f, "gemm {tile}"),
            Schedule::Strassen(tile) => write!(f, "strassen {tile}"),
            Schedule::Direct(tile) => write!(f, "direct {tile}"),
            Schedule::Winograd(winograd) => write!(f, "winograd {winograd}"),
            Schedule::Depthwise(tile) => write!(f, "depthwise {tile}"),
            Schedule::Grouped(tile) => write!(f, "grouped {tile}"),
            Schedule::PackedGroups(tile) => write!(f, "packed_groups {tile}"),
            Schedule::Attention(attention) => write!(f, "attention {attention}"),
            Schedule::Vector { lanes } => write!(f, "vector {lanes}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = NoSchedule;

    /// Reads the text form. Whether the numbers make sense, for any node or machine, is not asked here.
    fn from_str(text: &str) -> Result<Self, NoSchedule> {
        let words: Vec<&str> = text.split(' ').collect();
        let schedule = match words[..] {
            ["alias"] => Some(Schedule::Alias),
            ["gemm", size, order] => tile(size, order).map(Schedule::Gemm),
            ["strassen", size, order] => tile(size, order).map(Schedule::Strassen),
            ["direct", size, order] => tile(size, order).map(Schedule::Direct),
            ["depthwise", size, order] => tile(size, order).map(Schedule::Depthwise),
            ["grouped", size, order] => tile(size, order).map(Schedule::Grouped),
            ["packed_groups", size, order] => tile(size, order).map(Schedule::PackedGroups),
            ["winograd", edges, size, order, "strips", rows, "panels", panels] => {
                winograd(edges, tile(size, order), rows, panels)
            }
            ["attention", size, "scores", scores, by_scores, "values", values, by_values] => {
                attention(size, tile(scores, by_scores), tile(values, by_values))
            }
            ["vector", lanes] => number(lanes).map(|lanes| Schedule::Vector { lanes }),
            _ => None,
        };
        // What is shown in errors comes from anywhere.
        schedule
            .ok_or_else(|| NoSchedule(text.chars().take(80).collect::<String>().escape_debug().to_string()))
    }
}

/// A number as it is printed: without signs and leading zeros.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

fn numbers<const N: usize>(text: &str) -> Option<[usize; N]> {
    let numbers: Vec<usize> = text.split('x').map(number).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

fn tile(size: &str, order: &str) -> Option<Tile> {
    let [rows, vectors, lanes] = numbers(size)?;
    let outer = [Outer::Positions, Outer::Channels].into_iter().find(|outer| outer.to_string() == order)?;
    Some(Tile { rows, vectors, lanes, outer })
}

fn winograd(edges: &str, tile: Option<Tile>, rows: &str, panels: &str) -> Option<Schedule> {
    let [output, other] = numbers(edges)?;
    let (tile, rows, panels) = (tile?, number(rows)?, number(panels)?);
    (output == other).then_some(Schedule::Winograd(Winograd { tile, output, rows, panels }))
}

fn attention(size: &str, scores: Option<Tile>, values: Option<Tile>) -> Option<Schedule> {
    let [rows, keys] = numbers(size)?;
    Some(Schedule::Attention(Attention { scores: scores?, values: values?, rows, keys }))
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = match self.axis {
            Axis::Rows => "rows",
            Axis::Columns => "columns",
        };
        write!(f, "{} parts of {axis}", self.parts)
    }
}

impl Schedules {
    /// Text form: one node a line in the graph's order, then the chains.
    pub fn to_text(&self, graph: &Graph) -> String {
        let mut text = format!("schedule {}\n", graph.name());
        for id in graph.topological().unwrap_or_default() {
            let node = graph.node(id);
            for (region, schedules) in
                node.op.regions().iter().zip(self.regions.get(&id).into_iter().flatten())
            {
                text += &format!("  {} ; {}\n", node.op.name(), node.name.escape_debug());
                let inner = schedules.to_text(region.graph());
                text.extend(inner.lines().map(|line| format!("    {line}\n")));
            }
            if let Some(schedule) = self.nodes.get(&id) {
                let name = node.name.escape_debug();
                let split = self.splits.get(&id).map(|split| format!(" in {split}")).unwrap_or_default();
                let view = self.views.get(&id).map(|view| {
                    let of = graph.node(view.of).name.escape_debug().to_string();
                    match view.lie {
                        Lie::Columns => format!(" at column {} of {of}", view.first),
                        Lie::Run => format!(" at element {} of {of}", view.first),
                        Lie::Planes => format!(" as planes of {of}"),
                        Lie::Strided => {
                            let strides = self.strides.get(&id).cloned().unwrap_or_default();
                            format!(" at element {} of {of} by {strides:?}", view.first)
                        }
                    }
                });
                let view = view.unwrap_or_default();
                text += &format!(
                    "  {:<16} {schedule:<30} {}{split}{view} ; {name}\n",
                    node.op.name(),
                    node.outputs[0]
                );
            }
        }
        for Chain { nodes, rows, parts } in &self.chains {
            let names: Vec<String> =
                nodes.iter().map(|&id| graph.node(id).name.escape_debug().to_string()).collect();
            text += &format!("  chain {} ; strips of {rows} rows, {parts} parts\n", names.join(" -> "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_read_back() {
        let tile = Tile { rows: 6, vectors: 2, lanes: 8, outer: Outer::Positions };
        let other = Tile { outer: Outer::Channels, ..tile };
        for schedule in [
            Schedule::Alias,
            Schedule::Gemm(tile),
            Schedule::Strassen(tile),
            Schedule::Direct(other),
            Schedule::Depthwise(tile),
            Schedule::Grouped(other),
            Schedule::PackedGroups(tile),
            Schedule::Winograd(Winograd { tile, output: 4, rows: 3, panels: 12 }),
            Schedule::Attention(Attention { scores: tile, values: other, rows: 24, keys: 512 }),
            Schedule::Vector { lanes: 16 },
        ] {
            assert_eq!(schedule.to_string().parse(), Ok(schedule), "{schedule}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "gemm",
            "gemm 6x2x8",
            "gemm 6x2 positions",
            "gemm 6x2x8 sideways",
            "gemm  6x2x8 positions",
            "gemm +6x2x8 positions",
            "gemm 06x2x8 positions",
            "gemm 6x2x8x1 positions",
            "gemm 99999999999999999999x2x8 positions",
            "gemm 6x2x8 positions ",
            "Gemm 6x2x8 positions",
            "winograd 4x2 6x2x8 channels strips 2 panels 3",
            "winograd 4x4 6x2x8 channels strips 2",
            "attention 24 scores 6x2x8 positions values 6x2x8 positions",
            "attention 24x512 scores 6x2x8 positions",
            "vector",
            "vector -8",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
        let error = "\u{1b}[2J".parse::<Schedule>().expect_err("no schedule").to_string();
        assert!(error.starts_with("'\\u{1b}[2J' is not a schedule"), "{error}");
    }
}
