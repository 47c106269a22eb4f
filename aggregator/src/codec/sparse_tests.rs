//! Top-k: what is chosen, and what the decoder refuses.

use proptest::prelude::*;

use super::*;

fn codec(millionths: u32) -> Codec {
    Codec::Plain(super::super::Scheme::TopK(Share::new(millionths).unwrap()))
}

fn decode(bytes: &[u8], dimension: usize) -> Result<Vec<f32>, UpdateError> {
    let mut values = vec![7.0; dimension];
    let share = Share::new(500_000).unwrap();
    let codec = codec(500_000);
    codec.check_length(bytes.len(), dimension)?;
    decode_into(codec, share, bytes, &mut values)?;
    Ok(values)
}

/// Count, positions, and as many values of 1.
fn message(count: u32, positions: &[u8]) -> Vec<u8> {
    let mut bytes = count.to_le_bytes().to_vec();
    bytes.extend_from_slice(positions);
    for _ in 0..count {
        bytes.extend_from_slice(&[0x00, 0x3c]);
    }
    bytes
}

fn reason(bytes: &[u8]) -> &'static str {
    match decode(bytes, 300) {
        Err(UpdateError::Malformed { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn positions_that_rise_within_the_vector_are_accepted() {
    let values = decode(&message(3, &[1, 1, 0xaa, 0x02]), 300).unwrap();
    assert_eq!(values.iter().sum::<f32>(), 3.0);
    assert_eq!((values[0], values[1], values[299]), (1.0, 1.0, 1.0));
}

#[test]
fn every_fault_of_a_message_is_named() {
    let counts = "the count is zero or above the plan's share";
    assert_eq!(reason(&message(0, &[1, 1, 1])), counts);
    assert_eq!(reason(&message(151, &[1; 151])[..456]), counts);
    assert_eq!(reason(&[&[255; 4], &[1u8; 90][..]].concat()), counts);
    assert_eq!(reason(&message(2, &[5, 0])), "a position is repeated");
    assert_eq!(reason(&message(1, &[0])), "a position is repeated");
    let beyond = "a position is beyond the last parameter";
    // 301 is one past the last of 300; so is 300 and then 1
    assert_eq!(reason(&message(1, &[0xad, 0x02])), beyond);
    assert_eq!(reason(&message(2, &[0xac, 0x02, 1])), beyond);
    // a distance that would wrap around in 32 bits is no way back
    assert_eq!(
        reason(&message(2, &[5, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        beyond
    );
    let long = [0xff, 0xff, 0xff, 0xff, 0x1f];
    assert_eq!(reason(&message(1, &long)), "a position is beyond 32 bits");
    assert_eq!(
        reason(&message(1, &[0x81, 0x00])),
        "a position has needless bytes"
    );
    assert_eq!(reason(&message(2, &[5, 0x81])), "a position is cut short");
    assert_eq!(
        reason(&message(1, &[5, 5])),
        "the length does not match the count"
    );
    let cut = &message(9, &[1; 9])[..24];
    assert_eq!(reason(cut), "a position is cut short");
    assert_eq!(reason(&message(9, &[])[..10]), "the values are cut short");
}

#[test]
fn a_value_that_is_not_finite_is_refused_with_its_position() {
    for half in [[0x00, 0x7c], [0x00, 0xfc], [0x01, 0x7e]] {
        let mut bytes = message(2, &[5, 6]);
        bytes.truncate(bytes.len() - 2);
        bytes.extend_from_slice(&half);
        assert_eq!(
            decode(&bytes, 300),
            Err(VectorError::NotFinite { index: 10 }.into())
        );
    }
}

#[test]
fn of_equal_magnitudes_the_first_are_sent() {
    let share = Share::new(500_000).unwrap();
    let mut bytes = Vec::new();
    encode(share, &[1.0, -1.0, 2.0, 1.0, -1.0, 0.0], &mut bytes);
    assert_eq!(decode(&bytes, 6).unwrap(), [1.0, -1.0, 2.0, 0.0, 0.0, 0.0]);
}

#[test]
fn the_count_is_the_rounded_share_and_at_least_one() {
    let count = |millionths, dimension| Share::new(millionths).unwrap().count(dimension);
    assert_eq!(count(10_000, 1_000_000), 10_000);
    assert_eq!(count(10_000, 149), 1);
    assert_eq!(count(10_000, 150), 2);
    assert_eq!(count(1, 3), 1);
    assert_eq!(count(1_000_000, 77), 77);
    assert_eq!(count(1_000_000, usize::MAX), usize::MAX);
    assert_eq!(count(500_000, 0), 0);
}

proptest! {
    #[test]
    fn exactly_the_largest_values_are_sent(
        values in prop::collection::vec(-8i8..8, 1..400),
        millionths in 1u32..=1_000_000,
    ) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        let share = Share::new(millionths).unwrap();
        let mut bytes = Vec::new();
        encode(share, &values, &mut bytes);
        let mut sent = vec![7.0; values.len()];
        decode_into(codec(millionths), share, &bytes, &mut sent).unwrap();
        // a slow choice: sort places by magnitude, equal ones by place
        let mut places: Vec<usize> = (0..values.len()).collect();
        places.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()).then(a.cmp(&b)));
        let mut expected = vec![0.0; values.len()];
        for &place in &places[..share.count(values.len())] {
            expected[place] = values[place];
        }
        prop_assert_eq!(sent, expected);
    }

    #[test]
    fn the_longest_length_is_long_enough_for_any_positions(
        gaps in prop::collection::vec(1usize..40_000, 1..60),
    ) {
        let dimension: usize = gaps.iter().sum();
        let mut values = vec![0.0; dimension];
        let mut place = 0;
        for gap in &gaps {
            place += gap;
            values[place - 1] = 1.0;
        }
        let millionths = (gaps.len() as f64 / dimension as f64 * 1e6) as u32;
        let share = Share::new(millionths.clamp(1, 1_000_000)).unwrap();
        let mut bytes = Vec::new();
        encode(share, &values, &mut bytes);
        prop_assert!(encoded_len_range(share, dimension).contains(&bytes.len()));
    }
}
