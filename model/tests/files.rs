//! Model files: round trips, and every kind of damage.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod nets;

use std::collections::HashMap;

use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize};
use tributary_model::{
    Digest, MARKS_KEY, Marks, ModelError, ModelFile, ModelSpec, SPEC_KEY, initialise,
};

fn small_file() -> ModelFile {
    let spec = ModelSpec::perceptron("small", 3, &[2], 2);
    let weights = initialise(&spec.graph().unwrap(), [1; 32]);
    ModelFile { spec, weights }
}

#[test]
fn every_net_reads_back_to_the_bit_and_writes_the_same_bytes_again() {
    for graph in nets::every_net() {
        let weights = initialise(&graph, [8; 32]);
        let file = ModelFile {
            spec: graph.spec().clone(),
            weights,
        };
        let bytes = file.to_bytes().unwrap();
        assert_eq!(file.to_bytes().unwrap(), bytes);
        let read = ModelFile::from_verified_bytes(&bytes, &Digest::of(&bytes)).unwrap();
        assert_eq!(read.spec, file.spec);
        let bits = |weights: &[f32]| weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read.weights), bits(&file.weights));
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }
}

#[test]
fn every_truncation_is_a_typed_error() {
    let bytes = small_file().to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(
            matches!(
                ModelFile::from_bytes(&bytes[..length]),
                Err(ModelError::File(_))
            ),
            "{length} of {}",
            bytes.len()
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(
        ModelFile::from_bytes(&longer),
        Err(ModelError::File(_))
    ));
}

#[test]
fn every_changed_byte_is_refused_when_the_digest_is_known() {
    let bytes = small_file().to_bytes().unwrap();
    let digest = Digest::of(&bytes);
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x40;
        assert!(matches!(
            ModelFile::from_verified_bytes(&damaged, &digest),
            Err(ModelError::WrongDigest { .. })
        ));
        // without the digest it is an error or another model, never a panic or the same model
        if let Ok(read) = ModelFile::from_bytes(&damaged) {
            assert_ne!(read.to_bytes().unwrap(), bytes);
        }
    }
}

#[test]
fn a_file_with_a_weight_that_is_no_number_blames_the_file_and_no_learning_rate() {
    let mut bytes = small_file().to_bytes().unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let message = ModelFile::from_bytes(&bytes).unwrap_err().to_string();
    assert!(
        message.contains("model file") && !message.contains("learning rate"),
        "{message}"
    );
}

#[test]
fn values_that_are_not_finite_are_refused_in_both_directions() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut file = small_file();
        let bytes = file.to_bytes().unwrap();
        file.weights[4] = bad;
        assert!(matches!(
            file.to_bytes(),
            Err(ModelError::BrokenWeights { index: 4 })
        ));
        let mut damaged = bytes;
        let end = damaged.len();
        damaged[end - 4..].copy_from_slice(&bad.to_le_bytes());
        assert!(matches!(
            ModelFile::from_bytes(&damaged),
            Err(ModelError::BrokenWeights { .. })
        ));
    }
}

#[test]
fn weights_of_another_model_are_refused() {
    let mut file = small_file();
    file.weights.pop();
    assert!(matches!(
        file.to_bytes(),
        Err(ModelError::WrongLength {
            expected: 14,
            actual: 13,
            ..
        })
    ));
}

/// A file with the spec of a dense layer `[2] -> [2]` and the given tensors.
fn foreign(tensors: &[(&str, Dtype, Vec<usize>)], spec: Option<&str>) -> Vec<u8> {
    let data = [0; 64];
    let views = tensors.iter().map(|(name, dtype, shape)| {
        let len = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (
            *name,
            TensorView::new(*dtype, shape.clone(), &data[..len]).unwrap(),
        )
    });
    let metadata = spec.map(|spec| HashMap::from([(SPEC_KEY.to_owned(), spec.to_owned())]));
    serialize(views, metadata).unwrap()
}

