//! PyTorch state dicts, without Python: the zip format (since 1.6) and the format before it.
//!
//! In the zip format an archive holds `*/data.pkl` and one member `*/data/KEY` for each storage. Before, a file was a
//! sequence of pickles (magic number, protocol, system, the object, the keys of the storages), then the storages' bytes.
//! Only flat dictionaries of tensors are read, also below a key `state_dict` or `model`.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

use avocet_ir::{Shape, Tensor, TensorData};

use super::pickle::{Reader, Value};

/// Element types of stored tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    F32,
    F64,
    F16,
    Bf16,
    I64,
    I32,
    U8,
}

impl Stored {
    fn of_storage(name: &str) -> Option<Self> {
        Some(match name {
            "torch.FloatStorage" => Stored::F32,
            "torch.DoubleStorage" => Stored::F64,
            "torch.HalfStorage" => Stored::F16,
            "torch.BFloat16Storage" => Stored::Bf16,
            "torch.LongStorage" => Stored::I64,
            "torch.IntStorage" => Stored::I32,
            "torch.ByteStorage" => Stored::U8,
            _ => return None,
        })
    }

    const fn bytes(self) -> usize {
        match self {
            Stored::F32 | Stored::I32 => 4,
            Stored::F64 | Stored::I64 => 8,
            Stored::F16 | Stored::Bf16 => 2,
            Stored::U8 => 1,
        }
    }
}

/// Little-endian elements as f32; a rest that is no whole element is left out.
pub(super) fn to_f32(bytes: &[u8], stored: Stored) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    match stored {
        Stored::F32 => each(bytes, f32::from_le_bytes),
        Stored::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Stored::F16 => each(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
        Stored::Bf16 => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        Stored::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
        Stored::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
        Stored::U8 => bytes.iter().map(|&b| f32::from(b)).collect(),
    }
}

/// All tensors of a file; the error says what is wrong.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    if bytes.starts_with(b"PK") { read_zip(bytes) } else { read_legacy(bytes) }
}

fn read_zip(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("not a zip archive: {e}"))?;
    let name =
        archive.file_names().find(|n| n.ends_with("/data.pkl") || *n == "data.pkl").map(str::to_string);
    let name = name.ok_or("the archive has no data.pkl: not a PyTorch file")?;
    let folder = name.strip_suffix("data.pkl").unwrap_or_default().to_string();
    // PyTorch stores without compression, so the members together are never larger than the file; those of a hostile
    // file may overlap.
    let mut left = bytes.len() as u64;
    let mut member = |name: &str| -> Result<Vec<u8>, String> {
        let file = archive.by_name(name).map_err(|e| format!("member '{name}': {e}"))?;
        let size = file.size();
        left = left.checked_sub(size).ok_or_else(|| format!("member '{name}' claims {size} bytes"))?;
        let mut contents = Vec::new();
        file.take(size).read_to_end(&mut contents).map_err(|e| format!("member '{name}': {e}"))?;
        Ok(contents)
    };
    let object = Reader::new(&member(&name)?).pickle()?;
    let views = views(&object)?;
    check_total(&views, bytes.len())?;
    let mut storages = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (name, view) in views {
        if !storages.contains_key(&view.key) {
            let contents = member(&format!("{folder}data/{}", view.key))?;
            storages.insert(view.key.clone(), contents);
        }
        tensors
            .insert(name.clone(), view.tensor(&storages[&view.key]).map_err(|e| format!("'{name}': {e}"))?);
    }
    Ok(tensors)
}

