//! Builds as bytes: round trip, damage, the documented format, self-test and fit.

use proptest::prelude::*;
use tributary_model::bundle::BundleError;
use tributary_model::fit::{DeviceMemory, FitError, fits};
use tributary_model::quant::{Int8Model, Int8Scratch};

use crate::fixtures::{ALL, CONVOLUTION, PERCEPTRON, trained};

/// Replaces the checksum, so that only deeper checks can notice a change.
fn reseal(bytes: &mut [u8]) {
    let end = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn bundle_round_trip_keeps_every_output_bit() {
    for (number, spec) in ALL.into_iter().enumerate() {
        let model = trained(spec, number as u8);
        let int8 = model.int8();
        let bytes = int8.to_bytes();
        let again = Int8Model::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes(), bytes);
        assert_eq!(again.flash_bytes(), bytes.len());
        assert_eq!((again.name(), again.arena()), (int8.name(), int8.arena()));
        again.verify_self_test(&mut Int8Scratch::default()).unwrap();
        let (mut one, mut two) = (Int8Scratch::default(), Int8Scratch::default());
        for input in model.inputs.chunks_exact(model.graph.features()).take(200) {
            assert_eq!(
                int8.predict(input, &mut one).unwrap(),
                again.predict(input, &mut two).unwrap()
            );
        }
    }
}

/// A model of one dense layer from two inputs to two classes, byte by byte as documented.
fn documented_bundle() -> Vec<u8> {
    let mut bytes = b"TRBM".to_vec();
    bytes.extend([1, 0]); // version
    bytes.extend([1, 0]); // one step, no vectors
    bytes.extend(64_u32.to_le_bytes());
    bytes.extend(*b"\x04tiny");
    bytes.push(1);
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend(0.1_f32.to_le_bytes());
    bytes.push(0x80); // zero point -128
    bytes.push(1); // dense
    bytes.extend(2_u32.to_le_bytes());
    bytes.push(0);
    bytes.extend(0.5_f32.to_le_bytes());
    bytes.push(0);
    bytes.extend([1000_i32, 0].into_iter().flat_map(i32::to_le_bytes));
    // 0.002 = 1.024 * 2^-9 = 0.512 * 2^-8, and 0.512 * 2^31 = 1099511627.776
    bytes.extend(
        [1_099_511_628_i32; 2]
            .into_iter()
            .flat_map(i32::to_le_bytes),
    );
    bytes.extend([-8_i8, -8].map(|exponent| exponent as u8));
    bytes.extend([127_i8, -64, -127, 0].map(|weight| weight as u8));
    bytes.extend([0; 4]);
    reseal(&mut bytes);
    bytes
}

#[test]
fn documented_bytes_are_read_and_compute_the_hand_worked_scores() {
    let bytes = documented_bundle();
    let model = Int8Model::from_bytes(&bytes).unwrap();
    assert_eq!(model.to_bytes(), bytes);
    let mut scratch = Int8Scratch::default();
    // 1000 + 20 * 127 - 10 * 64 = 2900 and -20 * 127 = -2540, times 0.002.
    let prediction = model.predict(&[2.0, 1.0], &mut scratch).unwrap();
    assert_eq!((prediction.scores, prediction.class), (&[6, -5][..], 0));
    assert_eq!(model.logits(&[6, -5]), [3.0, -2.5]);
}

#[test]
fn values_out_of_range_are_refused_even_with_a_good_checksum() {
    let field = |what| BundleError::Field { what };
    let cases: [(usize, u8, BundleError); 9] = [
        (0, b'X', BundleError::Magic),
        (
            4,
            2,
            BundleError::Version {
                found: 2,
                supported: 1,
            },
        ),
        (17, 3, field("input shape")),    // dimensions
        (21, 0xff, field("input shape")), // first size: 4 Gi
        (25, 0xff, field("input scale")), // sign bit of the scale
        (27, 99, BundleError::UnknownStep { code: 99 }),
        (32, 2, field("relu")),
        (55, 32, field("output factor")), // exponent of the second channel
        (59, 0x80, field("weight")),      // -128
    ];
    for (at, value, expected) in cases {
        let mut bytes = documented_bundle();
        bytes[at] = value;
        reseal(&mut bytes);
        assert_eq!(
            Int8Model::from_bytes(&bytes).unwrap_err(),
            expected,
            "byte {at}"
        );
    }
}

