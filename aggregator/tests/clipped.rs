//! What a device clips, and what it noises itself, passes the exact check of the sum.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_aggregator::{Codec, FixedPoint};
use tributary_privacy::{LocalNoise, NoiseSource, clip_l2, l2_norm};

/// The codecs whose plain encoding never lengthens a vector.
const NEVER_LONGER: [Codec; 3] = [Codec::F32, Codec::F16, Codec::BF16];

#[test]
fn a_noised_update_fits_the_wire_clip_uncut_and_passes_the_coordinators_check() {
    for (d, z) in [(1, 0.01), (10, 1.0), (10_000, 0.5), (70_000, 8.0)] {
        let local = LocalNoise::new(2.0, d, z).unwrap();
        let mut values = vec![-1.0; d];
        clip_l2(&mut values, 2.0).unwrap();
        local
            .add(&mut values, &mut NoiseSource::seeded([4; 32]))
            .unwrap();
        let expected = 2.0 * (1.0 + z * ((d as f64).sqrt() + 7.0));
        assert!((f64::from(local.wire_clip()) / expected - 1.0).abs() < 1e-3);
        assert!(l2_norm(&values) < f64::from(local.wire_clip()));
        let grid = FixedPoint::new(local.wire_clip(), d).unwrap();
        let mut rounding = ChaCha20Rng::seed_from_u64(1);
        let bytes = Codec::F32.encode(&values, &mut rounding);
        assert!(grid.contribution(Codec::F32, &bytes).is_ok());
    }
}

proptest! {
    #[test]
    fn a_clipped_vector_is_always_accepted(
        seed in prop::collection::vec(-1.0f32..1.0, 1..2500),
        exponent in -20i32..60,
        clip in 1e-3f32..1e3,
    ) {
        let magnitude = f32::powi(2.0, exponent);
        let mut values: Vec<f32> = seed.iter().map(|v| v * magnitude).collect();
        clip_l2(&mut values, clip).unwrap();
        let fixed = FixedPoint::new(clip, values.len()).unwrap();
        for codec in NEVER_LONGER {
            let outcome = fixed.contribution(codec, &codec.encode(&values, &mut ChaCha20Rng::seed_from_u64(1)));
            prop_assert!(outcome.is_ok(), "{outcome:?}");
        }
    }

    #[test]
    fn constant_vectors_hit_the_worst_rounding_and_are_accepted(
        dimension in 1usize..5000,
        clip in 1e-3f32..1e3,
    ) {
        let mut values = vec![1e6f32; dimension];
        clip_l2(&mut values, clip).unwrap();
        let fixed = FixedPoint::new(clip, dimension).unwrap();
        for codec in NEVER_LONGER {
            prop_assert!(fixed.contribution(codec, &codec.encode(&values, &mut ChaCha20Rng::seed_from_u64(1))).is_ok());
        }
    }
}
