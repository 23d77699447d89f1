//! Lowering: a graph and its schedules become a program.
//!
//! Each value gets a storage: inputs and outputs of the network are the caller's memory, constants are read-only data,
//! everything else is a temporary that the memory planner places later. A node scheduled as `Alias` shares the storage
//! of its input; a result of the network that is an alias of another tensor is written in place where nothing forbids
//! it, and copied where it does (the network returns one of its inputs, a constant, or one tensor twice).

use std::collections::HashMap;

use thiserror::Error;

use avocet_ir::kernel::{Element, Kernel};
use avocet_ir::op::Op;
use avocet_ir::program::{Argument, Call, Port, Program, ProgramError, Step, Storage};
use avocet_ir::schedule::{Chain, Schedule, Schedules, View};
use avocet_ir::tensor::TensorData;
use avocet_ir::{DType, Graph, GraphError, NodeId, TensorType, Value};

use crate::emitter::Emitter;
use crate::problem::{Problem, width};
use crate::{
    attention, chain, control, depthwise, direct, elementwise, gemm, movement, normalize, packed_groups,
    parts, pool, positions, reduce, resize, scalars, strassen, winograd,
};

/// Why a graph can't be lowered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LowerError {
    /// The graph is broken.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A node has no schedule.
    #[error("node '{0}' has no schedule")]
    Unscheduled(String),
    /// No generator computes this.
    #[error("node '{name}': no kernel for {what}")]
    Unsupported {
        /// Name of the node.
        name: String,
        /// The operator with what makes it unsupported.
        what: String,
    },
    /// A generator made something wrong; a defect of avocet.
    #[error("lowering made an invalid program (please report this): {0}")]
    Program(#[from] ProgramError),
}

impl LowerError {
    /// The error for a problem that a generator does not cover.
    pub fn unsupported(problem: &Problem, what: impl Into<String>) -> Self {
        LowerError::Unsupported { name: problem.name.into(), what: what.into() }
    }
}

/// Hands the problem to the generator of its family: the list of all there are.
pub(crate) fn generate(problem: &Problem, emitter: &mut Emitter) -> Result<(), LowerError> {
    check_types(problem)?;
    check_places(problem)?;
    match (problem.op, problem.schedule) {
        (Op::Conv(_), Schedule::Gemm(tile)) => gemm::pointwise(problem, tile, emitter),
        (Op::Conv(_) | Op::MatMul { .. }, Schedule::Strassen(tile)) => {
            strassen::generate(problem, tile, emitter)
        }
        (Op::Conv(_), Schedule::Direct(tile) | Schedule::Grouped(tile)) => {
            direct::generate(problem, tile, emitter)
        }
        (Op::Conv(_), Schedule::Winograd(schedule)) => winograd::generate(problem, schedule, emitter),
        (Op::Conv(_), Schedule::Depthwise(tile)) => depthwise::generate(problem, tile, emitter),
        (Op::Conv(_), Schedule::PackedGroups(tile)) => packed_groups::generate(problem, tile, emitter),
        (Op::MatMul { .. }, Schedule::Gemm(tile)) => gemm::matmul(problem, tile, emitter),
        (Op::Unary(_) | Op::Binary(_), Schedule::Vector { lanes }) => {
            elementwise::generate(problem, lanes, emitter)
        }
        (Op::Compare(_) | Op::Select | Op::Cast { .. } | Op::Bitcast { .. }, Schedule::Vector { .. }) => {
            scalars::elementwise(problem, emitter)
        }
        (
            Op::ArgReduce { .. }
            | Op::Rank { .. }
            | Op::Cumulate { .. }
            | Op::Gather { .. }
            | Op::Scatter { .. },
            Schedule::Vector { .. },
        ) => positions::generate(problem, emitter),
        (Op::Identity, Schedule::Vector { lanes }) if !problem.epilogue.is_empty() => {
            elementwise::generate(problem, lanes, emitter)
        }
        (Op::Pool(_), Schedule::Vector { lanes }) => pool::generate(problem, lanes, emitter),
        (Op::Reduce { .. }, Schedule::Vector { lanes }) => reduce::generate(problem, lanes, emitter),
        (Op::Resize(_), Schedule::Vector { lanes }) => resize::generate(problem, lanes, emitter),
        (Op::Softmax { .. }, Schedule::Vector { lanes }) => reduce::softmax(problem, lanes, emitter),
        (Op::Normalize { .. }, Schedule::Vector { lanes }) => normalize::generate(problem, lanes, emitter),
        (Op::Attention { .. }, Schedule::Attention(schedule)) => {
            attention::generate(problem, schedule, emitter)
        }
        (
            Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::ChannelShuffle { .. }
            | Op::Identity,
            Schedule::Vector { lanes },
        ) => movement::generate(problem, lanes, emitter),
        (op, schedule) => {
            Err(LowerError::unsupported(problem, format!("{} scheduled as {schedule}", op.name())))
        }
    }
}