#[test]
fn sums_that_could_overflow_are_refused_even_with_a_good_checksum() {
    let mut bytes = documented_bundle();
    bytes[38..42].copy_from_slice(&i32::MIN.to_le_bytes()); // first bias
    reseal(&mut bytes);
    let expected = BundleError::Field {
        what: "sum of weights",
    };
    assert_eq!(Int8Model::from_bytes(&bytes).unwrap_err(), expected);
}

#[test]
fn truncated_and_extended_bundles_are_refused() {
    let bytes = trained(PERCEPTRON, 0).int8().to_bytes();
    for length in 0..bytes.len() {
        assert!(
            Int8Model::from_bytes(&bytes[..length]).is_err(),
            "{length} bytes"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(
        Int8Model::from_bytes(&longer),
        Err(BundleError::Length { .. })
    ));
}

#[test]
fn every_single_byte_change_is_refused() {
    let bytes = documented_bundle();
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[at] = value;
            assert_eq!(
                Int8Model::from_bytes(&changed).is_ok(),
                changed == bytes,
                "byte {at}"
            );
        }
    }
}

#[test]
fn self_test_detects_flipped_weights() {
    // The dense weights of the last layer end where the self-test vectors begin.
    let model = trained(CONVOLUTION, 1);
    let bytes = model.int8().to_bytes();
    let classes = model.graph.classes();
    let vectors = usize::from(bytes[7]);
    let end = bytes.len() - 4 - vectors * (8 + classes);
    let mut scratch = Int8Scratch::default();
    let flipped: Vec<bool> = (end - 200..end)
        .map(|at| {
            let mut damaged = bytes.clone();
            // Bit 6 is worth half of the largest weight and never makes -128 of -127..=127 but for
            // one value, which the reader refuses.
            damaged[at] ^= 0x40;
            reseal(&mut damaged);
            match Int8Model::from_bytes(&damaged) {
                Ok(damaged) => damaged.verify_self_test(&mut scratch).is_err(),
                Err(error) => error == BundleError::Field { what: "weight" },
            }
        })
        .collect();
    let detected = flipped.iter().filter(|&&detected| detected).count();
    // Weights on inputs that a ReLU keeps at zero in all vectors change nothing.
    assert!(detected >= 180, "{detected} of 200");
}

#[test]
fn self_test_detects_a_changed_expectation() {
    let mut bytes = trained(PERCEPTRON, 0).int8().to_bytes();
    let vector = usize::from(bytes[7]) - 1;
    let last_score = bytes.len() - 5;
    bytes[last_score] ^= 1;
    reseal(&mut bytes);
    let model = Int8Model::from_bytes(&bytes).unwrap();
    let result = model.verify_self_test(&mut Int8Scratch::default());
    assert_eq!(result, Err(BundleError::SelfTest { vector }));
}

#[test]
fn fit_is_decided_to_the_byte_and_names_the_memory() {
    let model = trained(CONVOLUTION, 1).int8();
    let (arena, flash) = (model.arena().bytes, model.flash_bytes());
    assert_eq!(fits(&model, arena, flash), Ok(()));
    let what = DeviceMemory::Ram;
    let error = FitError {
        what,
        needed: arena,
        available: arena - 1,
    };
    assert_eq!(fits(&model, arena - 1, flash), Err(error));
    let what = DeviceMemory::FlashSlot;
    let error = FitError {
        what,
        needed: flash,
        available: flash - 1,
    };
    assert_eq!(fits(&model, arena, flash - 1), Err(error));
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_are_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(Int8Model::from_bytes(&bytes).is_err());
    }

    #[test]
    fn random_contents_under_a_good_header_and_checksum_never_panic(
        steps in 0_u8..6,
        vectors in 0_u8..3,
        contents in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(2), any::<u8>()], 4..200),
    ) {
        let mut bytes = b"TRBM\x01\x00".to_vec();
        bytes.extend([steps, vectors]);
        bytes.extend((12 + contents.len() as u32).to_le_bytes());
        bytes.extend(&contents);
        reseal(&mut bytes);
        if let Ok(model) = Int8Model::from_bytes(&bytes) {
            prop_assert_eq!(model.to_bytes(), bytes);
        }
    }

    #[test]
    fn resealed_damage_never_panics_in_reading_or_inference(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = documented_bundle();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        reseal(&mut bytes);
        if let Ok(model) = Int8Model::from_bytes(&bytes) {
            prop_assert_eq!(model.to_bytes(), bytes);
            let mut scratch = Int8Scratch::default();
            if model.arena().bytes < 1 << 20 {
                let input = vec![-128; model.features()];
                model.predict_quantised(&input, &mut scratch).unwrap();
            }
        }
    }
}
