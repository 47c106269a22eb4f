//! From a device's vector to the vector that the server works with, or a refusal.

use rand_chacha::ChaCha20Rng;
use tributary_aggregator::{Codec, FixedPoint, UpdateError};

/// The codec and the exact check of an update, as a coordinator applies them.
pub(super) struct Door {
    codec: Codec,
    grid: FixedPoint,
}

impl Door {
    pub(super) fn new(codec: Codec, clip: f32, dimension: usize) -> Result<Self, UpdateError> {
        let grid = FixedPoint::new(clip, dimension)?;
        Ok(Self { codec, grid })
    }

    /// A vector that its device has clipped before encoding it, as every device does that wants to
    /// be counted.
    pub(super) fn clipped(
        &self,
        vector: &[f32],
        rounding: &mut ChaCha20Rng,
    ) -> Result<Vec<f32>, UpdateError> {
        let bytes = self
            .codec
            .encode_clipped(vector, self.grid.clip(), rounding)?;
        self.admit(&bytes)
    }

    /// A vector that is sent as it is.
    pub(super) fn raw(
        &self,
        vector: &[f32],
        rounding: &mut ChaCha20Rng,
    ) -> Result<Vec<f32>, UpdateError> {
        self.admit(&self.codec.encode(vector, rounding))
    }

    fn admit(&self, bytes: &[u8]) -> Result<Vec<f32>, UpdateError> {
        self.grid.contribution(self.codec, bytes)?;
        let mut vector = vec![0.0; self.grid.dimension()];
        self.codec.decode_into(bytes, &mut vector)?;
        Ok(vector)
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn what_is_not_finite_or_too_long_does_not_pass() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let codec: Codec = "f32".parse().unwrap();
        let door = Door::new(codec, 2.0, 2).unwrap();
        assert_eq!(door.raw(&[1.0, -1.0], &mut rng).unwrap(), [1.0, -1.0]);
        for bad in [f32::NAN, f32::INFINITY, 1e30] {
            assert!(door.raw(&[bad, 1.0], &mut rng).is_err(), "{bad}");
        }
        let clipped = door.clipped(&[30.0, 40.0], &mut rng).unwrap();
        assert!((clipped[0] - 1.2).abs() < 1e-5 && (clipped[1] - 1.6).abs() < 1e-5);
    }
}