#[test]
fn files_of_other_programs_are_refused_with_the_tensor_named() {
    let spec = ModelSpec::perceptron("d", 2, &[], 2)
        .to_canonical_json()
        .unwrap();
    let weight = ("0.dense.weight", Dtype::F32, vec![2, 2]);
    let bias = ("0.dense.bias", Dtype::F32, vec![2]);
    let read = |tensors: &[_], spec| ModelFile::from_bytes(&foreign(tensors, spec));
    assert!(read(&[weight.clone(), bias.clone()], Some(spec.as_str())).is_ok());
    assert!(matches!(
        read(&[weight.clone(), bias.clone()], None),
        Err(ModelError::NoSpec { .. })
    ));
    assert!(matches!(
        read(&[weight.clone(), bias.clone()], Some("{")),
        Err(ModelError::Spec(_))
    ));
    let no_layers = r#"{"name":"d","input":[2],"layers":[]}"#;
    assert!(matches!(
        read(&[weight.clone(), bias.clone()], Some(no_layers)),
        Err(ModelError::LayerCount { .. })
    ));
    let wrong = [
        vec![weight.clone()],
        vec![weight.clone(), bias.clone(), ("extra", Dtype::F32, vec![1])],
        vec![("0.dense.weight", Dtype::F32, vec![4]), bias.clone()],
        vec![("0.dense.weight", Dtype::F16, vec![2, 2]), bias],
    ];
    for tensors in wrong {
        let error = read(&tensors, Some(spec.as_str())).unwrap_err();
        assert!(matches!(error, ModelError::Tensor { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_a_model_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(ModelFile::from_bytes(&bytes).is_err());
        prop_assert!(Digest::of(&bytes).to_string().parse::<Digest>().is_ok());
    }

    #[test]
    fn a_header_of_any_text_is_a_model_or_an_error(header in "[{}\\[\\]\":,a-z_0-9.]{0,120}") {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        prop_assert!(ModelFile::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_file_with_any_changed_bytes_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = small_file().to_bytes().unwrap();
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Ok(read) = ModelFile::from_bytes(&bytes) {
            prop_assert!(read.to_bytes().is_ok());
        }
    }
}

#[test]
fn marks_are_in_the_file_are_read_back_and_change_nothing_else() {
    let file = small_file();
    let plain = file.to_bytes().unwrap();
    assert_eq!(ModelFile::marks_of(&plain).unwrap(), Marks::default());
    assert_eq!(file.to_marked_bytes(Marks::default()).unwrap(), plain);
    for set in 1..8_u8 {
        let [seeded, no_noise, restored] = [1, 2, 4].map(|mark| set & mark != 0);
        let marks = Marks {
            seeded,
            no_noise,
            restored,
        };
        let marked = file.to_marked_bytes(marks).unwrap();
        assert_eq!(marked, file.to_marked_bytes(marks).unwrap());
        assert_eq!(ModelFile::marks_of(&marked).unwrap(), marks);
        assert_eq!(ModelFile::from_bytes(&marked).unwrap(), file);
        assert_ne!(Digest::of(&marked), Digest::of(&plain));
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&marked).unwrap();
        let words = metadata.metadata().as_ref().unwrap()[MARKS_KEY].clone();
        assert_eq!(words, marks.names().join(", "));
    }
}

#[test]
fn a_mark_that_is_not_known_is_refused_by_name() {
    let spec = small_file().spec.to_canonical_json().unwrap();
    let data = [0u8; 4];
    let tensor = TensorView::new(Dtype::F32, vec![1], &data).unwrap();
    let metadata = [(SPEC_KEY, spec.as_str()), (MARKS_KEY, "SEEDED, SPOILT")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let bytes = serialize([("a", tensor)], Some(HashMap::from(metadata))).unwrap();
    let refused = ModelFile::marks_of(&bytes).unwrap_err();
    assert!(matches!(&refused, ModelError::UnknownMark { mark } if mark == "SPOILT"));
}
