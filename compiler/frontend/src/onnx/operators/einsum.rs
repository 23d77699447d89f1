//! Einsum: sums of products by names of dimensions, as transpositions, products and sums.
//!
//! Each operand is brought to its own terms first: diagonals where a name stands twice, sums over names that nothing else has.
//! Two operands become one by a matrix product: names of both that stay are its batch, names of both that go its inner
//! dimension. More operands join one after the other, from the left.

use std::collections::BTreeMap;

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op, ReduceKind, SliceAxis};
use avocet_ir::tensor::{DType, Shape};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};

/// A dimension: a letter, or one of those that `...` stands for, counted from the last.
type Name = u32;

/// The first name of dimensions under an ellipsis; letters are below.
const ELLIPSIS: Name = 0x11_0000;

/// A tensor with a name for each of its dimensions, no name twice.
#[derive(Clone, Debug)]
struct Term {
    value: Value,
    names: Vec<Name>,
}

pub(super) fn einsum(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let text = node.attributes.text("equation", "")?;
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (text.as_str(), None),
    };
    let operands = node.all()?;
    let sides: Vec<&str> = left.split(',').collect();
    if sides.len() != operands.len() || operands.is_empty() {
        return invalid(format!("an equation of {} operands for {}", sides.len(), operands.len()));
    }
    let mut named = Vec::new();
    for (side, &value) in sides.iter().zip(&operands) {
        named.push((value, names(side, importer.ty(value).shape.rank())?));
    }
    let extents = extents(importer, &named)?;
    let result = match right {
        Some(right) => {
            let most = named.iter().flat_map(|(_, names)| names).filter(|&&name| name >= ELLIPSIS);
            let under = most.map(|name| name - ELLIPSIS + 1).max().unwrap_or(0) as usize;
            let letters = right.chars().filter(|c| c.is_ascii_alphabetic()).count();
            names(right, letters + if right.contains("...") { under } else { 0 })?
        }
        None => implied(&named),
    };
    let known = |name: &Name| extents.contains_key(name);
    if let Some(lost) =
        result.iter().enumerate().find(|(i, name)| !known(name) || result[..*i].contains(name))
    {
        return invalid(format!(
            "dimension {} of the result is not one of the operands', or there twice",
            lost.0
        ));
    }
    let mut terms = Vec::new();
    for (value, names) in named {
        terms.push(diagonal(importer, node, value, names)?);
    }
    let mut rest = terms.into_iter();
    let Some(mut sum) = rest.next() else { return invalid("no operands") };
    let mut left: Vec<Term> = rest.collect();
    loop {
        let needed =
            |name: Name| result.contains(&name) || left.iter().any(|term| term.names.contains(&name));
        let gone: Vec<Name> = sum.names.iter().copied().filter(|&name| !needed(name)).collect();
        sum = summed(importer, node, sum, &gone)?;
        if left.is_empty() {
            break;
        }
        let next = left.remove(0);
        let later = |name: Name| result.contains(&name) || left.iter().any(|term| term.names.contains(&name));
        let own: Vec<Name> =
            next.names.iter().copied().filter(|&name| !later(name) && !sum.names.contains(&name)).collect();
        let next = summed(importer, node, next, &own)?;
        sum = joined(importer, node, sum, next, &later, &extents)?;
    }
    // Dimensions that the operands have with one index only are as long as the others say.
    let ordered = ordered(importer, node, &sum, &result)?;
    let dims: Vec<usize> = result.iter().map(|name| extents[name]).collect();
    let shape = Shape::new(dims)?;
    match importer.ty(ordered).shape == shape {
        true => Ok(vec![ordered]),
        false => Ok(vec![importer.add(node, Op::Broadcast { shape }, &[ordered])?]),
    }
}

