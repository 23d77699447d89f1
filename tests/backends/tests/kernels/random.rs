//! Random kernels: what nobody thought of. Every statement is in bounds and well typed by construction.
//!
//! A kernel follows from a list of numbers, each of which makes one choice, so that proptest can make a failing kernel
//! smaller by leaving numbers out.

use avocet_backend_tests::back_ends::back_ends;
use avocet_backend_tests::check::{check, words};
use avocet_ir::kernel::{
    Access, Affine, BinaryOp, BufferId, Element, Horizontal, Kernel, KernelBuilder, Permutation, Predicate,
    UnaryOp, ValueId, ValueType,
};
use proptest::prelude::*;

use crate::operands::values;

/// Elements of each buffer.
const LENGTH: usize = 80;
const DEEPEST: usize = 4;

struct Generator<'a> {
    b: KernelBuilder,
    choices: std::slice::Iter<'a, u32>,
    lanes: &'a [usize],
    /// Values in scope.
    scope: Vec<ValueId>,
    /// Loop variables in scope with their iterations.
    loops: Vec<(Affine, usize)>,
    buffers: Vec<(BufferId, Access)>,
}

impl Generator<'_> {
    /// A number below `n`; 0 when the choices have run out.
    fn choose(&mut self, n: usize) -> usize {
        self.choices.next().map_or(0, |&word| word as usize % n)
    }

    fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.choose(options.len())]
    }

    fn ty(&mut self) -> ValueType {
        let element = self.pick(&[Element::F32, Element::F32, Element::I32]);
        ValueType { element, lanes: self.pick(self.lanes) }
    }

    /// A value of this type: one in scope, or a constant.
    fn value(&mut self, ty: ValueType) -> ValueId {
        let fitting: Vec<ValueId> = self.scope.iter().copied().filter(|&v| self.b.ty(v) == ty).collect();
        let choice = self.choose(fitting.len() + 1);
        match fitting.len().checked_sub(choice + 1) {
            // The newest first.
            Some(position) => fitting[position],
            None => self.constant(ty),
        }
    }

    fn constant(&mut self, ty: ValueType) -> ValueId {
        let bits = self.pick(&values(ty.element));
        match ty.element {
            Element::F32 => self.b.f32(ty.lanes, f32::from_bits(bits)),
            _ => self.b.i32(ty.lanes, bits as i32),
        }
    }

    /// A buffer of this element with an index at which `count` elements are in bounds.
    fn place(&mut self, element: Element, count: usize, write: bool) -> (BufferId, Affine) {
        let buffers: Vec<BufferId> = self
            .buffers
            .iter()
            .filter(|&&(buffer, access)| {
                self.b.element(buffer) == element && (!write || access == Access::Write)
            })
            .map(|&(buffer, _)| buffer)
            .collect();
        let buffer = self.pick(&buffers);
        let room = (LENGTH - count) as i64;
        let mut index = Affine::default();
        let (mut low, mut high) = (0, 0);
        for (variable, count) in self.loops.clone() {
            let coefficient = self.pick(&[0, 1, 4, 16, -1, 3, -8]);
            let reach = coefficient * (count as i64 - 1);
            if (high + reach.max(0)) - (low + reach.min(0)) <= room {
                (low, high) = (low + reach.min(0), high + reach.max(0));
                index = index + variable.scaled(coefficient);
            }
        }
        let start = self.choose((room - (high - low) + 1) as usize) as i64;
        (buffer, index + Affine::from(start - low))
    }

    /// Lanes of a load or store: a few different ones, all of them in most cases.
    fn valid(&mut self, lanes: usize) -> usize {
        let valid = self.pick(&[lanes, lanes, lanes - 1, 1, 2, 3, 5]);
        valid.clamp(1, lanes)
    }

    fn expression(&mut self) -> ValueId {
        let ty = self.ty();
        let float = ty.element == Element::F32;
        match self.choose(13) {
            0 | 1 => {
                let valid = self.valid(ty.lanes);
                let (buffer, index) = self.place(ty.element, valid, false);
                self.b.load_partial(ty.lanes, valid, buffer, index)
            }
            2 => {
                let (buffer, index) = self.place(ty.element, 1, false);
                self.b.load_broadcast(ty.lanes, buffer, index)
            }
            3 => {
                use UnaryOp::{Abs, Ceil, Floor, Neg, Round, Sqrt};
                let op = if float {
                    self.pick(&[Neg, Abs, Sqrt, Floor, Ceil, Round])
                } else {
                    self.pick(&[Neg, Abs])
                };
                let a = self.value(ty);
                self.b.unary(op, a)
            }
            4 | 5 => {
                use BinaryOp::{Add, And, Div, Max, Min, Mul, Or, ShiftLeft, ShiftRight, Sub};
                let op = match float {
                    true => self.pick(&[Add, Sub, Mul, Div, Min, Max]),
                    false => self.pick(&[Add, Sub, Mul, And, Or, ShiftLeft, ShiftRight]),
                };
                let (a, mut c) = (self.value(ty), self.value(ty));
                if matches!(op, ShiftLeft | ShiftRight) {
                    if self.choose(2) == 0 {
                        let amount = self.choose(32);
                        c = self.b.i32(ty.lanes, amount as i32);
                    } else {
                        let most = self.b.i32(ty.lanes, 31);
                        c = self.b.binary(And, c, most);
                    }
                }
                self.b.binary(op, a, c)
            }
            6 | 7 => {
                let ty = ValueType { element: Element::F32, ..ty };
                let [p, q, r] = [(); 3].map(|()| self.value(ty));
                self.b.mul_add(p, q, r)
            }
            8 => {
                use Predicate::{Equal, Less, LessEqual, NotEqual};
                let predicate = self.pick(&[Less, LessEqual, Equal, NotEqual]);
                let compared = ValueType { element: self.pick(&[Element::F32, Element::I32]), ..ty };
                let compared = (self.value(compared), self.value(compared));
                let (then, otherwise) = (self.value(ty), self.value(ty));
                self.b.select(predicate, compared, then, otherwise)
            }
            9 => {
                let a = self.value(ty);
                let other = if float { Element::I32 } else { Element::F32 };
                self.b.convert(other, a)
            }
            11 => {
                let a = self.value(ty);
                let run = self.pick(&[1, 2, 3, 4, ty.lanes]);
                let phase = self.choose(run);
                let runs = (ty.lanes + phase).div_ceil(run);
                let stride = self.choose(ty.lanes.div_ceil(runs));
                let first = self.choose(ty.lanes - (runs - 1) * stride);
                self.b.permute(Permutation { run, stride, first, phase }, a)
            }
            10 if float => {
                // Which NaN it is depends on the order of operands; its bits may not be looked at.
                let a = self.value(ty);
                let zero = self.b.f32(ty.lanes, 0.0);
                let number = self.b.select(Predicate::Equal, (a, a), a, zero);
                self.b.bitcast(Element::I32, number)
            }
            10 => {
                let a = self.value(ty);
                self.b.bitcast(Element::F32, a)
            }
            _ if float => {
                let a = self.value(ty);
                let horizontal = self.pick(&[Horizontal::Add, Horizontal::Max, Horizontal::Min]);
                self.b.reduce(horizontal, a)
            }
            _ => {
                let scalar = self.value(ValueType { lanes: 1, ..ty });
                self.b.splat(ty.lanes, scalar)
            }
        }
    }

    fn statement(&mut self) {
        match self.choose(8) {
            0..5 => {
                let value = self.expression();
                self.scope.push(value);
            }
            5 | 6 => {
                let ty = self.ty();
                let value = self.value(ty);
                let valid = self.valid(ty.lanes);
                let (buffer, index) = self.place(ty.element, valid, true);
                self.b.store_partial(buffer, index, value, valid);
            }
            _ if self.loops.len() < DEEPEST => self.repeat(),
            _ => {}
        }
    }

    fn repeat(&mut self) {
        let count = 2 + self.choose(3);
        let carried = self.choose(5);
        let initial: Vec<ValueId> = (0..carried)
            .map(|_| {
                let ty = self.ty();
                self.value(ty)
            })
            .collect();
        let outside = self.scope.len();
        // The builder is lent to itself while the body is built.
        let mut b = std::mem::replace(&mut self.b, KernelBuilder::new(""));
        let results = b.repeat_carrying(count, &initial, |inner, index, parameters| {
            std::mem::swap(&mut self.b, inner);
            self.loops.push((index, count));
            self.scope.extend(parameters);
            for _ in 0..1 + self.choose(10) {
                self.statement();
            }
            let next = parameters.iter().map(|&parameter| self.value(self.b.ty(parameter))).collect();
            self.loops.pop();
            std::mem::swap(&mut self.b, inner);
            next
        });
        self.b = b;
        self.scope.truncate(outside);
        self.scope.extend(results);
    }
}