/// Whether the generator of an operator computes elements of the types at hand.
fn check_types(problem: &Problem) -> Result<(), LowerError> {
    let of_floats = matches!(
        problem.op,
        Op::Conv(_)
            | Op::MatMul { .. }
            | Op::BatchNorm { .. }
            | Op::Pool(_)
            | Op::Resize(_)
            | Op::Softmax { .. }
            | Op::Attention { .. }
    );
    match problem.inputs.iter().find(|ty| of_floats && ty.dtype != DType::F32) {
        Some(other) => {
            Err(LowerError::unsupported(problem, format!("{} of {}", problem.op.name(), other.dtype)))
        }
        None => Ok(()),
    }
}

/// Whether it takes tensors that lie in others as these do.
fn check_places(problem: &Problem) -> Result<(), LowerError> {
    let takes_columns = match problem.op {
        Op::Conv(_) | Op::Pool(_) | Op::Unary(_) | Op::Binary(_) => true,
        Op::Concat { .. } | Op::ChannelShuffle { .. } | Op::Transpose { .. } | Op::Slice { .. } => true,
        Op::Identity => !problem.epilogue.is_empty(),
        // The right operand is read as one matrix.
        Op::MatMul { .. } => problem.inputs.get(1).is_some_and(|ty| width(&ty.shape) == problem.pitches[1]),
        Op::Reduce { .. } => {
            let one_run = problem.result_length() == problem.output.shape.elements();
            !reduce::is_in_groups(problem) && one_run
        }
        _ => false,
    };
    let of_floats = problem.inputs.iter().chain([problem.output]).all(|ty| ty.dtype == DType::F32);
    if problem.plane.is_some() && !matches!(problem.schedule, Schedule::Direct(_)) {
        return Err(LowerError::unsupported(problem, format!("{} on planes", problem.op.name())));
    }
    let fits = problem.is_dense() || (takes_columns && of_floats);
    if !fits {
        return Err(LowerError::unsupported(
            problem,
            format!("{} on columns of a tensor", problem.op.name()),
        ));
    }
    Ok(())
}

/// Lowers a graph. The result has no memory plan yet.
pub fn lower(graph: &Graph, schedules: &Schedules) -> Result<Program, LowerError> {
    let mut lowering = Lowering::new(graph);
    for chain in &schedules.chains {
        if chain::fits(graph, chain, schedules)? {
            lowering.chains.push(chain.clone());
        }
    }
    lowering.assign_storage(graph, schedules)?;
    for id in graph.topological()? {
        lowering.node(graph, id, schedules)?;
    }
    lowering.copy_outputs(graph, schedules.scalar);
    lowering.program.verify()?;
    Ok(lowering.program)
}

/// A program in the making.
pub(crate) struct Lowering {
    pub(crate) program: Program,
    storage: HashMap<Value, Argument>,
    /// Where the results are that lie in others.
    places: HashMap<NodeId, View>,
    /// Kernels by their code, to call the same code under one name.
    kernels: HashMap<u64, Vec<usize>>,
    /// Constants by a hash of their bytes.
    constants: HashMap<u64, Vec<usize>>,
    /// The chains that are computed together.
    chains: Vec<Chain>,
}

impl Lowering {
    fn new(graph: &Graph) -> Self {
        let port = |name: &str, ty: &TensorType| Port { name: name.into(), ty: ty.clone() };
        let inputs = graph.input_nodes().iter().map(|&id| graph.node(id));
        let inputs = inputs.map(|node| port(&node.name, &node.outputs[0])).collect();
        let outputs = graph.outputs().iter().map(|o| port(&o.name, graph.ty(o.value))).collect();
        Lowering::empty(graph.name(), inputs, outputs)
    }