/// The names that a term's text gives to a tensor of this rank.
fn names(text: &str, rank: usize) -> Result<Vec<Name>, Problem> {
    let parts: Vec<&str> = text.split("...").collect();
    let letters: usize = parts.iter().map(|part| part.chars().count()).sum();
    let under = rank.checked_sub(letters);
    let (Some(under), true) = (under, parts.len() <= 2 && text.len() <= 64) else {
        return invalid(format!("'{}' for a tensor of rank {rank}", text.escape_debug()));
    };
    if parts.iter().flat_map(|part| part.chars()).any(|c| !c.is_ascii_alphabetic()) {
        return invalid(format!("'{}' is not letters and an ellipsis", text.escape_debug()));
    }
    if parts.len() == 1 && under > 0 {
        return invalid(format!("'{}' for a tensor of rank {rank}", text.escape_debug()));
    }
    let letter = |c: char| c as Name;
    let mut names: Vec<Name> = parts[0].chars().map(letter).collect();
    if let Some(after) = parts.get(1) {
        // From the last, as shapes under ellipses broadcast.
        names.extend((0..under as Name).rev().map(|number| ELLIPSIS + number));
        names.extend(after.chars().map(letter));
    }
    Ok(names)
}

/// The names of a result that the equation does not tell: what is under ellipses, then letters that stand once, by alphabet.
fn implied(named: &[(Value, Vec<Name>)]) -> Vec<Name> {
    let mut counts: BTreeMap<Name, usize> = BTreeMap::new();
    named.iter().flat_map(|(_, names)| names).for_each(|&name| *counts.entry(name).or_default() += 1);
    let mut under: Vec<Name> = counts.keys().copied().filter(|&name| name >= ELLIPSIS).collect();
    under.reverse();
    under.extend(
        counts.iter().filter(|&(&name, &count)| name < ELLIPSIS && count == 1).map(|(&name, _)| name),
    );
    under
}

/// How long each dimension is.
fn extents(importer: &Importer, named: &[(Value, Vec<Name>)]) -> Result<BTreeMap<Name, usize>, Problem> {
    let mut extents: BTreeMap<Name, usize> = BTreeMap::new();
    for (value, names) in named {
        for (&name, &extent) in names.iter().zip(importer.ty(*value).dims()) {
            let known = extents.entry(name).or_insert(extent);
            match (*known, extent) {
                (a, b) if a == b => {}
                (1, _) => *known = extent,
                (_, 1) => {}
                (a, b) => return invalid(format!("one name for dimensions of {a} and {b}")),
            }
        }
    }
    Ok(extents)
}

/// A term without names that stand twice: of those dimensions the elements whose indices are equal.
fn diagonal(importer: &mut Importer, node: &Node, value: Value, names: Vec<Name>) -> Result<Term, Problem> {
    let mut term = Term { value, names };
    loop {
        let twice = term.names.iter().enumerate().find_map(|(second, name)| {
            let first = term.names[..second].iter().position(|other| other == name)?;
            Some((first, second))
        });
        let Some((first, second)) = twice else { return Ok(term) };
        let dims = importer.ty(term.value).dims().to_vec();
        let extent = dims[first];
        if dims[second] != extent {
            return unsupported("the diagonal of dimensions of different lengths");
        }
        // Both last, then one, of which every so-manieth element counts.
        let rest: Vec<usize> = (0..dims.len()).filter(|axis| ![first, second].contains(axis)).collect();
        let perm: Vec<usize> = rest.iter().copied().chain([first, second]).collect();
        let turned = importer.transposed(node, term.value, &perm)?;
        let mut flat: Vec<usize> = rest.iter().map(|&axis| dims[axis]).collect();
        flat.push(extent * extent);
        let flattened = importer.reshape(node, turned, &flat)?;
        let mut axes: Vec<SliceAxis> =
            flat.iter().map(|&count| SliceAxis { start: 0, count, step: 1 }).collect();
        if let Some(last) = axes.last_mut() {
            *last = SliceAxis { start: 0, count: extent, step: extent as isize + 1 };
        }
        let name = term.names[first];
        term.value = importer.add(node, Op::Slice { axes }, &[flattened])?;
        term.names = rest.iter().map(|&axis| term.names[axis]).chain([name]).collect();
    }
}