fn read_legacy(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    const MAGIC: i64 = 0x1950_a86a_20f9_469c_fc6c_u128 as i64;
    let mut reader = Reader::new(bytes);
    if reader.pickle() != Ok(Value::Int(MAGIC)) {
        return Err("not a PyTorch file".into());
    }
    // Protocol version and system information.
    reader.pickle()?;
    reader.pickle()?;
    let object = reader.pickle()?;
    let Value::Sequence(keys) = reader.pickle()? else {
        return Err("the list of storages is missing".into());
    };
    let views = views(&object)?;
    check_total(&views, bytes.len())?;
    let types: HashMap<&str, Stored> = views.iter().map(|(_, v)| (v.key.as_str(), v.stored)).collect();
    let mut position = reader.position();
    let mut storages: HashMap<&str, &[u8]> = HashMap::new();
    for key in &keys {
        let Value::Text(key) = key else { return Err("a storage without a name".into()) };
        let stored =
            types.get(key.as_str()).ok_or_else(|| format!("nothing says what storage '{key}' holds"))?;
        let count = position.checked_add(8).and_then(|end| bytes.get(position..end));
        let count: [u8; 8] =
            count.and_then(|b| b.try_into().ok()).ok_or("the file ends within its storages")?;
        let length =
            usize::try_from(i64::from_le_bytes(count)).ok().and_then(|n| n.checked_mul(stored.bytes()));
        position += 8;
        let end = length.and_then(|l| position.checked_add(l));
        let data = end.and_then(|end| bytes.get(position..end)).ok_or("the file ends within its storages")?;
        position += data.len();
        storages.insert(key, data);
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in &views {
        let data = storages.get(view.key.as_str()).ok_or_else(|| format!("'{name}' has no storage"))?;
        tensors.insert(name.clone(), view.tensor(data).map_err(|e| format!("'{name}': {e}"))?);
    }
    Ok(tensors)
}

/// That tensors don't multiply a file: several may share a storage, but not hundreds.
fn check_total(views: &[(String, View)], bytes: usize) -> Result<(), String> {
    const MOST_SHARED: usize = 16;
    let elements = |view: &View| view.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let total = views.iter().try_fold(0usize, |sum, (_, view)| sum.checked_add(elements(view)?));
    match total {
        Some(total) if total / MOST_SHARED <= bytes => Ok(()),
        _ => Err(format!("its tensors have more than {MOST_SHARED} elements for each of its {bytes} bytes")),
    }
}

/// A tensor as a part of a storage.
struct View {
    key: String,
    stored: Stored,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The tensors of a state dict, in order.
fn views(object: &Value) -> Result<Vec<(String, View)>, String> {
    let Value::Dictionary(items) = object else { return Err("the file does not hold a state dict".into()) };
    for (key, value) in items {
        let inner = matches!(key, Value::Text(k) if k == "state_dict" || k == "model");
        if inner && matches!(value, Value::Dictionary(_)) {
            return views_of(value);
        }
    }
    views_of(object)
}

fn views_of(object: &Value) -> Result<Vec<(String, View)>, String> {
    let Value::Dictionary(items) = object else { return Err("the file does not hold a state dict".into()) };
    let tensors = items.iter().filter_map(|(key, value)| match (key, value) {
        (Value::Text(name), Value::Tensor(arguments)) => {
            Some(View::new(arguments).map(|view| (name.clone(), view)).map_err(|e| format!("'{name}': {e}")))
        }
        _ => None,
    });
    tensors.collect()
}

fn sizes(value: &Value) -> Option<Vec<usize>> {
    let Value::Sequence(items) = value else { return None };
    let size = |item: &Value| if let Value::Int(n) = item { usize::try_from(*n).ok() } else { None };
    items.iter().map(size).collect()
}

impl View {
    /// From the arguments of `_rebuild_tensor_v2`: storage, offset, shape, strides, …
    fn new(arguments: &[Value]) -> Result<Self, String> {
        let [Value::Persistent(id), Value::Int(offset), shape, strides, ..] = arguments else {
            return Err("it is not described as tensors are".into());
        };
        let Value::Sequence(id) = &**id else { return Err("its storage has no description".into()) };
        let [Value::Text(kind), Value::Global(class), Value::Text(key), ..] = &id[..] else {
            return Err("its storage has no description".into());
        };
        let stored = Stored::of_storage(class).filter(|_| kind == "storage");
        let stored = stored.ok_or_else(|| format!("a storage of {class}"))?;
        let (shape, strides) = (sizes(shape).ok_or("a bad shape")?, sizes(strides).ok_or("bad strides")?);
        if shape.len() != strides.len() {
            return Err("shape and strides differ in length".into());
        }
        let offset = usize::try_from(*offset).map_err(|_| "a negative offset")?;
        Ok(View { key: key.clone(), stored, offset, shape, strides })
    }

    fn tensor(&self, storage: &[u8]) -> Result<Tensor, String> {
        let shape = Shape::new(self.shape.clone()).map_err(|e| e.to_string())?;
        let bytes = self.stored.bytes();
        // The last element must be inside; strides may repeat elements, so the count is bounded too.
        let reach = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |sum, (&d, &s)| sum.checked_add(d.saturating_sub(1).checked_mul(s)?));
        let (elements, available) = (shape.elements(), storage.len() / bytes);
        if elements > 0 && reach.is_none_or(|last| last >= available) || elements > available.max(1) {
            return Err(format!("shape {shape} with strides {:?} leaves its storage", self.strides));
        }
        // The elements' bytes in the tensor's order; the storage may be much larger than the tensor.
        let element = |index: usize| storage.get(index * bytes..(index + 1) * bytes).unwrap_or_default();
        let mut out = Vec::with_capacity(elements * bytes);
        if self.strides == shape.strides() {
            let range = self.offset * bytes..(self.offset + elements) * bytes;
            out.extend_from_slice(if elements > 0 { &storage[range] } else { &[] });
        } else {
            let mut at = vec![0; self.shape.len()];
            for _ in 0..elements {
                let index: usize = at.iter().zip(&self.strides).map(|(a, s)| a * s).sum();
                out.extend_from_slice(element(self.offset + index));
                for axis in (0..at.len()).rev() {
                    at[axis] += 1;
                    if at[axis] < self.shape[axis] {
                        break;
                    }
                    at[axis] = 0;
                }
            }
        }
        let data = to_f32(&out, self.stored);
        Tensor::new(shape, TensorData::F32(data.into())).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(s: &str) -> Vec<u8> {
        let mut out = vec![b'X'];
        out.extend((s.len() as u32).to_le_bytes());
        out.extend(s.bytes());
        out
    }

    /// `{"w": tensor of storage "7" at offset 1, shape (2, 2), strides (1, 2)}`.
    fn object() -> Vec<u8> {
        let mut p = vec![0x80, 2, b'}'];
        p.extend(text("w"));
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        p.extend(text("storage"));
        p.extend(b"ctorch\nFloatStorage\n");
        p.extend(text("7"));
        p.extend(text("cpu"));
        p.extend(b"K\x05tQK\x01K\x02K\x02\x86K\x01K\x02\x86\x89}tRs.");
        p
    }

    fn legacy() -> Vec<u8> {
        let mut file =
            vec![0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
        file.extend([0x80, 2, b'M', 0xe9, 3, b'.', 0x80, 2, b'}', b'.']);
        file.extend(object());
        file.extend([0x80, 2, b']']);
        file.extend(text("7"));
        file.extend(b"a.");
        file.extend(5i64.to_le_bytes());
        file.extend([9.0f32, 1.0, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()));
        file
    }

    fn zipped() -> Vec<u8> {
        use std::io::Write;
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file("net/data.pkl", options).expect("in memory");
        writer.write_all(&object()).expect("in memory");
        writer.start_file("net/data/7", options).expect("in memory");
        let data: Vec<u8> = [9.0f32, 1.0, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        writer.write_all(&data).expect("in memory");
        writer.finish().expect("in memory").into_inner()
    }

    #[test]
    fn both_formats_are_read_with_strides() {
        let expected = Tensor::f32([2, 2], vec![1.0, 3.0, 2.0, 4.0]).expect("small");
        for file in [legacy(), zipped()] {
            assert_eq!(read(&file).expect("reads")["w"], expected);
        }
    }

    #[test]
    fn nothing_is_called() {
        let evil = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.";
        let error = Reader::new(evil).pickle().expect_err("os.system is not known");
        assert_eq!(error, "it names 'os.system', which is not part of a state dict");
    }

    #[test]
    fn tensors_outside_their_storage_are_refused() {
        let mut file = legacy();
        let shape = file.windows(5).position(|w| w == b"K\x02K\x02\x86").expect("the shape");
        file[shape + 1] = 200;
        let error = read(&file).expect_err("200 rows");
        assert!(error.contains("leaves its storage"), "{error}");
    }

    #[test]
    fn tensors_do_not_multiply_a_file() {
        let view = |rows| View {
            key: "7".into(),
            stored: Stored::F32,
            offset: 0,
            shape: vec![rows, 1000],
            strides: vec![1000, 1],
        };
        let views = |count: usize, rows| (0..count).map(|i| (i.to_string(), view(rows))).collect::<Vec<_>>();
        assert_eq!(check_total(&views(4, 1), 4000), Ok(()));
        assert!(check_total(&views(100, 1), 4000).is_err());
        assert!(check_total(&views(2, usize::MAX), 4000).is_err());
    }

    proptest! {
        #[test]
        fn damaged_files_are_never_a_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
            for mut file in [legacy(), zipped()] {
                let at = at % file.len();
                file[at] = byte;
                let _ = read(&file);
                let _ = read(&file[..cut.min(file.len())]);
            }
        }
    }
}
