//! Building kernels: closures for loops, one method an expression.
//!
//! Loops of one iteration are written out without a loop, loops of none vanish, so generators need no special cases
//! for tails. Types are taken from the operands; that they agree is the verifier's business.

use super::{
    Access, Address, Affine, BinaryOp, Buffer, BufferId, Carried, Element, Expression, Horizontal, Kernel,
    Literal, Permutation, Predicate, Statement, UnaryOp, ValueId, ValueType, Variable,
};

/// Builds one [`Kernel`].
#[derive(Debug)]
pub struct KernelBuilder {
    kernel: Kernel,
    /// Statement lists of the loops being built, outermost first; the first is the kernel's body.
    blocks: Vec<Vec<Statement>>,
    variables: usize,
}

impl KernelBuilder {
    /// A kernel without buffers and statements.
    pub fn new(name: impl Into<String>) -> Self {
        let kernel = Kernel { name: name.into(), buffers: Vec::new(), values: Vec::new(), body: Vec::new() };
        KernelBuilder { kernel, blocks: vec![Vec::new()], variables: 0 }
    }

    /// Adds a parameter of `length` elements.
    pub fn buffer(
        &mut self,
        name: impl Into<String>,
        element: Element,
        length: usize,
        access: Access,
    ) -> BufferId {
        self.kernel.buffers.push(Buffer { name: name.into(), element, length, access });
        BufferId(self.kernel.buffers.len() - 1)
    }

    /// The finished kernel.
    pub fn finish(mut self) -> Kernel {
        debug_assert_eq!(self.blocks.len(), 1, "finished inside a loop");
        self.kernel.body = self.blocks.pop().unwrap_or_default();
        self.kernel
    }

    /// Type of a value.
    pub fn ty(&self, value: ValueId) -> ValueType {
        self.kernel.ty(value)
    }

    /// Element type of a buffer.
    pub fn element(&self, buffer: BufferId) -> Element {
        self.kernel.buffers[buffer.0].element
    }

    fn value(&mut self, ty: ValueType) -> ValueId {
        self.kernel.values.push(ty);
        ValueId(self.kernel.values.len() - 1)
    }

    fn push(&mut self, statement: Statement) {
        if let Some(block) = self.blocks.last_mut() {
            block.push(statement);
        }
    }

    fn define(&mut self, ty: ValueType, expression: Expression) -> ValueId {
        let value = self.value(ty);
        self.push(Statement::Let(value, expression));
        value
    }

    /// An f32 constant in all lanes.
    pub fn f32(&mut self, lanes: usize, value: f32) -> ValueId {
        let ty = ValueType { element: Element::F32, lanes };
        self.define(ty, Expression::Constant(Literal::F32(value.to_bits())))
    }

    /// An i32 constant in all lanes.
    pub fn i32(&mut self, lanes: usize, value: i32) -> ValueId {
        let ty = ValueType { element: Element::I32, lanes };
        self.define(ty, Expression::Constant(Literal::I32(value)))
    }

    /// An i64 constant.
    pub fn i64(&mut self, value: i64) -> ValueId {
        let ty = ValueType { element: Element::I64, lanes: 1 };
        self.define(ty, Expression::Constant(Literal::I64(value)))
    }

    /// The element of a computed index, clamped to the buffer.
    pub fn load_at(&mut self, buffer: BufferId, index: ValueId) -> ValueId {
        let ty = ValueType { element: self.element(buffer), lanes: 1 };
        self.define(ty, Expression::LoadAt(buffer, index))
    }

    /// Loads a whole vector (a scalar when `lanes` is 1).
    pub fn load(&mut self, lanes: usize, buffer: BufferId, index: impl Into<Affine>) -> ValueId {
        self.load_partial(lanes, lanes, buffer, index)
    }

    /// Loads `valid` elements into the low lanes; the others are zero.
    pub fn load_partial(
        &mut self,
        lanes: usize,
        valid: usize,
        buffer: BufferId,
        index: impl Into<Affine>,
    ) -> ValueId {
        let ty = ValueType { element: self.element(buffer), lanes };
        let address = Address { buffer, index: index.into() };
        self.define(ty, Expression::Load { address, valid })
    }

    /// Loads one element into all lanes.
    pub fn load_broadcast(&mut self, lanes: usize, buffer: BufferId, index: impl Into<Affine>) -> ValueId {
        let ty = ValueType { element: self.element(buffer), lanes };
        self.define(ty, Expression::LoadBroadcast(Address { buffer, index: index.into() }))
    }

    /// A scalar in all lanes.
    pub fn splat(&mut self, lanes: usize, scalar: ValueId) -> ValueId {
        if lanes == self.ty(scalar).lanes {
            return scalar;
        }
        let ty = ValueType { element: self.ty(scalar).element, lanes };
        self.define(ty, Expression::Splat(scalar))
    }

    /// The lanes of a value in another order; the value itself where that is the same.
    pub fn permute(&mut self, permutation: Permutation, a: ValueId) -> ValueId {
        let ty = self.ty(a);
        if (0..ty.lanes).all(|lane| permutation.source(lane) == lane) {
            return a;
        }
        self.define(ty, Expression::Permute(permutation, a))
    }

    /// Function of one value.
    pub fn unary(&mut self, op: UnaryOp, a: ValueId) -> ValueId {
        self.define(self.ty(a), Expression::Unary(op, a))
    }

