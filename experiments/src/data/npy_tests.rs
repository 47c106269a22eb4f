//! Tests of the `.npy` reader.

use proptest::prelude::*;

use super::*;

fn file(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn int16_values_are_read_in_their_order() {
    let array =
        NpyArray::parse("a", &file("<i2", false, "(3,)", &[1, 0, 255, 255, 0, 128])).unwrap();
    assert_eq!(array.shape, [3]);
    assert_eq!(array.as_i16().unwrap(), [1, -1, i16::MIN]);
}

#[test]
fn fortran_order_becomes_c_order() {
    // [[1, 2, 3], [4, 5, 6]] stored column by column
    let array = NpyArray::parse("a", &file("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6])).unwrap();
    assert_eq!(array.values, Values::U8(vec![1, 2, 3, 4, 5, 6]));
}

#[test]
fn floats_and_long_integers_are_read() {
    let float = NpyArray::parse("a", &file("<f8", false, "()", &1.5f64.to_le_bytes())).unwrap();
    assert_eq!(float.to_f64().unwrap(), [1.5]);
    let long = NpyArray::parse("a", &file("<i8", false, "(1,)", &(-7i64).to_le_bytes())).unwrap();
    assert_eq!(long.to_i64().unwrap(), [-7]);
}

#[test]
fn truncated_data_is_a_wrong_length() {
    let error = NpyArray::parse("q", &file("<i2", false, "(4,)", &[0; 7])).unwrap_err();
    assert!(
        matches!(
            error,
            DataError::WrongLength {
                expected: 8,
                found: 7,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_shape_that_overflows_is_refused_without_allocating() {
    let shape = format!("({}, {})", u64::MAX, u64::MAX);
    assert!(matches!(
        NpyArray::parse("q", &file("<i8", false, &shape, &[])),
        Err(DataError::WrongLength { .. })
    ));
}

#[test]
fn foreign_bytes_are_refused() {
    for bytes in [
        &b""[..],
        b"PK\x03\x04",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00\x00\x00",
    ] {
        assert!(matches!(
            NpyArray::parse("q", bytes),
            Err(DataError::Foreign { .. })
        ));
    }
}

#[test]
fn big_endian_and_object_arrays_are_refused_by_type() {
    for descr in [">i2", "|O", "<U8"] {
        let error = NpyArray::parse("q", &file(descr, false, "(1,)", &[0; 2])).unwrap_err();
        assert!(matches!(error, DataError::WrongType { .. }), "{error}");
    }
}

#[test]
fn asking_for_another_type_names_both() {
    let array = NpyArray::parse("q", &file("<f4", false, "(1,)", &1f32.to_le_bytes())).unwrap();
    let text = array.as_i16().unwrap_err().to_string();
    assert!(text.contains("f4") && text.contains("i2"), "{text}");
    assert!(array.to_i64().is_err());
}

proptest! {
    #[test]
    fn any_byte_string_gives_an_array_or_an_error(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = NpyArray::parse("q", &tail);
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(tail);
        let _ = NpyArray::parse("q", &bytes);
    }

    #[test]
    fn any_change_or_cut_of_a_valid_file_is_safe(at in 0usize..80, value in any::<u8>(), cut in 0usize..90) {
        let mut bytes = file("<i2", true, "(2, 3)", &[0; 12]);
        if let Some(byte) = bytes.get_mut(at) { *byte = value; }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let _ = NpyArray::parse("q", &bytes);
    }

    #[test]
    fn transposing_matches_the_definition(rows in 1usize..6, columns in 1usize..6, depth in 1usize..4) {
        let shape = [rows, columns, depth];
        let count = rows * columns * depth;
        let data: Vec<u8> = (0..count as u8).collect();
        let text = format!("({rows}, {columns}, {depth})");
        let array = NpyArray::parse("a", &file("|u1", true, &text, &data)).unwrap();
        let Values::U8(values) = array.values else { unreachable!() };
        for i in 0..rows { for j in 0..columns { for k in 0..depth {
            prop_assert_eq!(
                usize::from(values[(i * shape[1] + j) * shape[2] + k]),
                i + rows * (j + columns * k)
            );
        } } }
    }
}
