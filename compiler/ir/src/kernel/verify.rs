//! The kernel verifier: types, scopes, and a proof that every access is in bounds.

use thiserror::Error;

use super::{
    Access, Address, BinaryOp, BufferId, Carried, Element, Expression, Kernel, Statement, UnaryOp, ValueId,
    ValueType, Variable,
};

/// Why a kernel is refused; the text names the value or address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("kernel '{kernel}': {problem}")]
pub struct KernelError {
    /// Name of the kernel.
    pub kernel: String,
    /// What is wrong.
    pub problem: String,
}

/// Deepest nesting of loops; bounds the recursion of everything that walks a kernel.
const MAX_DEPTH: usize = 64;
/// Most lanes of a vector: 512 bytes of bytes is far beyond any machine.
const MAX_LANES: usize = 512;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Undefined,
    InScope,
    /// Defined in a loop that has ended; can't be used or defined again.
    Closed,
}

struct Verifier<'a> {
    kernel: &'a Kernel,
    states: Vec<State>,
    /// Values in scope, innermost last.
    scope: Vec<usize>,
    /// Iterations of the loop of each variable in scope.
    counts: Vec<Option<usize>>,
}

impl Kernel {
    /// Checks types, scopes and bounds.
    pub fn verify(&self) -> Result<(), KernelError> {
        let states = vec![State::Undefined; self.values.len()];
        let mut verifier = Verifier { kernel: self, states, scope: Vec::new(), counts: Vec::new() };
        let lanes = self.values.iter().find(|ty| !ty.lanes.is_power_of_two() || ty.lanes > MAX_LANES);
        let result = match lanes {
            Some(ty) => Err(format!("a value of {} lanes", ty.lanes)),
            None => verifier.block(&self.body, 0),
        };
        result.map_err(|problem| KernelError { kernel: self.name.clone(), problem })
    }
}

