//! The interpreter's loop over statements.
//!
//! Values live in one slab of lanes at fixed places, so that nothing is allocated while a kernel runs.

use avocet_ir::kernel::{
    Access, Address, BinaryOp, BufferId, Carried, Element, Expression, Horizontal, Kernel, Literal,
    Statement, ValueId,
};

use super::lanes;
use super::{KernelRunError, Memory};

/// Runs a kernel. Each of its buffers is memory and the offset in it of the buffer's first byte; several buffers may be
/// in the same memory.
pub fn run_kernel(
    kernel: &Kernel,
    memories: &mut [Memory],
    buffers: &[(usize, usize)],
) -> Result<(), KernelRunError> {
    let mut start = 0;
    let starts = kernel.values.iter().map(|ty| {
        let first = start;
        start += ty.lanes;
        first
    });
    let starts = starts.collect();
    let mut machine = Machine {
        kernel,
        memories,
        buffers,
        starts,
        slab: vec![0; start],
        variables: vec![0; variables(&kernel.body)],
    };
    let problem = match buffers.len() == kernel.buffers.len() {
        true => machine.block(&kernel.body).err(),
        false => Some(format!("{} arguments for {} buffers", buffers.len(), kernel.buffers.len())),
    };
    match problem {
        None => Ok(()),
        Some(problem) => Err(KernelRunError::Kernel { kernel: kernel.name.clone(), problem }),
    }
}

/// One more than the largest number of a loop variable.
fn variables(statements: &[Statement]) -> usize {
    let counts = statements.iter().map(|statement| match statement {
        Statement::For { variable, body, .. } => variables(body).max(variable.0 + 1),
        _ => 0,
    });
    counts.max().unwrap_or(0)
}

struct Machine<'a> {
    kernel: &'a Kernel,
    memories: &'a mut [Memory],
    buffers: &'a [(usize, usize)],
    /// Where each value's lanes start in the slab.
    starts: Vec<usize>,
    slab: Vec<u64>,
    variables: Vec<i64>,
}

