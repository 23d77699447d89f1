//! The operations of the kernel IR on single lanes.
//!
//! A lane is held as the 64 low bits of its value, so that one representation serves all element types.

use avocet_ir::kernel::{BinaryOp, Element, Predicate, UnaryOp};

/// Bits of an f32 as a lane.
pub(super) fn from_f32(value: f32) -> u64 {
    u64::from(value.to_bits())
}

/// A lane as f32.
pub(super) fn to_f32(lane: u64) -> f32 {
    f32::from_bits(lane as u32)
}

/// A lane as a signed integer of its element type.
pub(super) fn to_int(element: Element, lane: u64) -> i64 {
    match element {
        Element::I64 => lane as i64,
        Element::U8 => i64::from(lane as u8),
        Element::I8 => i64::from(lane as i8),
        Element::I16 => i64::from(lane as i16),
        Element::U16 => i64::from(lane as u16),
        Element::U32 => i64::from(lane as u32),
        Element::I32 | Element::F32 => i64::from(lane as u32 as i32),
    }
}

/// The low bits of an integer as a lane of this type.
pub(super) fn from_int(element: Element, value: i64) -> u64 {
    match element {
        Element::I64 => value as u64,
        Element::U8 | Element::I8 => u64::from(value as u8),
        Element::I16 | Element::U16 => u64::from(value as u16),
        Element::I32 | Element::U32 | Element::F32 => u64::from(value as u32),
    }
}

pub(super) fn unary(element: Element, op: UnaryOp, a: u64) -> u64 {
    if element != Element::F32 {
        let a = to_int(element, a);
        return from_int(
            element,
            match op {
                UnaryOp::Neg => a.wrapping_neg(),
                UnaryOp::Abs => a.wrapping_abs(),
                UnaryOp::Sqrt | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => a,
            },
        );
    }
    let a = to_f32(a);
    from_f32(match op {
        UnaryOp::Neg => -a,
        UnaryOp::Abs => a.abs(),
        UnaryOp::Sqrt => a.sqrt(),
        UnaryOp::Floor => a.floor(),
        UnaryOp::Ceil => a.ceil(),
        UnaryOp::Round => a.round_ties_even(),
    })
}

pub(super) fn binary(element: Element, op: BinaryOp, a: u64, b: u64) -> u64 {
    if element == Element::F32 {
        let (x, y) = (to_f32(a), to_f32(b));
        return match op {
            BinaryOp::Add => from_f32(x + y),
            BinaryOp::Sub => from_f32(x - y),
            BinaryOp::Mul => from_f32(x * y),
            BinaryOp::Div => from_f32(x / y),
            BinaryOp::Min => {
                if x < y {
                    a
                } else {
                    b
                }
            }
            BinaryOp::Max => {
                if x > y {
                    a
                } else {
                    b
                }
            }
            BinaryOp::Rem | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => 0,
            BinaryOp::ShiftLeft | BinaryOp::ShiftRight => 0,
        };
    }
    let (x, y) = (to_int(element, a), to_int(element, b));
    from_int(
        element,
        match op {
            BinaryOp::Add => x.wrapping_add(y),
            BinaryOp::Sub => x.wrapping_sub(y),
            BinaryOp::Mul => x.wrapping_mul(y),
            BinaryOp::And => x & y,
            BinaryOp::Or => x | y,
            BinaryOp::Xor => x ^ y,
            BinaryOp::ShiftLeft => x.wrapping_shl(y as u32),
            BinaryOp::ShiftRight => x.wrapping_shr(y as u32),
            BinaryOp::Div => x.checked_div(y).unwrap_or(if y == 0 { 0 } else { x }),
            BinaryOp::Rem => x.checked_rem(y).unwrap_or(0),
            BinaryOp::Min | BinaryOp::Max => 0,
        },
    )
}

pub(super) fn holds(element: Element, predicate: Predicate, a: u64, b: u64) -> bool {
    if element == Element::F32 {
        let (x, y) = (to_f32(a), to_f32(b));
        match predicate {
            Predicate::Less => x < y,
            Predicate::LessEqual => x <= y,
            Predicate::Equal => x == y,
            Predicate::NotEqual => x != y,
        }
    } else {
        let (x, y) = (to_int(element, a), to_int(element, b));
        match predicate {
            Predicate::Less => x < y,
            Predicate::LessEqual => x <= y,
            Predicate::Equal => x == y,
            Predicate::NotEqual => x != y,
        }
    }
}

pub(super) fn convert(from: Element, to: Element, a: u64) -> u64 {
    match (from, to) {
        // Rust's conversion truncates, saturates, and turns NaN into 0, as the kernel IR says.
        (Element::F32, Element::I32) => from_int(to, i64::from(to_f32(a) as i32)),
        (Element::F32, Element::I64) => to_f32(a) as i64 as u64,
        (Element::I64, Element::F32) => from_f32(a as i64 as f32),
        (Element::I32, Element::F32) => from_f32(to_int(from, a) as i32 as f32),
        _ => from_int(to, to_int(from, a)),
    }
}
