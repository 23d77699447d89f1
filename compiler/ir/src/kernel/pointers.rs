//! Strength reduction of addresses: which pointers each loop carries.
//!
//! All accesses to a buffer whose indices differ only by a constant share one pointer; the constant goes into the
//! instruction. A pointer whose index depends on a loop's variable is carried by that loop and advanced by its
//! coefficient, so no multiplication is left in the code. The pointer of an inner loop starts at that of the same terms
//! without the inner variable, which the outer loops carry in turn.

use std::collections::BTreeSet;

use super::{Address, Affine, BufferId, Expression, Statement, Variable};

/// A pointer: a buffer and the variable part of an index, in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer {
    /// The buffer.
    pub buffer: BufferId,
    /// Coefficients by variable, sorted.
    pub terms: Vec<(Variable, i64)>,
}

impl Pointer {
    /// The pointer that an address uses; the index's constant is left to the instruction.
    pub fn of(address: &Address) -> Self {
        Pointer { buffer: address.buffer, terms: Affine::terms(&address.index).to_vec() }
    }

    /// Coefficient of a variable, in elements.
    pub fn coefficient(&self, variable: Variable) -> Option<i64> {
        self.terms.iter().find(|(v, _)| *v == variable).map(|&(_, c)| c)
    }

    /// The pointer without one of its variables: its value in the first iteration of that variable's loop.
    pub fn without(&self, variable: Variable) -> Self {
        let terms = self.terms.iter().copied().filter(|(v, _)| *v != variable).collect();
        Pointer { buffer: self.buffer, terms }
    }
}

/// The pointers that the loop over `variable` carries: those in its body that depend on the variable, without the
/// variables of loops further in. Sorted.
pub fn carried(variable: Variable, body: &[Statement]) -> Vec<Pointer> {
    needed(body).into_iter().filter(|p| p.coefficient(variable).is_some()).collect()
}

/// The pointers that a block uses in terms of variables of the loops around it.
fn needed(statements: &[Statement]) -> BTreeSet<Pointer> {
    let mut pointers = BTreeSet::new();
    for statement in statements {
        match statement {
            Statement::Let(_, Expression::Load { address, .. } | Expression::LoadBroadcast(address))
            | Statement::Store { address, .. } => {
                pointers.insert(Pointer::of(address));
            }
            Statement::Let(_, Expression::LoadAt(buffer, _)) | Statement::StoreAt { buffer, .. } => {
                pointers.insert(Pointer { buffer: *buffer, terms: Vec::new() });
            }
            Statement::Let(..) => {}
            Statement::For { variable, body, .. } => {
                pointers.extend(needed(body).iter().map(|p| p.without(*variable)));
            }
        }
    }
    pointers
}
