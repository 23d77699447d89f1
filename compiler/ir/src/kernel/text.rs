//! Text form of a kernel.
//!
//! ```text
//! kernel relu(x: f32[64] read, y: f32[64] write) {
//!   for i0 in 0..16 {
//!     %0: f32x4 = load x[4*i0]
//!     %1: f32x4 = const 0.0
//!     %2: f32x4 = max %1, %0
//!     store y[4*i0] = %2
//!   }
//! }
//! ```

use std::fmt;

use super::{
    Access, Address, BinaryOp, BufferId, Expression, Horizontal, Kernel, Literal, Permutation, Predicate,
    Statement, UnaryOp, ValueId,
};

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}(", self.name)?;
        for (i, buffer) in self.buffers.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let access = match buffer.access {
                Access::Read => "read",
                Access::Write => "write",
            };
            write!(f, "{comma}{}: {}[{}] {access}", buffer.name, buffer.element, buffer.length)?;
        }
        writeln!(f, ") {{")?;
        self.block(&self.body, 1, f)?;
        writeln!(f, "}}")
    }
}

impl Kernel {
    fn block(&self, statements: &[Statement], depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = "  ".repeat(depth);
        for statement in statements {
            match statement {
                Statement::Let(value, expression) => {
                    let (ty, text) = (self.ty(*value), self.expression(*value, expression));
                    writeln!(f, "{indent}{value}: {ty} = {text}")?;
                }
                Statement::Store { address, value, valid } => {
                    let part = part(*valid, self.ty(*value).lanes);
                    writeln!(f, "{indent}store{part} {} = {value}", self.address(address))?;
                }
                Statement::StoreAt { buffer, index, value } => {
                    writeln!(f, "{indent}store {}[{index}] = {value}", self.buffer_name(*buffer))?;
                }
                Statement::For { variable, count, carried, body } => {
                    write!(f, "{indent}for i{} in 0..{count}", variable.0)?;
                    for (i, c) in carried.iter().enumerate() {
                        let start = if i == 0 { " carrying " } else { ", " };
                        write!(f, "{start}{} = {}", c.parameter, c.initial)?;
                    }
                    writeln!(f, " {{")?;
                    self.block(body, depth + 1, f)?;
                    if carried.is_empty() {
                        writeln!(f, "{indent}}}")?;
                    } else {
                        let next: Vec<String> = carried.iter().map(|c| c.next.to_string()).collect();
                        let results: Vec<String> = carried.iter().map(|c| c.result.to_string()).collect();
                        writeln!(f, "{indent}  next {}", next.join(", "))?;
                        writeln!(f, "{indent}}} giving {}", results.join(", "))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn address(&self, address: &Address) -> String {
        format!("{}[{}]", self.buffer_name(address.buffer), address.index)
    }

    fn buffer_name(&self, buffer: BufferId) -> &str {
        self.buffers.get(buffer.0).map_or("?", |b| b.name.as_str())
    }

    fn expression(&self, value: ValueId, expression: &Expression) -> String {
        match expression {
            Expression::Constant(Literal::F32(bits)) => format!("const {:?}", f32::from_bits(*bits)),
            Expression::Constant(Literal::I32(v)) => format!("const {v}"),
            Expression::Constant(Literal::I64(v)) => format!("const {v}"),
            Expression::Load { address, valid } => {
                format!("load{} {}", part(*valid, self.ty(value).lanes), self.address(address))
            }
            Expression::LoadBroadcast(address) => format!("broadcast {}", self.address(address)),
            Expression::LoadAt(buffer, index) => format!("load {}[{index}]", self.buffer_name(*buffer)),
            Expression::Splat(a) => format!("splat {a}"),
            Expression::Permute(Permutation { run, stride, first, phase }, a) => {
                let late = if *phase == 0 { String::new() } else { format!(", the first less {phase}") };
                format!("permute {a}, runs of {run} from {first} by {stride}{late}")
            }
            Expression::Unary(op, a) => format!("{} {a}", unary(*op)),
            Expression::Binary(op, a, b) => format!("{} {a}, {b}", binary(*op)),
            Expression::MulAdd(a, b, c) => format!("mul_add {a}, {b}, {c}"),
            Expression::Select { predicate, left, right, then, otherwise } => {
                format!("select {left} {} {right}, {then}, {otherwise}", symbol(*predicate))
            }
            Expression::Convert(a) => format!("convert {a}"),
            Expression::Bitcast(a) => format!("bitcast {a}"),
            Expression::Reduce(Horizontal::Add, a) => format!("reduce_add {a}"),
            Expression::Reduce(Horizontal::Max, a) => format!("reduce_max {a}"),
            Expression::Reduce(Horizontal::Min, a) => format!("reduce_min {a}"),
        }
    }
}

/// `.3` when only three lanes are loaded or stored.
fn part(valid: usize, lanes: usize) -> String {
    if valid == lanes { String::new() } else { format!(".{valid}") }
}

const fn unary(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Neg => "neg",
        UnaryOp::Abs => "abs",
        UnaryOp::Sqrt => "sqrt",
        UnaryOp::Floor => "floor",
        UnaryOp::Ceil => "ceil",
        UnaryOp::Round => "round",
    }
}

const fn binary(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "add",
        BinaryOp::Sub => "sub",
        BinaryOp::Mul => "mul",
        BinaryOp::Div => "div",
        BinaryOp::Rem => "rem",
        BinaryOp::Min => "min",
        BinaryOp::Max => "max",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Xor => "xor",
        BinaryOp::ShiftLeft => "shl",
        BinaryOp::ShiftRight => "shr",
    }
}

const fn symbol(predicate: Predicate) -> &'static str {
    match predicate {
        Predicate::Less => "<",
        Predicate::LessEqual => "<=",
        Predicate::Equal => "==",
        Predicate::NotEqual => "!=",
    }
}
