//! Errors of target descriptions.

use thiserror::Error;

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// No built-in target has this name.
    #[error("there is no target '{name}'{}; known are: {}", suggestion(name, known), known.join(", "))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A description could not be understood.
    #[error("{origin}:{line}: {problem}")]
    Invalid {
        /// File or other source of the description.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
}

/// A name that differs more than this from all others is no slip of the keyboard.
const MOST_EDITS: usize = 3;

/// `, did you mean 'x'?` when a known name is near, else nothing. Long names are never near, which bounds the work.
fn suggestion(name: &str, known: &[&'static str]) -> String {
    let near = known
        .iter()
        .filter(|k| k.len().abs_diff(name.len()) <= MOST_EDITS)
        .map(|k| (edits(name, k), k))
        .filter(|(edits, k)| *edits <= MOST_EDITS && edits * 2 < k.len())
        .min_by_key(|(edits, _)| *edits);
    near.map_or_else(String::new, |(_, k)| format!(", did you mean '{k}'?"))
}

/// Levenshtein's distance in bytes, a row of the table at a time.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)] {
            assert_eq!((edits(a, b), edits(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