    /// A program of these ports without steps.
    pub(crate) fn empty(name: &str, inputs: Vec<Port>, outputs: Vec<Port>) -> Self {
        let program = Program {
            name: name.into(),
            inputs,
            outputs,
            sizes: None,
            kernels: Vec::new(),
            steps: Vec::new(),
            controls: Vec::new(),
            temporaries: Vec::new(),
            constants: Vec::new(),
            plan: None,
        };
        Lowering {
            program,
            storage: HashMap::new(),
            places: HashMap::new(),
            kernels: HashMap::new(),
            constants: HashMap::new(),
            chains: Vec::new(),
        }
    }

    /// Gives each value its storage, aliases together.
    fn assign_storage(&mut self, graph: &Graph, schedules: &Schedules) -> Result<(), LowerError> {
        let order = graph.topological()?;
        // The value whose storage an alias shares.
        let mut root: HashMap<Value, Value> = HashMap::new();
        for &id in &order {
            // Results of nodes that have several are computed for themselves.
            let ports = 1..graph.node(id).outputs.len();
            root.extend(ports.map(|port| Value { node: id, port }).map(|value| (value, value)));
            let value = Value::from(id);
            // A concatenation or transposition without code has memory of its own, in which its inputs lie, and a view its
            // own place.
            let apart = matches!(graph.node(id).op, Op::Concat { .. } | Op::Transpose { .. })
                || schedules.views.contains_key(&id);
            let alias = schedules.nodes.get(&id) == Some(&Schedule::Alias) && !apart;
            let source =
                if alias { graph.inputs(id).first().and_then(|v| root.get(v)).copied() } else { None };
            root.insert(value, source.unwrap_or(value));
        }
        let mut written: HashMap<Value, Storage> = HashMap::new();
        for (number, output) in graph.outputs().iter().enumerate() {
            let Some(&root) = root.get(&output.value) else { continue };
            if !matches!(graph.node(root.node).op, Op::Input(_) | Op::Constant(_)) {
                written.entry(root).or_insert(Storage::Output(number));
            }
        }
        for &id in &order {
            let value = Value::from(id);
            if schedules.views.contains_key(&id) {
                continue;
            }
            let origin = root.get(&value).copied().unwrap_or(value);
            let storage = match (origin == value, &graph.node(id).op) {
                (false, _) => match self.storage.get(&origin) {
                    Some(&storage) => storage,
                    None => continue,
                },
                (true, Op::Input(_)) => {
                    let number = graph.input_nodes().iter().position(|&input| input == id);
                    Storage::Input(number.unwrap_or(usize::MAX)).into()
                }
                (true, _) if self.is_within_chain(id) => continue,
                // Constants are added when something reads them as they are: most are packed by their users.
                (true, Op::Constant(_)) => continue,
                (true, _) => match written.get(&value) {
                    Some(&output) => output.into(),
                    None => self.temporary(graph.ty(value).bytes()).into(),
                },
            };
            self.storage.insert(value, storage);
            for port in 1..graph.node(id).outputs.len() {
                let value = Value { node: id, port };
                let storage = match written.get(&value) {
                    Some(&output) => output,
                    None => self.temporary(graph.ty(value).bytes()),
                };
                self.storage.insert(value, storage.into());
            }
        }
        self.places = schedules.views.keys().map(|&id| (id, schedules.place(id))).collect();
        Ok(())
    }

    /// Whether only strips of the node's result exist.
    fn is_within_chain(&self, id: NodeId) -> bool {
        self.chains.iter().any(|chain| chain.nodes.contains(&id) && chain.nodes.last() != Some(&id))
    }

    pub(crate) fn temporary(&mut self, bytes: usize) -> Storage {
        self.program.temporaries.push(bytes);
        Storage::Temporary(self.program.temporaries.len() - 1)
    }

    fn node(&mut self, graph: &Graph, id: NodeId, schedules: &Schedules) -> Result<(), LowerError> {
        let node = graph.node(id);
        if matches!(node.op, Op::Input(_) | Op::Constant(_)) {
            return Ok(());
        }
        if !node.op.regions().is_empty() {
            return control::node(self, graph, id, schedules);
        }
        let schedule = scheduled(graph, id, schedules)?;
        if schedule == Schedule::Alias || node.outputs[0].shape.elements() == 0 {
            return Ok(());
        }
        let step = match self.chains.iter().find(|chain| chain.nodes.contains(&id)).cloned() {
            Some(chain) if chain.nodes.last() == Some(&id) => chain::step(self, graph, &chain, schedules)?,
            // Computed with the last node of its chain.
            Some(_) => return Ok(()),
            None => {
                let steps = parts::steps(self, graph, id, schedules)?;
                self.program.steps.extend(steps);
                return Ok(());
            }
        };
        self.program.steps.push(step);
        Ok(())
    }

