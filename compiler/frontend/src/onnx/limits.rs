//! A look at a file's structure before it is decoded.
//!
//! An empty message takes two bytes in a file and hundreds when decoded, so a file of some megabytes could ask for more
//! memory than there is. Here the messages and strings are counted first, by walking the encoding (protobuf.dev, "Encoding")
//! without storing anything.

/// Most messages and strings of a model. The largest networks have some ten thousand; each takes at most about 600 bytes.
pub(super) const MOST_PARTS: usize = 1 << 21;
/// Messages within messages; the decoder's own limit.
const MOST_DEPTH: usize = 100;

/// The kinds of messages that are told apart, and `Leaf` for strings and messages that hold nothing to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Value,
    Type,
    TensorType,
    Shape,
    Leaf,
}

impl Kind {
    /// What a field holds; `None` for numbers and bytes, which take little more memory than room in the file.
    fn field(self, number: u64) -> Option<Kind> {
        Some(match (self, number) {
            (Kind::Model, 7) | (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Model, 8) | (Kind::Node, 1 | 2) | (Kind::Attribute, 9) => Kind::Leaf,
            (Kind::Graph, 1) => Kind::Node,
            (Kind::Graph, 5) | (Kind::Attribute, 5) | (Kind::SparseTensor, 1) => Kind::Tensor,
            (Kind::Graph, 11 | 12) => Kind::Value,
            (Kind::Graph, 15) => Kind::SparseTensor,
            (Kind::Node, 5) => Kind::Attribute,
            (Kind::Tensor, 13) | (Kind::Shape, 1) => Kind::Leaf,
            (Kind::Value, 2) => Kind::Type,
            (Kind::Type, 1) => Kind::TensorType,
            (Kind::TensorType, 2) => Kind::Shape,
            _ => return None,
        })
    }
}

/// Number of messages and strings in a model's bytes, up to one more than [`MOST_PARTS`]. Of damaged bytes, those in
/// front of the damage are counted: the decoder stops there too, and tells what is wrong.
pub(super) fn parts(bytes: &[u8]) -> usize {
    let mut count = 0;
    walk(bytes, Kind::Model, 0, &mut count);
    count
}

fn walk(mut bytes: &[u8], kind: Kind, depth: usize, count: &mut usize) -> Option<()> {
    while !bytes.is_empty() && *count <= MOST_PARTS {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inside, rest) = bytes.split_at_checked(length)?;
                if let Some(inner) = kind.field(key >> 3) {
                    *count += 1;
                    if inner != Kind::Leaf && depth < MOST_DEPTH {
                        walk(inside, inner, depth + 1, count)?;
                    }
                }
                bytes = rest;
            }
            // The beginning and end of a group, which unknown fields may have: nothing follows the key.
            3 | 4 => {}
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

/// Seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
    use super::*;

    #[test]
    fn every_message_and_string_counts() {
        let node = NodeProto {
            input: vec!["a".into(), "b".into()],
            output: vec!["c".into()],
            name: "not counted: one a message".into(),
            attribute: vec![Default::default()],
            ..NodeProto::default()
        };
        let graph = GraphProto {
            node: vec![node; 3],
            initializer: vec![Default::default(); 2],
            ..GraphProto::default()
        };
        let opset_import = vec![OperatorSetIdProto::default()];
        let model = ModelProto { ir_version: 8, graph: Some(graph), opset_import };
        // The graph, the operator set, two weights, three nodes with three strings and an attribute each.
        assert_eq!(parts(&model.encode_to_vec()), 1 + 1 + 2 + 3 * 5);
    }

    #[test]
    fn more_than_the_limit_is_found_without_decoding() {
        // A graph of many nodes of no bytes each.
        let nodes = [0x0a, 0].repeat(MOST_PARTS + 5);
        let mut bytes = vec![0x3a];
        prost::encode_length_delimiter(nodes.len(), &mut bytes).expect("a vector grows");
        bytes.extend(nodes);
        assert_eq!(parts(&bytes), MOST_PARTS + 1);
        // Damage ends the count.
        assert_eq!(parts(&[0x3a, 2, 0x0a, 0, 0x07]), 2);
        assert_eq!(parts(&[0xff; 20]), 0);
    }
}
