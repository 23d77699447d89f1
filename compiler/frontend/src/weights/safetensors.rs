//! The safetensors format, through its crate; every element type becomes f32.

use std::collections::BTreeMap;

use avocet_ir::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::torch::{Stored, to_f32};

/// All tensors of a file; the error says what is wrong.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let stored = match view.dtype() {
            Dtype::F32 => Stored::F32,
            Dtype::F64 => Stored::F64,
            Dtype::F16 => Stored::F16,
            Dtype::BF16 => Stored::Bf16,
            Dtype::I64 => Stored::I64,
            Dtype::I32 => Stored::I32,
            Dtype::U8 => Stored::U8,
            other => return Err(format!("tensor '{name}' is of type {other:?}, which is not known here")),
        };
        let data = to_f32(view.data(), stored);
        let tensor = Tensor::f32(view.shape(), data).map_err(|e| format!("tensor '{name}': {e}"))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_read() {
        let data: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![2], &data).expect("valid");
        let bytes = safetensors::serialize([("a", view)], None).expect("valid");
        let tensors = read(&bytes).expect("reads");
        assert_eq!(tensors["a"], Tensor::f32([2], vec![1.0, 2.0]).expect("small"));
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
    }
}