/// The term summed over some of its dimensions.
fn summed(importer: &mut Importer, node: &Node, term: Term, gone: &[Name]) -> Result<Term, Problem> {
    let axes: Vec<usize> = (0..term.names.len()).filter(|&axis| gone.contains(&term.names[axis])).collect();
    if axes.is_empty() {
        return Ok(term);
    }
    let op = Op::Reduce { kind: ReduceKind::Sum, axes, keep_dims: false };
    let names = term.names.iter().copied().filter(|name| !gone.contains(name)).collect();
    Ok(Term { value: importer.add(node, op, &[term.value])?, names })
}

/// The term with its dimensions in this order; those that it lacks have one index.
fn ordered(importer: &mut Importer, node: &Node, term: &Term, order: &[Name]) -> Result<Value, Problem> {
    let perm: Vec<usize> =
        order.iter().filter_map(|name| term.names.iter().position(|own| own == name)).collect();
    let turned = importer.transposed(node, term.value, &perm)?;
    let dims = importer.ty(term.value).dims().to_vec();
    let extent = |name: &Name| term.names.iter().position(|own| own == name).map_or(1, |axis| dims[axis]);
    let dims: Vec<usize> = order.iter().map(extent).collect();
    importer.reshape(node, turned, &dims)
}

/// The product of two terms, summed over what both have and nothing later needs.
fn joined(
    importer: &mut Importer,
    node: &Node,
    a: Term,
    b: Term,
    later: &impl Fn(Name) -> bool,
    extents: &BTreeMap<Name, usize>,
) -> Result<Term, Problem> {
    let both: Vec<Name> = a.names.iter().copied().filter(|name| b.names.contains(name)).collect();
    let (batch, inner): (Vec<Name>, Vec<Name>) = both.iter().partition(|&&name| later(name));
    let only =
        |term: &Term| term.names.iter().copied().filter(|name| !both.contains(name)).collect::<Vec<_>>();
    let (rows, columns) = (only(&a), only(&b));
    let result: Vec<Name> = batch.iter().chain(&rows).chain(&columns).copied().collect();
    let extent = |term: &Term, importer: &Importer, name: &Name| {
        let place = term.names.iter().position(|own| own == name);
        place.map_or(1, |axis| importer.ty(term.value).dims()[axis])
    };
    // A dimension of one index in one of them that is longer in the other broadcasts, which products of matrices don't.
    let plain = inner.iter().all(|name| {
        extent(&a, importer, name) == extents[name] && extent(&b, importer, name) == extents[name]
    });
    if inner.is_empty() || !plain || importer.ty(a.value).dtype != DType::F32 {
        let all: Vec<Name> = result.iter().chain(&inner).copied().collect();
        let (left, right) = (ordered(importer, node, &a, &all)?, ordered(importer, node, &b, &all)?);
        let product = importer.binary(node, Binary::Mul, left, right)?;
        return summed(importer, node, Term { value: product, names: all }, &inner);
    }
    let order = |parts: [&[Name]; 3]| parts.concat();
    let left = ordered(importer, node, &a, &order([&batch, &rows, &inner]))?;
    let right = ordered(importer, node, &b, &order([&batch, &inner, &columns]))?;
    let size = |term: &Term, names: &[Name]| {
        names.iter().map(|name| extent(term, importer, name)).product::<usize>()
    };
    let batches = |term: &Term| batch.iter().map(|name| extent(term, importer, name)).collect::<Vec<_>>();
    let matrix =
        |term: &Term, m: usize, n: usize| batches(term).into_iter().chain([m, n]).collect::<Vec<_>>();
    let (m, k, n) = (size(&a, &rows), size(&a, &inner), size(&b, &columns));
    let (one, two) = (matrix(&a, m, k), matrix(&b, k, n));
    let left = importer.reshape(node, left, &one)?;
    let right = importer.reshape(node, right, &two)?;
    let product =
        importer.add(node, Op::MatMul { transpose_a: false, transpose_b: false }, &[left, right])?;
    let lead = importer.ty(product).dims()[..batch.len()].to_vec();
    let mut dims = lead;
    dims.extend(rows.iter().map(|name| extent(&a, importer, name)));
    dims.extend(columns.iter().map(|name| extent(&b, importer, name)));
    Ok(Term { value: importer.reshape(node, product, &dims)?, names: result })
}
