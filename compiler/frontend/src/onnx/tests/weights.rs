//! Weights: every way to store them, and files beside the model.

use std::path::Path;

use super::super::proto::StringStringEntryProto;
use super::*;

fn imported(tensor: TensorProto, folder: Option<&Path>) -> Result<Tensor, String> {
    let model = Builder::new(13).input("x", &[1]).raw(TensorProto { name: "w".into(), ..tensor }).output("w");
    let graph = from_bytes(&model.bytes(), "test", folder, &Options::default(), &Reference);
    let graph = graph.map_err(|e| e.to_string())?;
    Ok(graph.as_constant(graph.outputs()[0].value).expect("a constant").clone())
}

fn proto(data_type: i32) -> TensorProto {
    TensorProto { dims: vec![2], data_type, ..TensorProto::default() }
}

#[test]
fn raw_bytes_of_every_type() {
    let raw = |data_type, bytes: &[u8]| {
        imported(TensorProto { raw_data: bytes.to_vec().into(), ..proto(data_type) }, None)
            .expect("a valid weight")
    };
    let expected = f32s(&[2], &[1.5, -2.0]);
    assert_eq!(raw(1, &[1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()), expected);
    assert_eq!(raw(11, &[1.5f64.to_le_bytes(), (-2f64).to_le_bytes()].concat()), expected);
    assert_eq!(raw(10, &[0x00, 0x3e, 0x00, 0xc0]), expected, "half precision");
    assert_eq!(raw(16, &[0xc0, 0x3f, 0x00, 0xc0]), expected, "bfloat16");
    assert_eq!(raw(7, &[1i64.to_le_bytes(), (-1i64).to_le_bytes()].concat()), i64s(&[1, -1]));
    assert_eq!(
        raw(6, &[1i32.to_le_bytes(), (-1i32).to_le_bytes()].concat()).data(),
        &TensorData::I32([1, -1].into())
    );
    assert_eq!(raw(3, &[1, 0xff]).data(), &TensorData::I8([1, -1].into()));
    assert_eq!(raw(4, &[1, 0, 0xff, 0xff]).data(), &TensorData::U16([1, 0xffff].into()));
    assert_eq!(raw(5, &[1, 0, 0xff, 0xff]).data(), &TensorData::I16([1, -1].into()));
    let words = [1u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    assert_eq!(raw(12, &words).data(), &TensorData::U32([1, u32::MAX].into()));
    let words = [1u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
    assert_eq!(raw(13, &words).data(), &TensorData::U64([1, u64::MAX].into()));
    assert_eq!(raw(2, &[1, 0xff]).data(), &TensorData::U8([1, 0xff].into()));
    assert_eq!(raw(9, &[0, 2]).data(), &TensorData::Bool([false, true].into()));
}

#[test]
fn typed_fields() {
    let read = |tensor| imported(tensor, None).expect("a valid weight");
    let expected = f32s(&[2], &[1.5, -2.0]);
    assert_eq!(read(TensorProto { float_data: vec![1.5, -2.0], ..proto(1) }), expected);
    assert_eq!(read(TensorProto { double_data: vec![1.5, -2.0], ..proto(11) }), expected);
    assert_eq!(read(TensorProto { int32_data: vec![0x3e00, 0xc000], ..proto(10) }), expected);
    assert_eq!(read(TensorProto { int32_data: vec![0x3fc0, 0xc000], ..proto(16) }), expected);
    assert_eq!(read(TensorProto { int64_data: vec![3, 4], ..proto(7) }), i64s(&[3, 4]));
    assert_eq!(
        read(TensorProto { int32_data: vec![3, 4], ..proto(2) }).data(),
        &TensorData::U8([3, 4].into())
    );
    assert_eq!(
        read(TensorProto { int32_data: vec![3, -4], ..proto(5) }).data(),
        &TensorData::I16([3, -4].into())
    );
    assert_eq!(
        read(TensorProto { uint64_data: vec![3, 4], ..proto(12) }).data(),
        &TensorData::U32([3, 4].into())
    );
}

#[test]
fn data_must_match_the_shape() {
    let refused = |tensor| imported(tensor, None).expect_err("a wrong weight");
    let short = TensorProto { raw_data: vec![0; 7].into(), ..proto(1) };
    assert_eq!(refused(short), "weight 'w': 7 bytes of data for shape [2], expected 8");
    assert!(refused(TensorProto { float_data: vec![1.0], ..proto(1) }).contains("1 elements for shape [2]"));
    assert!(refused(TensorProto { dims: vec![-1], ..proto(1) }).contains("a dimension is -1"));
    // Refused before anything of that size is allocated.
    assert!(refused(TensorProto { dims: vec![1 << 40, 1 << 40], ..proto(1) }).contains("more elements"));
    assert!(refused(TensorProto { dims: vec![1 << 50], ..proto(1) }).contains("exceed"));
    assert!(refused(proto(14)).contains("element type complex64"));
}

/// A tensor of two floats in another file.
fn external(fields: &[(&str, &str)]) -> TensorProto {
    let entry =
        |&(key, value): &(&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
    TensorProto { data_location: 1, external_data: fields.iter().map(entry).collect(), ..proto(1) }
}

#[test]
fn data_beside_the_model() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("sub")).expect("a folder");
    let bytes: Vec<u8> = [9.0f32, 1.5, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.path().join("sub/w.bin"), bytes).expect("a file");
    let read = |fields: &[(&str, &str)]| imported(external(fields), Some(folder.path()));
    let place = ("location", "sub/w.bin");
    assert_eq!(read(&[place, ("offset", "4"), ("length", "8")]), Ok(f32s(&[2], &[1.5, -2.0])));
    assert_eq!(read(&[place]), Ok(f32s(&[2], &[9.0, 1.5])));
    let refused = |fields: &[(&str, &str)], text: &str| {
        let error = read(fields).expect_err(text);
        assert!(error.starts_with("weight 'w': ") && error.contains(text), "{error}");
    };
    refused(&[place, ("offset", "8")], "has 12 bytes, but 8 from byte 8 on are wanted");
    refused(&[place, ("offset", "18446744073709551615")], "are wanted");
    refused(&[place, ("offset", "-4")], "offset '-4'");
    refused(&[place, ("length", "12")], "of 12 bytes for a tensor of 8");
    refused(&[("location", "none.bin")], "none.bin");
    refused(&[("location", "sub")], "not a file");
    refused(&[], "without a location");
    assert!(imported(external(&[place]), None).expect_err("no folder").contains("not read from a folder"));
}

#[test]
fn data_stays_in_the_folder() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(outer.path().join("secret"), [0; 8]).expect("a file");
    let absolute = outer.path().join("secret").display().to_string();
    for place in ["../secret", "sub/../../secret", "", "..", absolute.as_str()] {
        let error = imported(external(&[("location", place)]), Some(&folder)).expect_err(place);
        assert!(error.contains("outside the model's folder"), "{place}: {error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret", folder.join("link")).expect("a link");
        let error = imported(external(&[("location", "link")]), Some(&folder)).expect_err("a link outwards");
        assert!(error.contains("leads out of the model's folder"), "{error}");
        std::fs::write(folder.join("plain"), [0; 8]).expect("a file");
        std::os::unix::fs::symlink("plain", folder.join("inner")).expect("a link");
        assert!(imported(external(&[("location", "inner")]), Some(&folder)).is_ok(), "links within are fine");
    }
}
