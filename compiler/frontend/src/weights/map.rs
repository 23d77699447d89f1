//! Maps of names: rules by which the documented name of a tensor becomes the name in a file.
//!
//! A rule has two patterns of dot-separated parts; `{x}` stands for any one part and carries it over. The first rule
//! whose left side matches is applied; a name that none matches stays.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One rule: `from = "blocks.{i}.expand.conv.weight"`, `to = "_blocks.{i}._expand_conv.weight"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Pattern of the documented name.
    pub from: String,
    /// The file's name.
    pub to: String,
}

fn variable(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

impl Rule {
    fn apply(&self, name: &str) -> Option<String> {
        let (pattern, parts): (Vec<&str>, Vec<&str>) =
            (self.from.split('.').collect(), name.split('.').collect());
        if pattern.len() != parts.len() {
            return None;
        }
        let mut carried = BTreeMap::new();
        for (pattern, part) in pattern.into_iter().zip(parts) {
            match variable(pattern) {
                Some(variable) => {
                    carried.insert(variable, part);
                }
                None if pattern == part => {}
                None => return None,
            }
        }
        let parts = self
            .to
            .split('.')
            .map(|part| variable(part).and_then(|variable| carried.get(variable).copied()).unwrap_or(part));
        Some(parts.collect::<Vec<_>>().join("."))
    }
}

/// The file's name of a tensor.
pub(super) fn apply(rules: &[Rule], name: &str) -> String {
    rules.iter().find_map(|rule| rule.apply(name)).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_is_applied() {
        let rule = |from: &str, to: &str| Rule { from: from.into(), to: to.into() };
        let rules = [
            rule("stem.conv.weight", "_conv_stem.weight"),
            rule("blocks.{i}.expand.norm.{p}", "_blocks.{i}._bn0.{p}"),
            rule("{a}.{b}", "x.{b}.{a}"),
        ];
        for (name, expected) in [
            ("stem.conv.weight", "_conv_stem.weight"),
            ("blocks.12.expand.norm.running_mean", "_blocks.12._bn0.running_mean"),
            ("p.q", "x.q.p"),
            ("left.as.it.is", "left.as.it.is"),
        ] {
            assert_eq!(apply(&rules, name), expected);
        }
    }
}
