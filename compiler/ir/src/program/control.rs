//! Which steps run, and how often: a structure over the list of steps, so that all that needs no more than the steps (sizes,
//! kernels, lifetimes, profiles) walks a plain list.
//!
//! A step that no [`Control`] covers runs once. Steps of a branch run when its condition says so, those of a loop once an
//! iteration. Controls nest: each lies within a branch or the body of another or beside it, outer before inner in the list.

use std::ops::Range;

use super::{Argument, Program};

/// Steps that do not run exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// One of two runs of steps, one right after the other in the list; not both are empty.
    Branch {
        /// A byte: not 0 for the first.
        condition: Argument,
        /// Steps that run when it is not 0.
        then: Range<usize>,
        /// Steps that run when it is 0.
        otherwise: Range<usize>,
    },
    /// Steps that run again and again; not empty.
    Loop {
        /// The steps.
        steps: Range<usize>,
        /// Most iterations, at least 1.
        count: usize,
        /// A 64-bit integer read once before: no more iterations than it says.
        limit: Option<Argument>,
        /// A byte that is read before each iteration: 0 ends the loop.
        condition: Option<Argument>,
    },
    /// One of several runs of steps, by the sizes that the caller gives ([`super::Sizes::case`]). Covers the whole program.
    Switch {
        /// The steps of each case, one after the other in the list; none is empty.
        cases: Vec<Range<usize>>,
    },
}

impl Control {
    /// The steps that it covers.
    pub fn steps(&self) -> Range<usize> {
        match self {
            Control::Branch { then, otherwise, .. } => then.start..otherwise.end,
            Control::Loop { steps, .. } => steps.clone(),
            Control::Switch { cases } => {
                cases.first().map_or(0, |first| first.start)..cases.last().map_or(0, |last| last.end)
            }
        }
    }

    /// What it reads itself.
    pub fn arguments(&self) -> Vec<Argument> {
        match self {
            Control::Branch { condition, .. } => vec![*condition],
            Control::Loop { limit, condition, .. } => limit.iter().chain(condition).copied().collect(),
            Control::Switch { .. } => Vec::new(),
        }
    }

    /// The same with other arguments, in the order of [`Control::arguments`], on steps `by` later in the list.
    pub fn moved(&self, by: usize, mut argument: impl FnMut(Argument) -> Argument) -> Self {
        let later = |steps: &Range<usize>| steps.start + by..steps.end + by;
        match self {
            Control::Branch { condition, then, otherwise } => Control::Branch {
                condition: argument(*condition),
                then: later(then),
                otherwise: later(otherwise),
            },
            Control::Loop { steps, count, limit, condition } => Control::Loop {
                steps: later(steps),
                count: *count,
                limit: limit.map(&mut argument),
                condition: condition.map(&mut argument),
            },
            Control::Switch { cases } => Control::Switch { cases: cases.iter().map(later).collect() },
        }
    }

    /// Whether its ranges are well formed.
    fn is_sound(&self) -> bool {
        match self {
            Control::Branch { then, otherwise, .. } => {
                then.start <= then.end
                    && then.end == otherwise.start
                    && otherwise.start <= otherwise.end
                    && then.start < otherwise.end
            }
            Control::Loop { steps, count, .. } => steps.start < steps.end && *count > 0,
            Control::Switch { cases } => {
                let follow = cases.windows(2).all(|pair| pair[0].end == pair[1].start);
                !cases.is_empty() && follow && cases.iter().all(|case| case.start < case.end)
            }
        }
    }
}

/// A program as those that run it, or follow it, see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A step, by number.
    Step(usize),
    /// One of two.
    Branch(&'a Argument, Vec<Item<'a>>, Vec<Item<'a>>),
    /// A loop of at most so many iterations, with its limit and its condition.
    Loop(usize, Option<&'a Argument>, Option<&'a Argument>, Vec<Item<'a>>),
    /// One of several, by the sizes.
    Switch(Vec<Vec<Item<'a>>>),
}

impl Program {
    /// The structure that steps and controls make; `None` when controls don't nest.
    pub fn items(&self) -> Option<Vec<Item<'_>>> {
        let mut controls = &self.controls[..];
        let items = items(0..self.steps.len(), &mut controls)?;
        controls.is_empty().then_some(items)
    }

    /// How often a step runs at most; 1 for steps of branches.
    pub fn runs(&self, step: usize) -> usize {
        self.controls.iter().fold(1, |runs, control| match control {
            Control::Loop { steps, count, .. } if steps.contains(&step) => count.saturating_mul(runs),
            _ => runs,
        })
    }

    /// Iterations of the innermost loop around a step, if there is one.
    pub fn iterations(&self, step: usize) -> Option<usize> {
        self.controls.iter().rev().find_map(|control| match control {
            Control::Loop { steps, count, .. } if steps.contains(&step) => Some(*count),
            _ => None,
        })
    }
}

fn items<'a>(range: Range<usize>, controls: &mut &'a [Control]) -> Option<Vec<Item<'a>>> {
    let mut found = Vec::new();
    let mut step = range.start;
    while step < range.end {
        match controls.split_first() {
            Some((control, rest)) if control.steps().start == step && control.steps().end <= range.end => {
                if !control.is_sound() {
                    return None;
                }
                *controls = rest;
                found.push(match control {
                    Control::Branch { condition, then, otherwise } => {
                        let then = items(then.clone(), controls)?;
                        Item::Branch(condition, then, items(otherwise.clone(), controls)?)
                    }
                    Control::Switch { cases } => {
                        let cases = cases.iter().map(|case| items(case.clone(), controls));
                        Item::Switch(cases.collect::<Option<_>>()?)
                    }
                    Control::Loop { steps, count, limit, condition } => Item::Loop(
                        *count,
                        limit.as_ref(),
                        condition.as_ref(),
                        items(steps.clone(), controls)?,
                    ),
                });
                step = control.steps().end;
            }
            _ => {
                found.push(Item::Step(step));
                step += 1;
            }
        }
    }
    Some(found)
}
