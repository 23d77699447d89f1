//! The attributes of an operator as text, the one form in which graphs, error messages and `inspect` show them.

use std::fmt::{self, Write as _};

use super::{Conv, Layout, Loop, Op, PadMode, Pool, PoolKind, Resize, SliceAxis};

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        })
    }
}

/// `[1,2]` without the spaces of `Debug`.
fn list(items: &[usize]) -> String {
    let items: Vec<String> = items.iter().map(usize::to_string).collect();
    format!("[{}]", items.join(","))
}

impl Op {
    /// Attributes as `key=value` in a fixed order; those at their usual value (stride 1, no padding) are left out.
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        match self {
            Op::Input(_) | Op::Constant(_) | Op::Identity | Op::If { .. } => {}
            Op::Conv(Conv { strides, dilations, padding, groups, layout }) => {
                window(&mut out, *strides, *dilations, *padding);
                if *groups != 1 {
                    out.push(("groups", groups.to_string()));
                }
                out.push(("layout", layout.to_string()));
            }
            Op::Pool(Pool { kind, window: size, strides, dilations, padding, ceil_mode, layout }) => {
                out.push(("window", list(size)));
                window(&mut out, *strides, *dilations, *padding);
                if *ceil_mode {
                    out.push(("ceil_mode", "true".into()));
                }
                if matches!(kind, PoolKind::Average { count_padding: true }) {
                    out.push(("count_padding", "true".into()));
                }
                out.push(("layout", layout.to_string()));
            }
            Op::MatMul { transpose_a, transpose_b } => {
                for (key, set) in [("transpose_a", transpose_a), ("transpose_b", transpose_b)] {
                    if *set {
                        out.push((key, "true".into()));
                    }
                }
            }
            Op::BatchNorm { epsilon, axis } => {
                out.push(("epsilon", epsilon.to_string()));
                out.push(("axis", axis.to_string()));
            }
            Op::Reduce { axes, keep_dims, .. } => {
                out.push(("axes", list(axes)));
                out.push(("keep_dims", keep_dims.to_string()));
            }
            Op::Unary(unary) => {
                out.extend(unary.parameters().into_iter().map(|(key, value)| (key, value.to_string())));
            }
            Op::Binary(_) | Op::Compare(_) | Op::Select => {}
            Op::ArgReduce { axis, last, .. } => {
                out.push(("axis", axis.to_string()));
                if *last {
                    out.push(("last", "true".into()));
                }
            }
            Op::Rank { largest, axis, count } => {
                out.push(("axis", axis.to_string()));
                out.push(("count", count.to_string()));
                out.push(("largest", largest.to_string()));
            }
            Op::Cumulate { join, axis, exclusive, reverse } => {
                out.push(("join", join.name().into()));
                out.push(("axis", axis.to_string()));
                for (key, set) in [("exclusive", exclusive), ("reverse", reverse)] {
                    if *set {
                        out.push((key, "true".into()));
                    }
                }
            }
            Op::Gather { axis } => out.push(("axis", axis.to_string())),
            Op::Scatter { join } => out.extend(join.map(|join| ("join", join.name().into()))),
            Op::Softmax { axis } | Op::Concat { axis } => out.push(("axis", axis.to_string())),
            Op::Normalize { epsilon, centered } => {
                out.push(("epsilon", epsilon.to_string()));
                if !centered {
                    out.push(("centered", "false".into()));
                }
            }
            Op::Attention { scale } => out.push(("scale", scale.to_string())),
            Op::Transpose { perm } => out.push(("perm", list(perm))),
            Op::Reshape { shape } | Op::Broadcast { shape } => out.push(("shape", shape.to_string())),
            Op::Slice { axes } => out.push(("axes", slice(axes))),
            Op::Pad { amounts, mode } => {
                let before: Vec<usize> = amounts.iter().map(|a| a.0).collect();
                let after: Vec<usize> = amounts.iter().map(|a| a.1).collect();
                out.push(("before", list(&before)));
                out.push(("after", list(&after)));
                out.push(match mode {
                    PadMode::Constant(value) => ("value", value.to_string()),
                    PadMode::Edge => ("mode", "edge".into()),
                    PadMode::Reflect => ("mode", "reflect".into()),
                });
            }
            Op::ChannelShuffle { groups, axis } => {
                out.push(("groups", groups.to_string()));
                out.push(("axis", axis.to_string()));
            }
            Op::Resize(Resize { mode, coordinates, size, scales, layout }) => {
                out.push(("mode", format!("{mode:?}")));
                out.push(("coordinates", format!("{coordinates:?}")));
                out.push(("size", list(size)));
                out.push(("scales", format!("[{},{}]", scales[0], scales[1])));
                out.push(("layout", layout.to_string()));
            }
            Op::Loop(Loop { count, limited, conditional, carried, scanned, stacked, .. }) => {
                out.push(("count", count.to_string()));
                for (key, set) in [("limited", limited), ("conditional", conditional)] {
                    if *set {
                        out.push((key, "true".into()));
                    }
                }
                out.push(("carried", carried.to_string()));
                for (key, backwards) in [("scanned", scanned), ("stacked", stacked)] {
                    if !backwards.is_empty() {
                        let ways: Vec<_> = backwards.iter().map(|&b| if b { "-" } else { "+" }).collect();
                        out.push((key, ways.concat()));
                    }
                }
            }
            Op::Cast { to } | Op::Bitcast { to } => out.push(("to", to.to_string())),
        }
        out
    }
}

fn window(
    out: &mut Vec<(&'static str, String)>,
    strides: [usize; 2],
    dilations: [usize; 2],
    padding: super::Padding,
) {
    if strides != [1, 1] {
        out.push(("strides", list(&strides)));
    }
    if dilations != [1, 1] {
        out.push(("dilations", list(&dilations)));
    }
    if !padding.is_none() {
        out.push(("padding", padding.to_string()));
    }
}

/// `[start+count*step, ..]`.
fn slice(axes: &[SliceAxis]) -> String {
    let mut out = String::from("[");
    for (i, SliceAxis { start, count, step }) in axes.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        // Writing to a string can't fail.
        let _ = write!(out, "{comma}{start}+{count}*{step}");
    }
    out + "]"
}