impl Machine<'_> {
    fn block(&mut self, statements: &[Statement]) -> Result<(), String> {
        for statement in statements {
            match statement {
                Statement::Let(value, expression) => self.define(*value, expression)?,
                Statement::Store { address, value, valid } => self.store(address, *value, *valid)?,
                Statement::StoreAt { buffer, index, value } => {
                    let address = self.clamped(*buffer, *index)?;
                    self.store(&address, *value, 1)?;
                }
                Statement::For { variable, count, carried, body } => {
                    for c in carried {
                        self.copy(c.initial, c.parameter);
                    }
                    for i in 0..*count {
                        self.variables[variable.0] = i as i64;
                        self.block(body)?;
                        self.advance(carried);
                    }
                    for c in carried {
                        // After the last iteration the parameters hold what the body gave.
                        self.copy(c.parameter, c.result);
                    }
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, carried: &[Carried]) {
        // A carried value may give another's parameter; all are read before any is written.
        let next: Vec<u64> = carried.iter().flat_map(|c| self.lanes(c.next).to_vec()).collect();
        let mut position = 0;
        for c in carried {
            let (start, lanes) = self.span(c.parameter);
            self.slab[start..start + lanes].copy_from_slice(&next[position..position + lanes]);
            position += lanes;
        }
    }

    fn span(&self, value: ValueId) -> (usize, usize) {
        (self.starts[value.0], self.kernel.values[value.0].lanes)
    }

    fn lanes(&self, value: ValueId) -> &[u64] {
        let (start, lanes) = self.span(value);
        &self.slab[start..start + lanes]
    }

    fn copy(&mut self, from: ValueId, to: ValueId) {
        let ((from, lanes), (to, _)) = (self.span(from), self.span(to));
        self.slab.copy_within(from..from + lanes, to);
    }

    fn element(&self, value: ValueId) -> Element {
        self.kernel.values[value.0].element
    }

    /// Memory and first byte of an access of `count` elements.
    fn place(&self, address: &Address, count: usize, access: Access) -> Result<(usize, usize), String> {
        let buffer = self.kernel.buffers.get(address.buffer.0).ok_or("there is no such buffer")?;
        let index = address.index.evaluate(|v| self.variables.get(v.0).copied().unwrap_or(i64::MAX));
        let place = || format!("{}[{index}] ({count} elements, at {})", buffer.name, address.index);
        if access == Access::Write && buffer.access == Access::Read {
            return Err(format!("a store to the read-only {}", place()));
        }
        let start = usize::try_from(index).map_err(|_| format!("{} is out of bounds", place()))?;
        if start.checked_add(count).is_none_or(|end| end > buffer.length) {
            return Err(format!("{} is out of bounds of {} elements", place(), buffer.length));
        }
        let (memory, offset) = self.buffers[address.buffer.0];
        Ok((memory, offset + start * buffer.element.bytes()))
    }

    /// The address of a computed index.
    fn clamped(&self, buffer: BufferId, index: ValueId) -> Result<Address, String> {
        let length = self.kernel.buffers.get(buffer.0).ok_or("there is no such buffer")?.length;
        let last = i64::try_from(length).unwrap_or(i64::MAX) - 1;
        let index = (self.lanes(index)[0] as i64).min(last).max(0);
        Ok(Address { buffer, index: index.into() })
    }

    fn load(&mut self, to: usize, address: &Address, count: usize) -> Result<(), String> {
        let element = self.kernel.buffers[address.buffer.0].element;
        let (memory, start) = self.place(address, count, Access::Read)?;
        let bytes = element.bytes();
        let data = self.memories.get(memory).and_then(|m| m.read(start, count * bytes));
        let Some(data) = data else {
            let name = &self.kernel.buffers[address.buffer.0].name;
            return Err(format!("{name}[{}] was never written", address.index));
        };
        for (lane, chunk) in self.slab[to..to + count].iter_mut().zip(data.chunks_exact(bytes)) {
            let mut value = [0; 8];
            value[..bytes].copy_from_slice(chunk);
            *lane = u64::from_le_bytes(value);
        }
        Ok(())
    }

    fn store(&mut self, address: &Address, value: ValueId, valid: usize) -> Result<(), String> {
        let bytes = self.element(value).bytes();
        let (memory, start) = self.place(address, valid, Access::Write)?;
        let (from, _) = self.span(value);
        for i in 0..valid {
            let data = self.slab[from + i].to_le_bytes();
            let written =
                self.memories.get_mut(memory).is_some_and(|m| m.write(start + i * bytes, &data[..bytes]));
            if !written {
                let name = &self.kernel.buffers[address.buffer.0].name;
                return Err(format!("{name}[{}] is outside the memory it is called on", address.index));
            }
        }
        Ok(())
    }

    fn define(&mut self, value: ValueId, expression: &Expression) -> Result<(), String> {
        let (to, lanes) = self.span(value);
        let element = self.element(value);
        match expression {
            Expression::Constant(literal) => {
                let lane = match *literal {
                    Literal::F32(bits) => u64::from(bits),
                    Literal::I32(v) => lanes::from_int(Element::I32, i64::from(v)),
                    Literal::I64(v) => v as u64,
                };
                self.slab[to..to + lanes].fill(lane);
            }
            Expression::Load { address, valid } => {
                self.slab[to..to + lanes].fill(0);
                self.load(to, address, *valid)?;
            }
            Expression::LoadBroadcast(address) => {
                self.load(to, address, 1)?;
                let lane = self.slab[to];
                self.slab[to..to + lanes].fill(lane);
            }
            Expression::LoadAt(buffer, index) => {
                let address = self.clamped(*buffer, *index)?;
                self.load(to, &address, 1)?;
            }
            Expression::Splat(scalar) => {
                let lane = self.slab[self.starts[scalar.0]];
                self.slab[to..to + lanes].fill(lane);
            }
            Expression::Permute(permutation, a) => {
                let a = self.starts[a.0];
                for i in 0..lanes {
                    self.slab[to + i] = self.slab[a + permutation.source(i)];
                }
            }
            Expression::Unary(op, a) => {
                let a = self.starts[a.0];
                for i in 0..lanes {
                    self.slab[to + i] = lanes::unary(element, *op, self.slab[a + i]);
                }
            }
            Expression::Binary(op, a, b) => {
                let (a, b) = (self.starts[a.0], self.starts[b.0]);
                // All lanes are shifted by the amount in lane 0.
                let shift = matches!(op, BinaryOp::ShiftLeft | BinaryOp::ShiftRight);
                for i in 0..lanes {
                    let other = self.slab[if shift { b } else { b + i }];
                    self.slab[to + i] = lanes::binary(element, *op, self.slab[a + i], other);
                }
            }
            Expression::MulAdd(a, b, c) => {
                let [a, b, c] = [a, b, c].map(|v| self.starts[v.0]);
                for i in 0..lanes {
                    let [x, y, z] = [a, b, c].map(|start| lanes::to_f32(self.slab[start + i]));
                    self.slab[to + i] = lanes::from_f32(x.mul_add(y, z));
                }
            }
            Expression::Select { predicate, left, right, then, otherwise } => {
                let compared = self.element(*left);
                let [l, r, t, o] = [left, right, then, otherwise].map(|v| self.starts[v.0]);
                for i in 0..lanes {
                    let holds = lanes::holds(compared, *predicate, self.slab[l + i], self.slab[r + i]);
                    self.slab[to + i] = self.slab[if holds { t } else { o } + i];
                }
            }
            Expression::Convert(a) => {
                let (from, a) = (self.element(*a), self.starts[a.0]);
                for i in 0..lanes {
                    self.slab[to + i] = lanes::convert(from, element, self.slab[a + i]);
                }
            }
            Expression::Bitcast(a) => self.copy(*a, value),
            Expression::Reduce(horizontal, a) => {
                let op = match horizontal {
                    Horizontal::Add => BinaryOp::Add,
                    Horizontal::Max => BinaryOp::Max,
                    Horizontal::Min => BinaryOp::Min,
                };
                let mut parts = self.lanes(*a).to_vec();
                while parts.len() > 1 {
                    let half = parts.len() / 2;
                    parts =
                        (0..half).map(|i| lanes::binary(element, op, parts[i], parts[i + half])).collect();
                }
                self.slab[to] = parts[0];
            }
        }
        Ok(())
    }
}
