//! What is wrong with an encoded update, said by name on the device.
//!
//! In a run with privacy the coordinator tells nobody what it found inside an update, its sender least of
//! all: whether a device's training gave something finite is a fact about its data. Who writes a device in
//! another language checks its encoder here.

use tributary_aggregator::{Codec, FixedPoint, UpdateError};

/// What a valid update decodes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckedUpdate {
    /// Bytes of the update.
    pub bytes: usize,
    /// Its values.
    pub values: usize,
    /// Values that are not zero on the grid that sums are made on.
    pub nonzero: usize,
    /// L2 norm on that grid, in the units of the model's parameters.
    pub norm: f64,
}

/// Checks an encoded payload of `values` values as the coordinator does: length, encoding, finiteness, and
/// the exact norm against `clip` (under local noise the plan's `wire_clip`).
///
/// # Errors
/// The first thing that is wrong. In a run with privacy only a wrong length is refused by the coordinator;
/// everything else is summed as zeros.
pub fn check_update(
    codec: Codec,
    clip: f32,
    values: usize,
    bytes: &[u8],
) -> Result<CheckedUpdate, UpdateError> {
    let grid = FixedPoint::new(clip, values)?;
    let contribution = grid.contribution(codec, bytes)?;
    let integers = contribution.values();
    let squares: f64 = integers.iter().map(|value| f64::from(*value).powi(2)).sum();
    Ok(CheckedUpdate {
        bytes: bytes.len(),
        values,
        nonzero: integers.iter().filter(|value| **value != 0).count(),
        norm: squares.sqrt() * grid.step(),
    })
}

#[cfg(test)]
mod tests {
    use tributary_privacy::VectorError;

    use super::*;

    fn encoded(values: [f32; 3]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn each_mistake_of_an_encoder_is_named_and_a_valid_update_is_measured() {
        let check = |bytes: &[u8]| check_update(Codec::F32, 1.0, 3, bytes);
        let good = check(&encoded([0.3, 0.0, -0.4])).unwrap();
        assert_eq!((good.bytes, good.values, good.nonzero), (12, 3, 2));
        assert!((good.norm - 0.5).abs() < 1e-6, "{good:?}");
        assert_eq!(check(&encoded([0.0; 3])).unwrap().nonzero, 0);
        let nan = check(&encoded([0.0, f32::NAN, 0.0]));
        assert_eq!(nan, Err(VectorError::NotFinite { index: 1 }.into()));
        let long = check(&encoded([1.0, 1.0, 0.0]));
        assert!(matches!(
            long,
            Err(UpdateError::Vector(VectorError::NormTooLarge { .. }))
        ));
        assert!(matches!(
            check(&[0; 11]),
            Err(UpdateError::WrongLength { .. })
        ));
        assert!(matches!(
            check_update("topk:1".parse().unwrap(), 1.0, 3, &[9, 0, 0, 0, 1, 0, 0]),
            Err(UpdateError::Malformed { .. })
        ));
    }
}
