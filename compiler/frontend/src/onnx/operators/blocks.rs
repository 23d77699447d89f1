//! Blocks of an image as channels, and back.

use avocet_ir::Value;
use avocet_ir::op::Op;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};

/// Channels, height, width and the block's size, when they fit.
fn blocks(importer: &Importer, node: &Node) -> Result<([usize; 4], usize), Problem> {
    let ty = importer.ty(node.input(0)?);
    let &[n, c, h, w] = ty.dims() else { return invalid(format!("{ty} is not an image")) };
    Ok(([n, c, h, w], size("blocksize", node.attributes.int("blocksize", 1)?, 1)?))
}

/// Channels as blocks: the block's rows and columns are the outer part of the channels ("DCR") or the inner ("CRD").
pub(super) fn depth_to_space(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let ([n, c, h, w], block) = blocks(importer, node)?;
    let square = block.saturating_mul(block);
    if !c.is_multiple_of(square) {
        return invalid(format!("{c} channels in blocks of {block} by {block}"));
    }
    let (depth, x) = (c / square, node.input(0)?);
    let (split, perm) = match node.attributes.text("mode", "DCR")?.as_str() {
        "DCR" => ([n, block, block, depth, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, depth, block, block, h, w], vec![0, 1, 4, 2, 5, 3]),
        other => return unsupported(format!("mode '{}'", other.escape_debug())),
    };
    let y = importer.reshape(node, x, &split)?;
    let y = importer.add(node, Op::Transpose { perm }, &[y])?;
    Ok(vec![importer.reshape(node, y, &[n, depth, h * block, w * block])?])
}

/// Blocks as channels, their rows and columns as the outer part ("DCR") or the inner ("CRD").
pub(super) fn space_to_depth(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let perm = match node.attributes.text("mode", "DCR")?.as_str() {
        "DCR" => vec![0, 3, 5, 1, 2, 4],
        "CRD" => vec![0, 1, 3, 5, 2, 4],
        other => return unsupported(format!("mode '{}'", other.escape_debug())),
    };
    let ([n, c, h, w], block) = blocks(importer, node)?;
    if !h.is_multiple_of(block) || !w.is_multiple_of(block) {
        return invalid(format!("an image of {h} by {w} in blocks of {block}"));
    }
    let y = importer.reshape(node, node.input(0)?, &[n, c, h / block, block, w / block, block])?;
    let y = importer.add(node, Op::Transpose { perm }, &[y])?;
    Ok(vec![importer.reshape(node, y, &[n, c * block * block, h / block, w / block])?])
}
