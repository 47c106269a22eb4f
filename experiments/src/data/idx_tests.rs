//! Tests of the IDX reader.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape
        .iter()
        .for_each(|axis| bytes.extend(axis.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Two training images and one test image of 2 x 2 pixels, training images as gzip.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write(
        "train-images-idx3-ubyte.gz",
        &gzip(&idx(&[2, 2, 2], &[0, 255, 51, 0, 1, 2, 3, 4])),
    );
    write("train-labels-idx1-ubyte", &idx(&[2], &[0, 4]));
    write("t10k-images.idx3-ubyte", &idx(&[1, 2, 2], &[9, 9, 9, 9]));
    write("t10k-labels-idx1-ubyte.gz", &gzip(&idx(&[1], &[4])));
    folder
}

#[test]
fn plain_and_gzip_files_give_one_data_set() {
    let folder = folder();
    let dataset = load(folder.path(), "mnist").unwrap();
    assert_eq!((dataset.shape.as_slice(), dataset.classes), (&[4][..], 5));
    assert_eq!(dataset.train.inputs[..4], [0.0, 1.0, 0.2, 0.0]);
    assert_eq!(
        (dataset.train.labels, dataset.test.labels),
        (vec![0, 4], vec![4])
    );
}

#[test]
fn files_without_an_image_or_a_pixel_are_refused_for_what_they_are() {
    for (part, images, labels) in [
        ("train", idx(&[0, 2, 2], &[]), idx(&[0], &[])),
        ("t10k", idx(&[0, 2, 2], &[]), idx(&[0], &[])),
        ("train", idx(&[2, 0, 2], &[]), idx(&[2], &[0, 4])),
        ("train", idx(&[2, 2, 0], &[]), idx(&[2], &[0, 4])),
    ] {
        let folder = folder();
        let path = |kind: &str| folder.path().join(format!("{part}-{kind}-ubyte"));
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with(part) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        fs::write(path("images-idx3"), images).unwrap();
        fs::write(path("labels-idx1"), labels).unwrap();
        let text = load(folder.path(), "mnist").unwrap_err().to_string();
        let named = format!("({part} images)");
        assert!(
            text.contains(&named) && text.contains("at least one image of at least one pixel"),
            "{text}"
        );
    }
}

#[test]
fn a_missing_file_is_named_with_the_names_tried() {
    let folder = folder();
    fs::remove_file(folder.path().join("t10k-images.idx3-ubyte")).unwrap();
    let text = load(folder.path(), "mnist").unwrap_err().to_string();
    assert!(text.contains("t10k-images-idx3-ubyte"), "{text}");
}

#[test]
fn labels_that_do_not_match_the_images_are_refused() {
    let folder = folder();
    let path = folder.path().join("train-labels-idx1-ubyte");
    fs::write(&path, idx(&[3], &[0, 1, 2])).unwrap();
    assert!(matches!(
        load(folder.path(), "mnist"),
        Err(DataError::WrongShape { .. })
    ));
    fs::write(&path, idx(&[2], &[0, 1])).unwrap();
    let error = load(folder.path(), "mnist").unwrap_err();
    assert!(
        matches!(error, DataError::OutOfRange { .. }),
        "test label 4 was never trained: {error}"
    );
}

#[test]
fn truncated_gzip_and_truncated_data_are_typed_errors() {
    let folder = folder();
    let path = folder.path().join("train-images-idx3-ubyte.gz");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    assert!(matches!(
        load(folder.path(), "mnist"),
        Err(DataError::Foreign { .. })
    ));
    let error = IdxArray::parse("x", &idx(&[2, 2, 2], &[0; 7])).unwrap_err();
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
fn a_wrong_magic_or_element_type_is_refused() {
    assert!(matches!(
        IdxArray::parse("x", b"\x93NUMPY"),
        Err(DataError::Foreign { .. })
    ));
    assert!(matches!(
        IdxArray::parse("x", &[0, 0, 8]),
        Err(DataError::Foreign { .. })
    ));
    assert!(matches!(
        IdxArray::parse("x", &[0, 0, 8, 3, 0]),
        Err(DataError::Foreign { .. })
    ));
    assert!(matches!(
        IdxArray::parse("x", &[0, 0, 0x0d, 1]),
        Err(DataError::WrongType { .. })
    ));
}

#[test]
fn a_shape_that_overflows_is_refused() {
    let bytes = idx(&[u32::MAX, u32::MAX, u32::MAX], &[]);
    assert!(matches!(
        IdxArray::parse("x", &bytes),
        Err(DataError::WrongLength { .. })
    ));
}

proptest! {
    #[test]
    fn any_byte_string_gives_an_array_or_an_error(tail in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = IdxArray::parse("x", &tail);
        let mut bytes = vec![0, 0, 8];
        bytes.extend(tail);
        let _ = IdxArray::parse("x", &bytes);
    }
}
