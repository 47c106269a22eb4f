//! The Lloyd-Max quantiser of the standard normal distribution (Max 1960, table I; Lloyd 1982).
//!
//! Every centroid is the mean of the distribution within its cell, and the cells end half way
//! between two centroids. The distribution is symmetric, so only the positive half is listed.

use super::scheme::EdenBits;

/// The most centroids above zero.
pub(super) const HALF_MOST: usize = 8;

const ONE_BIT: [f32; 1] = [0.797_884_6];
const TWO_BITS: [f32; 2] = [0.452_780_04, 1.510_417_6];
const THREE_BITS: [f32; 4] = [0.245_094_18, 0.756_005_3, 1.343_909_3, 2.151_945_7];
const FOUR_BITS: [f32; 8] = [
    0.128_395_03,
    0.388_048_3,
    0.656_759_1,
    0.942_340_44,
    1.256_231_2,
    1.618_046_4,
    2.069_017_2,
    2.732_589_6,
];

/// The centroids above zero, rising.
pub(super) fn upper_half(bits: EdenBits) -> &'static [f32] {
    match bits.get() {
        1 => &ONE_BIT,
        2 => &TWO_BITS,
        3 => &THREE_BITS,
        _ => &FOUR_BITS,
    }
}

#[cfg(test)]
mod tests {
    use statrs::function::erf::erfc;

    use super::*;

    fn density(x: f64) -> f64 {
        (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    fn upper_tail(x: f64) -> f64 {
        erfc(x / 2f64.sqrt()) / 2.0
    }

    #[test]
    fn every_centroid_is_the_mean_of_its_cell() {
        // distortions: Max 1960, table I
        let distortions = [0.3634, 0.1175, 0.03454, 0.009497];
        for (bits, distortion) in (1..=4).zip(distortions) {
            let upper = upper_half(EdenBits::new(bits).unwrap());
            assert_eq!(2 * upper.len(), 1 << bits);
            let mut energy = 0.0;
            for (place, &centroid) in upper.iter().enumerate() {
                let centre = f64::from(centroid);
                let low = match place {
                    0 => 0.0,
                    _ => (f64::from(upper[place - 1]) + centre) / 2.0,
                };
                let high = match upper.get(place + 1) {
                    Some(&next) => (f64::from(next) + centre) / 2.0,
                    None => f64::INFINITY,
                };
                let share = upper_tail(low) - upper_tail(high);
                let mean = (density(low) - density(high)) / share;
                assert!((mean - centre).abs() < 2e-6, "{bits} {place} {mean}");
                energy += 2.0 * share * centre * centre;
            }
            // for centroids that are means of their cells, distortion is 1 - E c^2
            assert!((1.0 - energy - distortion).abs() < 5e-5, "{bits} {energy}");
        }
    }
}
