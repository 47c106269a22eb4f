// What every byte string must satisfy; shared by the fuzz targets and `tests/any_bytes.rs`.

use tributary_aggregator::{Codec, FixedPoint, Partial};

/// Decodes `bytes` as an update of `dimension` values in the codec named `codec`. True when it was
/// accepted.
pub fn decode(codec: &str, dimension: usize, bytes: &[u8]) -> bool {
    let Ok(codec) = codec.parse::<Codec>() else {
        panic!("{codec} is a codec")
    };
    let mut values = vec![f32::NAN; dimension];
    let decoded = codec.decode_into(bytes, &mut values);
    if decoded.is_ok() {
        assert!(values.iter().all(|value| value.is_finite()));
        assert!(codec.check_length(bytes.len(), dimension).is_ok());
    }
    let Ok(grid) = FixedPoint::new(1.0, dimension) else {
        return false;
    };
    match grid.contribution(codec, bytes) {
        Ok(contribution) => {
            assert!(decoded.is_ok(), "accepted, but not decodable");
            let squares = contribution.values().iter().map(|&q| i64::from(q).pow(2));
            let squares: u128 = squares.map(|square| square as u128).sum();
            assert!(squares <= u128::from(grid.bound()).pow(2));
            true
        }
        Err(_) => false,
    }
}

/// As [`decode`], with the codec among `codecs` and the dimension (1 to 8,192) taken from the first
/// bytes.
pub fn decode_any(codecs: &[&str], data: &[u8]) -> bool {
    let Some((&[choice, low, high], bytes)) = data.split_first_chunk::<3>() else {
        return false;
    };
    let dimension = usize::from(u16::from_le_bytes([low, high]) % 8192) + 1;
    decode(codecs[usize::from(choice) % codecs.len()], dimension, bytes)
}

/// A name is a codec that is written the same way, or refused.
pub fn name(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(codec) = text.parse::<Codec>() else {
        return false;
    };
    assert_eq!(codec.to_string().parse(), Ok(codec));
    true
}

/// A stored partial is read and written back as the same sums, or refused.
pub fn partial(data: &[u8]) -> bool {
    let Ok(partial) = Partial::from_bytes(data) else {
        return false;
    };
    let Ok(again) = Partial::from_bytes(&partial.to_bytes()) else {
        panic!("what was written is read")
    };
    assert!(again == partial);
    true
}

pub const FLOATS: [&str; 3] = ["f32", "f16", "bf16"];
pub const LEVELS: [&str; 2] = ["int8", "int4"];
pub const SPARSE: [&str; 4] = ["topk:0.000001", "topk:0.01", "topk:0.5", "topk:1"];
pub const ROTATED: [&str; 5] = ["drive", "eden:1", "eden:2", "eden:3", "eden:4"];
pub const COMPRESSED: [&str; 8] = [
    "f32+zstd",
    "f16+zstd",
    "bf16+zstd",
    "int8+zstd",
    "int4+zstd",
    "topk:0.1+zstd",
    "drive+zstd",
    "eden:3+zstd",
];