impl Verifier<'_> {
    fn block(&mut self, statements: &[Statement], depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("loops are nested deeper than {MAX_DEPTH}"));
        }
        for statement in statements {
            match statement {
                Statement::Let(value, expression) => {
                    self.expression(*value, expression).map_err(|e| format!("%{}: {e}", value.0))?;
                    self.define(*value)?;
                }
                Statement::Store { address, value, valid } => {
                    let ty = self.used(*value)?;
                    self.access(address, *valid, ty, true)?;
                }
                Statement::StoreAt { buffer, index, value } => {
                    let ty = self.used(*value)?;
                    self.access_at(*buffer, *index, ty, true)?;
                }
                Statement::For { variable, count, carried, body } => {
                    self.repeat(*variable, *count, carried, body, depth)?;
                }
            }
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        variable: Variable,
        count: usize,
        carried: &[Carried],
        body: &[Statement],
        depth: usize,
    ) -> Result<(), String> {
        if count == 0 {
            return Err(format!("the loop over i{} has no iterations", variable.0));
        }
        // A variable is one loop's, so there are never more of them than statements.
        if variable.0 >= self.counts.len() {
            let length = variable.0.checked_add(1).filter(|&n| n <= 1 << 20);
            self.counts.resize(length.ok_or_else(|| format!("i{} is out of range", variable.0))?, None);
        }
        if self.counts[variable.0].replace(count).is_some() {
            return Err(format!("i{} is the variable of two nested loops", variable.0));
        }
        for c in carried {
            let ty = self.used(c.initial)?;
            for other in [c.parameter, c.next, c.result] {
                if self.ty(other)? != ty {
                    return Err(format!("%{} is {ty}, but %{} differs", c.initial.0, other.0));
                }
            }
        }
        let outside = self.scope.len();
        for c in carried {
            self.define(c.parameter)?;
        }
        self.block(body, depth + 1)?;
        for c in carried {
            self.used(c.next)?;
        }
        for value in self.scope.drain(outside..) {
            self.states[value] = State::Closed;
        }
        self.counts[variable.0] = None;
        carried.iter().try_for_each(|c| self.define(c.result))
    }

    fn define(&mut self, value: ValueId) -> Result<(), String> {
        match self.states.get_mut(value.0) {
            None => Err(format!("%{} has no type", value.0)),
            Some(state) if *state != State::Undefined => Err(format!("%{} is defined twice", value.0)),
            Some(state) => {
                *state = State::InScope;
                self.scope.push(value.0);
                Ok(())
            }
        }
    }

    fn ty(&self, value: ValueId) -> Result<ValueType, String> {
        self.kernel.values.get(value.0).copied().ok_or_else(|| format!("%{} has no type", value.0))
    }

    /// The type of a value that must be in scope.
    fn used(&self, value: ValueId) -> Result<ValueType, String> {
        let ty = self.ty(value)?;
        match self.states[value.0] {
            State::InScope => Ok(ty),
            _ => Err(format!("%{} is used where it is not defined", value.0)),
        }
    }

    fn access(&self, address: &Address, count: usize, ty: ValueType, write: bool) -> Result<(), String> {
        let buffer = self.kernel.buffers.get(address.buffer.0);
        let buffer = buffer.ok_or_else(|| format!("there is no buffer {}", address.buffer.0))?;
        let place = || format!("{}[{}]", buffer.name, address.index);
        if write && buffer.access == Access::Read {
            return Err(format!("a store to {}, which is read-only", place()));
        }
        if buffer.element != ty.element {
            return Err(format!("{} is of {}, the value of {}", place(), buffer.element, ty.element));
        }
        if count == 0 || count > ty.lanes {
            return Err(format!("{count} of {} lanes at {}", ty.lanes, place()));
        }
        for (variable, _) in address.index.terms() {
            if self.counts.get(variable.0).copied().flatten().is_none() {
                return Err(format!("i{} is not a loop variable at {}", variable.0, place()));
            }
        }
        let (low, high) = address.index.range(|v| self.counts[v.0].unwrap_or(1));
        let end = i128::from(high) + count as i128;
        if low < 0 || end > buffer.length as i128 {
            return Err(format!("{} reaches {low} to {end} of {} elements", place(), buffer.length));
        }
        Ok(())
    }

    /// An access of a computed index: in bounds of any buffer that has an element, by definition.
    fn access_at(&self, buffer: BufferId, index: ValueId, ty: ValueType, write: bool) -> Result<(), String> {
        let number = buffer.0;
        let buffer = self.kernel.buffers.get(number).ok_or_else(|| format!("there is no buffer {number}"))?;
        let name = &buffer.name;
        if write && buffer.access == Access::Read {
            return Err(format!("a store to {name}, which is read-only"));
        }
        if buffer.length == 0 {
            return Err(format!("an access to {name}, which has no elements"));
        }
        if (ValueType { element: buffer.element, lanes: 1 }) != ty {
            return Err(format!("{name} is of {}, the value of {ty}", buffer.element));
        }
        match self.used(index)? {
            ValueType { element: Element::I64, lanes: 1 } => Ok(()),
            other => Err(format!("{name} is indexed by a value of {other}")),
        }
    }

    fn expression(&self, value: ValueId, expression: &Expression) -> Result<(), String> {
        let ty = self.ty(value)?;
        let same = |operand: ValueId| -> Result<(), String> {
            let got = self.used(operand)?;
            if got == ty { Ok(()) } else { Err(format!("%{} is {got}, not {ty}", operand.0)) }
        };
        let need = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what} of {ty}")) };
        let float = ty.element == Element::F32;
        match expression {
            Expression::Constant(literal) => {
                need(literal.element() == ty.element, "a constant of another element type")
            }
            Expression::Load { address, valid } => self.access(address, *valid, ty, false),
            Expression::LoadBroadcast(address) => self.access(address, 1, ty, false),
            Expression::LoadAt(buffer, index) => self.access_at(*buffer, *index, ty, false),
            Expression::Splat(scalar) => {
                let got = self.used(*scalar)?;
                need(got.lanes == 1 && got.element == ty.element, "splat of another type")
            }
            Expression::Permute(permutation, a) => {
                need(ty.element.bytes() == 4, "a permutation")?;
                let exists = permutation.run > 0
                    && (ty.lanes - 1)
                        .checked_add(permutation.phase)
                        .and_then(|last| last.checked_div(permutation.run))
                        .and_then(|runs| runs.checked_mul(permutation.stride)?.checked_add(permutation.first))
                        .is_some_and(|last| last < ty.lanes);
                need(exists, "a permutation that reads beyond the lanes")?;
                same(*a)
            }
            Expression::Unary(op, a) => {
                need(float || matches!(op, UnaryOp::Neg | UnaryOp::Abs), "this unary operation")?;
                same(*a)
            }
            Expression::Binary(op, a, b) => {
                let integer = ty.element == Element::I32 || ty.element == Element::I64;
                match op {
                    BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => need(float || integer, "arithmetic")?,
                    // Division of integers is scalar: vectors of them have none.
                    BinaryOp::Div => need(float || integer && ty.lanes == 1, "division")?,
                    BinaryOp::Rem => need(integer && ty.lanes == 1, "remainders")?,
                    BinaryOp::Min | BinaryOp::Max => need(float, "float arithmetic")?,
                    _ => need(integer, "bit operations")?,
                }
                same(*a)?;
                same(*b)
            }
            Expression::MulAdd(a, b, c) => {
                need(float, "multiply-add")?;
                [a, b, c].into_iter().try_for_each(|v| same(*v))
            }
            Expression::Select { left, right, then, otherwise, .. } => {
                let (l, r) = (self.used(*left)?, self.used(*right)?);
                let fits = l == r && l.lanes == ty.lanes && l.element.bytes() == ty.element.bytes();
                need(fits, "selection by values of another type")?;
                same(*then)?;
                same(*otherwise)
            }
            Expression::Convert(a) => {
                let from = self.used(*a)?;
                use Element::{F32, I32, I64};
                let known = matches!(
                    (from.element, ty.element),
                    (F32, I32 | I64) | (I32 | I64, F32) | (I32, I64) | (I64, I32)
                );
                let known = known
                    || from.element.wider() == Some(ty.element)
                    || ty.element.wider() == Some(from.element);
                // Conversions between sizes are scalar: vectors would need shuffles.
                let sizes = from.element.bytes() == ty.element.bytes() || ty.lanes == 1;
                need(known && sizes && from.lanes == ty.lanes, "conversion")
            }
            Expression::Bitcast(a) => {
                let from = self.used(*a)?;
                need(
                    from.lanes == ty.lanes && from.element.bytes() == ty.element.bytes(),
                    "a bitcast from another size",
                )
            }
            Expression::Reduce(_, a) => {
                let from = self.used(*a)?;
                need(ty.lanes == 1 && float && from.element == ty.element, "reduction")
            }
        }
    }
}