/// The kernel that follows from the choices, over vectors of these numbers of lanes.
fn kernel(choices: &[u32], lanes: &[usize]) -> Kernel {
    let mut b = KernelBuilder::new("random");
    let mut buffers = Vec::new();
    for (number, access) in [Access::Read, Access::Write, Access::Read, Access::Write].into_iter().enumerate()
    {
        for element in [Element::F32, Element::I32] {
            buffers.push((b.buffer(format!("{element}_{number}"), element, LENGTH, access), access));
        }
    }
    let choices = choices.iter();
    let mut generator = Generator { b, choices, lanes, scope: Vec::new(), loops: Vec::new(), buffers };
    while !generator.choices.as_slice().is_empty() {
        generator.statement();
    }
    // What was computed last is seen, each value in a buffer of its own.
    for (number, value) in generator.scope.into_iter().rev().take(16).enumerate() {
        let ty = generator.b.ty(value);
        let buffer = generator.b.buffer(format!("last_{number}"), ty.element, ty.lanes, Access::Write);
        generator.b.store(buffer, 0usize, value);
    }
    generator.b.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_kernels(choices in prop::collection::vec(any::<u32>(), 1..400), rotation in 0usize..32) {
        for back_end in back_ends() {
            let lanes = back_end.lanes(Element::F32);
            let kernel = kernel(&choices, &lanes);
            let contents = kernel.buffers.iter().enumerate().map(|(number, buffer)| {
                let values = values(buffer.element);
                let length = values.len();
                words((0..buffer.length).map(|i| values[(i + rotation + number * 5) % length]))
            });
            let contents = contents.collect();
            check(back_end, &kernel, &contents);
        }
    }
}