    /// Function of two values.
    pub fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
        self.define(self.ty(a), Expression::Binary(op, a, b))
    }

    /// `a + b`.
    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Add, a, b)
    }

    /// `a - b`.
    pub fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Sub, a, b)
    }

    /// `a * b`.
    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Mul, a, b)
    }

    /// `a / b`.
    pub fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Div, a, b)
    }

    /// `a < b ? a : b`.
    pub fn min(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Min, a, b)
    }

    /// `a > b ? a : b`.
    pub fn max(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(BinaryOp::Max, a, b)
    }

    /// `a * b + c`.
    pub fn mul_add(&mut self, a: ValueId, b: ValueId, c: ValueId) -> ValueId {
        self.define(self.ty(c), Expression::MulAdd(a, b, c))
    }

    /// `then` where the comparison holds, else `otherwise`.
    pub fn select(
        &mut self,
        predicate: Predicate,
        (left, right): (ValueId, ValueId),
        then: ValueId,
        otherwise: ValueId,
    ) -> ValueId {
        self.define(self.ty(then), Expression::Select { predicate, left, right, then, otherwise })
    }

    /// Conversion to another element type.
    pub fn convert(&mut self, element: Element, a: ValueId) -> ValueId {
        let ty = ValueType { element, lanes: self.ty(a).lanes };
        self.define(ty, Expression::Convert(a))
    }

    /// The same bits as another element type.
    pub fn bitcast(&mut self, element: Element, a: ValueId) -> ValueId {
        let ty = ValueType { element, lanes: self.ty(a).lanes };
        self.define(ty, Expression::Bitcast(a))
    }

    /// Reduction of the lanes to a scalar.
    pub fn reduce(&mut self, horizontal: Horizontal, a: ValueId) -> ValueId {
        if self.ty(a).lanes == 1 {
            return a;
        }
        let ty = ValueType { element: self.ty(a).element, lanes: 1 };
        self.define(ty, Expression::Reduce(horizontal, a))
    }

    /// Stores a whole value.
    pub fn store(&mut self, buffer: BufferId, index: impl Into<Affine>, value: ValueId) {
        let valid = self.ty(value).lanes;
        self.store_partial(buffer, index, value, valid);
    }

    /// Stores the low `valid` lanes of a value.
    pub fn store_partial(
        &mut self,
        buffer: BufferId,
        index: impl Into<Affine>,
        value: ValueId,
        valid: usize,
    ) {
        let address = Address { buffer, index: index.into() };
        self.push(Statement::Store { address, value, valid });
    }

    /// Stores a scalar to the element of a computed index, clamped to the buffer.
    pub fn store_at(&mut self, buffer: BufferId, index: ValueId, value: ValueId) {
        self.push(Statement::StoreAt { buffer, index, value });
    }

    /// A loop; the closure gets the loop variable as an index.
    pub fn repeat(&mut self, count: usize, body: impl FnOnce(&mut Self, Affine)) {
        self.repeat_carrying(count, &[], |builder, index, _| {
            body(builder, index);
            Vec::new()
        });
    }

    /// A loop that carries values: the closure gets the loop variable and the values of this iteration and returns
    /// those of the next. The values after the last iteration are returned (the initial ones when `count` is 0).
    pub fn repeat_carrying(
        &mut self,
        count: usize,
        initial: &[ValueId],
        body: impl FnOnce(&mut Self, Affine, &[ValueId]) -> Vec<ValueId>,
    ) -> Vec<ValueId> {
        match count {
            0 => return initial.to_vec(),
            1 => return body(self, Affine::default(), initial),
            _ => {}
        }
        let variable = Variable(self.variables);
        self.variables += 1;
        let parameters: Vec<ValueId> = initial.iter().map(|&v| self.value(self.ty(v))).collect();
        self.blocks.push(Vec::new());
        let next = body(self, variable.into(), &parameters);
        debug_assert_eq!(next.len(), initial.len(), "a loop returns as many values as it carries");
        let body = self.blocks.pop().unwrap_or_default();
        let mut carried = Vec::with_capacity(initial.len());
        for ((&initial, parameter), next) in initial.iter().zip(parameters).zip(next) {
            carried.push(Carried { parameter, initial, next, result: self.value(self.ty(initial)) });
        }
        let results = carried.iter().map(|c| c.result).collect();
        self.push(Statement::For { variable, count, carried, body });
        results
    }

    /// Calls the closure for each number below `count`, none of which may need what another defines, and takes turns with what
    /// they emit: one statement of each, then the next of each. A processor then finds instructions that can run at the
    /// same time near each other, where each alone is a long chain.
    pub fn interleaved(&mut self, count: usize, mut body: impl FnMut(&mut Self, usize)) {
        let mut lists: Vec<_> = (0..count)
            .map(|number| {
                self.blocks.push(Vec::new());
                body(self, number);
                self.blocks.pop().unwrap_or_default().into_iter()
            })
            .collect();
        let mut any = true;
        while any {
            any = false;
            for list in &mut lists {
                if let Some(statement) = list.next() {
                    any = true;
                    self.push(statement);
                }
            }
        }
    }

    /// Calls the closure with the start and size of each block: whole blocks of `block` in a loop, then the rest.
    pub fn blocks(&mut self, extent: usize, block: usize, mut body: impl FnMut(&mut Self, Affine, usize)) {
        let whole = extent / block;
        self.repeat(whole, |builder, index| body(builder, index * block, block));
        let rest = extent - whole * block;
        if rest > 0 {
            body(self, Affine::from(whole * block), rest);
        }
    }
}
