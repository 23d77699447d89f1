//! Schedules: how each node is to be computed on a machine of so many lanes and registers.
//!
//! The choice between kernel families (`family.rs`) follows from the operator alone. Tiles come from the cost model in
//! `tile.rs`, and Winograd's method where `winograd.rs` says that it is faster. What was measured on the machine can take
//! the place of the model's choices afterwards: `tuned.rs`.

use avocet_ir::schedule::{Schedule, Schedules};
use avocet_ir::{Graph, GraphError, NodeId};

use crate::family::{self, Family};
use crate::{strassen, views, winograd};

/// What a schedule must know of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// f32 lanes of a vector.
    pub lanes: usize,
    /// Vector registers that kernels may use.
    pub registers: usize,
    /// Vector multiply-adds per cycle.
    pub multiply_add: usize,
    /// Vector loads per cycle.
    pub loads: usize,
    /// Bytes of the second-level cache; 0 where it isn't known.
    pub l2: usize,
    /// Whether the lanes of a vector can be permuted at little cost.
    pub permutes: bool,
    /// Whether products may go by Strassen's method. Its sums, stores and loads beside the multiply-adds must cost less than the
    /// eighth of those that it saves, as was measured on x86-64. Where every instruction takes its turn they don't: on RISC-V
    /// the method needs as many instructions as the plain one.
    pub strassen: bool,
}

impl Machine {
    /// Bytes of the second-level cache, or some where none is known.
    pub(crate) fn cache(&self) -> usize {
        const SOME: usize = 256 << 10;
        if self.l2 == 0 { SOME } else { self.l2 }
    }
}

/// What is asked of schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// Only methods whose rounding errors are those of plain sums: no convolution by Winograd's method, no product by Strassen's.
    pub exact: bool,
}

/// Chooses a schedule for each node that is computed.
pub fn schedule(graph: &Graph, machine: &Machine, options: ScheduleOptions) -> Result<Schedules, GraphError> {
    let mut schedules = Schedules { scalar: machine.lanes == 1, ..Schedules::default() };
    for id in graph.topological()? {
        let regions = graph.node(id).op.regions();
        if !regions.is_empty() {
            let inner: Result<_, _> =
                regions.iter().map(|region| schedule(region.graph(), machine, options)).collect();
            schedules.regions.insert(id, inner?);
        } else if let Some(schedule) = choose(graph, id, machine, options) {
            schedules.nodes.insert(id, schedule);
        }
    }
    views::assign(graph, &mut schedules)?;
    Ok(schedules)
}

/// The model's choice for a node; none for inputs and constants.
pub(crate) fn choose(
    graph: &Graph,
    id: NodeId,
    machine: &Machine,
    options: ScheduleOptions,
) -> Option<Schedule> {
    Some(match family::family(graph, id, machine)? {
        Family::Alias => Schedule::Alias,
        Family::Vector { .. } => Schedule::Vector { lanes: machine.lanes },
        Family::Attention(heads) => Schedule::Attention(heads.schedule(machine)),
        Family::Windows(windows) => windows.schedule(windows.tile(machine)),
        Family::Products(products) => {
            let tile = products.tile(machine);
            let direct = products.cost(tile, machine);
            let plain = products.kind.schedule(tile);
            if options.exact {
                return Some(plain);
            }
            winograd::choose(graph, id, direct, machine)
                .or_else(|| strassen::choose(graph, id, &products, direct, machine))
                .unwrap_or(plain)
        }
    })
}