    /// Memory of a value; a constant that is read as it is becomes one of the program's.
    pub(crate) fn value(&mut self, graph: &Graph, value: Value) -> Argument {
        if let Some(&storage) = self.storage.get(&value) {
            return storage;
        }
        if let Some(&View { of, first, .. }) = self.places.get(&value.node) {
            return self.value(graph, of.into()).after(first * graph.ty(value).dtype.bytes());
        }
        let storage = match graph.as_constant(value) {
            Some(tensor) => self.constant(tensor.data().clone()).into(),
            // An alias of a constant.
            None => match graph.inputs(value.node).first() {
                Some(&source) => self.value(graph, source),
                None => self.temporary(graph.ty(value).bytes()).into(),
            },
        };
        self.storage.insert(value, storage);
        storage
    }

    /// Puts a value elsewhere than it was to be.
    pub(crate) fn place(&mut self, value: Value, argument: Argument) {
        self.storage.insert(value, argument);
    }

    pub(crate) fn constant(&mut self, data: TensorData) -> Storage {
        let candidates = self.constants.entry(hash(&data.to_le_bytes())).or_default();
        // Compared by bits, so that NaN equals itself and 0.0 differs from -0.0.
        let same = |&i: &usize| self.program.constants[i].to_le_bytes() == data.to_le_bytes();
        if let Some(number) = candidates.iter().copied().find(|i| same(i)) {
            return Storage::Constant(number);
        }
        self.program.constants.push(data);
        candidates.push(self.program.constants.len() - 1);
        Storage::Constant(self.program.constants.len() - 1)
    }

    /// Number of a kernel, the same for the same code; names of different kernels are made different.
    pub(crate) fn kernel(&mut self, mut kernel: Kernel) -> usize {
        let candidates = self.kernels.entry(hash(&kernel.code())).or_default();
        let same = |&&i: &&usize| self.program.kernels[i].code() == kernel.code();
        if let Some(&number) = candidates.iter().find(same) {
            return number;
        }
        let number = self.program.kernels.len();
        kernel.name = format!("{}_{number}", kernel.name);
        self.program.kernels.push(kernel);
        candidates.push(number);
        number
    }

    /// Copies results that are not written where they belong.
    fn copy_outputs(&mut self, graph: &Graph, scalar: bool) {
        for (number, output) in graph.outputs().iter().enumerate() {
            let source = self.value(graph, output.value);
            let ty = graph.ty(output.value);
            if source == Storage::Output(number).into() || ty.shape.elements() == 0 {
                continue;
            }
            let kernel = self.kernel(copy(ty, scalar));
            let arguments = vec![source, Storage::Output(number).into()];
            let call = Call { kernel, arguments, in_place: Vec::new(), node: output.name.clone() };
            self.program.steps.push(Step::sequential(vec![call]));
        }
    }
}

/// The schedule of a node.
fn scheduled(graph: &Graph, id: NodeId, schedules: &Schedules) -> Result<Schedule, LowerError> {
    let missing = || LowerError::Unscheduled(graph.node(id).name.clone());
    schedules.nodes.get(&id).copied().ok_or_else(missing)
}

/// The problem that a node poses.
pub(crate) fn problem<'a>(
    graph: &'a Graph,
    id: NodeId,
    schedules: &Schedules,
) -> Result<Problem<'a>, LowerError> {
    let schedule = scheduled(graph, id, schedules)?;
    Ok(Problem::new(graph, id, schedule, schedules))
}

/// Name of the kernels that copy whole tensors.
pub(crate) const COPY: &str = "copy";

/// A plain copy of a tensor, 16 bytes at a time: narrower than the target's vectors perhaps, but a copy is rare.
pub(crate) fn copy(ty: &TensorType, scalar: bool) -> Kernel {
    let element = Element::from(ty.dtype);
    movement::copy(COPY, element, ty.shape.elements(), if scalar { 1 } else { 16 / element.bytes() })
}

/// A hash that is the same in each run: the default hasher with its fixed keys.
fn hash(value: &impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
