//! A clip that follows a quantile of the update norms (Andrew, Thakkar, McMahan, Ramaswamy,
//! "Differentially Private Learning with Adaptive Clipping", 2021, algorithm 1).
//!
//! Every device votes: +1 when its update was within the clip C before clipping, -1 when not, and 0
//! when there is no update to measure: a vote that stands for nothing keeps one device's influence at
//! 1, where a vote that was filled in would make it 2 and the cost fourfold. The sum
//! of votes is noised and gives an estimate b of the fraction within; the clip moves by
//! C <- C exp(-eta (b - gamma)). The sign matters: too many within (b above gamma) means that the clip
//! is too large, and it must shrink. Counting the clipped updates instead without turning the sign
//! drives the clip to zero or to infinity; a test below shows it.
//!
//! In the terms of the paper a vote is 2 (b_i - 1/2), so noise of 2 sigma_b on the sum of votes is
//! its sigma_b on the sum of b_i - 1/2, and one device changes the sum of votes by 1.

use crate::noise::{DiscreteGaussian, NoiseError, NoiseSource};
use crate::rho::Rho;

/// The clip stays within these bounds wherever the votes push it.
const CLIPS: (f64, f64) = (1e-6, 1e6);

/// Why a clip can't be adapted as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AdaptiveClipError {
    /// The quantile is not strictly between 0 and 1.
    #[error(
        "privacy.adaptive_clip.quantile is {value}; it must lie strictly between 0 and 1, 0.5 for \
         the median norm"
    )]
    BadQuantile {
        /// The refused value.
        value: f64,
    },
    /// The learning rate is not usable.
    #[error(
        "privacy.adaptive_clip.learning_rate is {value}; it must be above 0 and at most 10, 0.2 is \
         usual"
    )]
    BadLearningRate {
        /// The refused value.
        value: f64,
    },
    /// The noise on the votes is outside the sampler's range, or so small that it hides nothing.
    #[error(
        "privacy.adaptive_clip.count_noise is {value}; it must be at least 0.001 and at most 2^39, a \
         twentieth of the cohort is usual"
    )]
    BadCountNoise {
        /// The refused value.
        value: f64,
    },
    /// The noise multiplier that is to be split is not a positive number.
    #[error("privacy.noise_multiplier is {value}; it must be a finite number above 0")]
    BadNoiseMultiplier {
        /// The refused value.
        value: f64,
    },
    /// The votes alone would cost the whole budget of the round or more.
    #[error(
        "privacy.adaptive_clip.count_noise is {count_noise}, so the votes alone cost as much as \
         noise multiplier {noise_multiplier} allows for the whole round; a count_noise above \
         {least} would do, and {advised:.4} leaves the update nearly all of the budget"
    )]
    CountNoiseTooSmall {
        /// The configured sigma_b.
        count_noise: f64,
        /// The noise multiplier z of the round.
        noise_multiplier: f64,
        /// z / 2: what count_noise must exceed.
        least: f64,
        /// 5 z / 2: the update's noise then grows by 2 %.
        advised: f64,
    },
}

/// The law that moves a clip, and the noise of its votes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveClip {
    quantile: f64,
    learning_rate: f64,
    count_noise: f64,
    vote_noise: DiscreteGaussian,
    vote_rho: Rho,
}

impl AdaptiveClip {
    /// A clip that moves towards the `quantile` (gamma, in (0, 1)) of the norms with steps of
    /// `learning_rate` (eta, in (0, 10]) in its logarithm. `count_noise` is sigma_b: the standard
    /// deviation, in devices, of the noise on the number of updates within the clip, from 0.001 to
    /// 2^39.
    ///
    /// # Errors
    /// [`AdaptiveClipError`] names the key of the recipe.
    pub fn new(
        quantile: f64,
        learning_rate: f64,
        count_noise: f64,
    ) -> Result<Self, AdaptiveClipError> {
        // each check is written so that NaN fails
        if !(quantile > 0.0 && quantile < 1.0) {
            return Err(AdaptiveClipError::BadQuantile { value: quantile });
        }
        if !(learning_rate > 0.0 && learning_rate <= 10.0) {
            let value = learning_rate;
            return Err(AdaptiveClipError::BadLearningRate { value });
        }
        let refused = AdaptiveClipError::BadCountNoise { value: count_noise };
        if !(1e-3..=1e12).contains(&count_noise) {
            return Err(refused);
        }
        let noise = DiscreteGaussian::at_least(2.0 * count_noise)
            .map_err(|_: NoiseError| refused.clone())?;
        let vote_rho = noise.rho(1).map_err(|_| refused)?;
        Ok(Self {
            quantile,
            learning_rate,
            count_noise,
            vote_noise: noise,
            vote_rho,
        })
    }

    /// The noise multiplier that is left for the update when both releases of a round together may
    /// cost what noise multiplier z costs alone: z_Delta = (z^-2 - (2 sigma_b)^-2)^(-1/2), which is
    /// above z (Andrew et al. 2021, theorem 1).
    ///
    /// The noise on the votes is rounded up from 2 sigma_b, so the two charges together are at most
    /// 1 / (2 z^2) up to the rounding of z_Delta itself.
    ///
    /// # Errors
    /// [`AdaptiveClipError::CountNoiseTooSmall`] for z >= 2 sigma_b, where no noise on the update
    /// would do; [`AdaptiveClipError::BadNoiseMultiplier`] unless z is finite and above 0.
    pub fn split(&self, noise_multiplier: f64) -> Result<f64, AdaptiveClipError> {
        let z = noise_multiplier;
        if !(z > 0.0 && z.is_finite()) {
            return Err(AdaptiveClipError::BadNoiseMultiplier { value: z });
        }
        let votes = 2.0 * self.count_noise;
        if z >= votes {
            return Err(AdaptiveClipError::CountNoiseTooSmall {
                count_noise: self.count_noise,
                noise_multiplier: z,
                least: z / 2.0,
                advised: 2.5 * z,
            });
        }
        // z / sqrt(1 - (z / 2 sigma_b)^2), factored so that nothing cancels
        let share = z / votes;
        Ok(z / ((1.0 - share) * (1.0 + share)).sqrt())
    }

    /// The noise on the sum of votes: 2 sigma_b, rounded up to a scale that is sampled exactly.
    pub fn vote_noise(&self) -> DiscreteGaussian {
        self.vote_noise
    }

    /// What one participation in a vote costs: 1 / (2 (2 sigma_b)^2), rounded up. One device changes
    /// the sum by at most 1, whichever way it votes, against not being there or having nothing to say.
    pub fn vote_rho(&self) -> Rho {
        self.vote_rho
    }

    /// The noised fraction of updates within the clip, where every device voted; see
    /// [`AdaptiveClip::fraction_of_votes`]. `within` of `contributions` votes were +1, the others -1.
    pub fn fraction_within(
        &self,
        within: u64,
        contributions: u64,
        cohort: u32,
        source: &mut NoiseSource,
    ) -> f64 {
        // 2 within - contributions, each vote worth at most one
        let within = i128::from(within.min(contributions));
        let votes = 2 * within - i128::from(contributions);
        self.fraction_of_votes(votes, cohort, source)
    }

    /// The noised fraction of updates within the clip: (votes + noise) / (2 cohort) + 1/2.
    ///
    /// `votes` is the sum of +1 for every update within, -1 for every other and 0 for a device that has
    /// nothing to say. `cohort` is the planned number of contributions, fixed before the round, because
    /// the number that came is private; votes that are missing pull the estimate towards 1/2. The result
    /// may leave [0, 1]: clamping it would bias the clip. A cohort of 0 counts as 1.
    pub fn fraction_of_votes(&self, votes: i128, cohort: u32, source: &mut NoiseSource) -> f64 {
        let noise = source.with_stream(|rng| self.vote_noise.sample(rng));
        let noised = votes + i128::from(noise);
        noised as f64 / (2.0 * f64::from(cohort.max(1))) + 0.5
    }

    /// The next round's clip: C exp(-eta (b - gamma)) for a `fraction` b within, kept in
    /// [10^-6, 10^6]. A fraction that is not a number leaves the clip where it is.
    pub fn next(&self, clip: f32, fraction: f64) -> f32 {
        let step = -self.learning_rate * (fraction - self.quantile);
        let factor = if step.is_nan() { 1.0 } else { step.exp() };
        (f64::from(clip) * factor).clamp(CLIPS.0, CLIPS.1) as f32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COHORT: u32 = 1_000;

    /// A thousand norms, evenly spread over [0.5, 1.5].
    fn norms() -> impl Iterator<Item = f64> {
        (0..COHORT).map(|index| 0.5 + f64::from(index) / f64::from(COHORT - 1))
    }

    fn within(clip: f32) -> u64 {
        norms().filter(|&norm| norm <= f64::from(clip)).count() as u64
    }

    /// The clip after each of `rounds` rounds of noised votes.
    fn trajectory(law: &AdaptiveClip, start: f32, rounds: usize, seed: u8) -> Vec<f32> {
        let mut source = NoiseSource::seeded([seed; 32]);
        let mut clip = start;
        (0..rounds)
            .map(|_| {
                let share = law.fraction_within(within(clip), COHORT.into(), COHORT, &mut source);
                clip = law.next(clip, share);
                clip
            })
            .collect()
    }

    /// With eta 0.2 and noise of 0.05 on the fraction, the clip near the quantile is an AR(1)
    /// process: log C moves by -0.2 (C - C*) + 0.2 * 0.05 g, whose standard deviation is below
    /// 0.01 / sqrt(1 - 0.85^2) = 0.019, and that of its mean over 250 rounds about 0.003. The far
    /// starts take up to 170 rounds. Bounds of 0.1 for each clip and 0.02 for the mean are five and six
    /// of these: a chance below 1e-2 over seeds for the 4,500 clips together.
    #[test]
    fn the_clip_reaches_the_quantile_from_far_starts_and_stays() {
        for (index, quantile) in [0.25, 0.5, 0.8].into_iter().enumerate() {
            let law = AdaptiveClip::new(quantile, 0.2, 50.0).unwrap();
            let target = 0.5 + quantile;
            for start in [1e-3f32, 0.1, 0.9, 1.1, 3.0, 1e3] {
                let clips = trajectory(&law, start, 500, index as u8);
                let settled = &clips[250..];
                for &clip in settled {
                    assert!(
                        (f64::from(clip) - target).abs() < 0.1,
                        "{clip} from {start}"
                    );
                }
                let mean =
                    settled.iter().map(|&clip| f64::from(clip)).sum::<f64>() / settled.len() as f64;
                assert!((mean - target).abs() < 0.02, "{mean} from {start}");
            }
        }
    }

    /// The law of a widely used framework: it estimates the fraction of updates that WERE clipped but
    /// moves the clip as if they had been within.
    #[test]
    fn counting_the_clipped_updates_with_the_same_sign_diverges_on_the_same_norms() {
        let law = AdaptiveClip::new(0.5, 0.2, 50.0).unwrap();
        for (start, low, high) in [
            (0.1f32, 0.0, 1e-5),
            (0.9, 0.0, 1e-5),
            (1.1, 1e5, f32::MAX),
            (3.0, 1e5, f32::MAX),
        ] {
            let mut source = NoiseSource::seeded([9; 32]);
            let mut clip = start;
            for _ in 0..200 {
                let clipped = u64::from(COHORT) - within(clip);
                let share = law.fraction_within(clipped, COHORT.into(), COHORT, &mut source);
                clip = law.next(clip, share);
            }
            assert!((low..=high).contains(&clip), "{clip} from {start}");
            let ours = trajectory(&law, start, 200, 9);
            assert!((ours[199] - 1.0).abs() < 0.1);
        }
    }

    #[test]
    fn what_cannot_be_a_quantile_a_step_or_a_noise_is_refused_by_name() {
        let text = |quantile, rate, noise| {
            AdaptiveClip::new(quantile, rate, noise)
                .unwrap_err()
                .to_string()
        };
        for bad in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            assert!(text(bad, 0.2, 5.0).contains("adaptive_clip.quantile"));
        }
        for bad in [0.0, -1.0, 11.0, f64::NAN, f64::INFINITY] {
            assert!(text(0.5, bad, 5.0).contains("adaptive_clip.learning_rate"));
        }
        for bad in [0.0, -1.0, 1e-4, 1e12, f64::NAN, f64::INFINITY] {
            assert!(text(0.5, 0.2, bad).contains("adaptive_clip.count_noise"));
        }
    }

    #[test]
    fn a_multiplier_that_the_votes_use_up_is_refused_with_the_value_that_would_do() {
        let law = AdaptiveClip::new(0.5, 0.2, 5.0).unwrap();
        let refused = law.split(10.0).unwrap_err();
        assert_eq!(
            refused,
            AdaptiveClipError::CountNoiseTooSmall {
                count_noise: 5.0,
                noise_multiplier: 10.0,
                least: 5.0,
                advised: 25.0,
            }
        );
        let text = refused.to_string();
        assert!(text.contains("privacy.adaptive_clip.count_noise") && text.contains("25.0000"));
        assert!(law.split(9.999).unwrap() > 9.999);
        // what the error advises costs the update 2 %
        let advised = AdaptiveClip::new(0.5, 0.2, 25.0).unwrap();
        assert!(advised.split(10.0).unwrap() < 10.21);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(law.split(bad).is_err());
        }
    }

    #[test]
    fn the_clip_stays_usable_whatever_the_votes_say() {
        let law = AdaptiveClip::new(0.5, 10.0, 5.0).unwrap();
        assert_eq!(law.next(1.0, 1e9), 1e-6);
        assert_eq!(law.next(1.0, -1e9), 1e6);
        assert_eq!(law.next(1.0, f64::NAN), 1.0);
        assert_eq!(law.next(1e30, 0.5), 1e6);
        let mut source = NoiseSource::seeded([1; 32]);
        assert!(law.fraction_within(u64::MAX, 1, 0, &mut source).is_finite());
        assert!(law.fraction_within(0, u64::MAX, 1, &mut source) < -1e18);
    }

    #[test]
    fn a_vote_costs_one_over_twice_the_variance() {
        let law = AdaptiveClip::new(0.5, 0.2, 5.0).unwrap();
        assert_eq!(law.vote_noise(), DiscreteGaussian::new(10).unwrap());
        assert_eq!(law.vote_rho(), Rho::from_pico(5_000_000_000));
    }

    proptest! {
        #[test]
        fn both_releases_of_a_round_cost_what_the_multiplier_alone_would(
            z in 0.1f64..100.0,
            ratio in 0.501f64..100.0,
        ) {
            let law = AdaptiveClip::new(0.5, 0.2, z * ratio).unwrap();
            let update = law.split(z).unwrap();
            prop_assert!(update > z);
            let total = law.vote_rho().as_f64() + 0.5 / (update * update);
            let whole = 0.5 / (z * z);
            // pico-rho are rounded up; the noise on the votes is at most 2^-19 above 2 sigma_b
            prop_assert!(total <= whole * (1.0 + 1e-12) + 1e-12, "{total} {whole}");
            prop_assert!(total >= whole * (1.0 - 1e-5), "{total} {whole}");
        }

        #[test]
        fn the_clip_falls_exactly_when_more_are_within_than_asked(
            quantile in 0.01f64..0.99,
            fraction in -0.5f64..1.5,
            clip in 1e-3f32..1e3,
        ) {
            let law = AdaptiveClip::new(quantile, 0.2, 5.0).unwrap();
            let next = law.next(clip, fraction);
            if fraction > quantile + 1e-6 {
                prop_assert!(next < clip);
            } else if fraction < quantile - 1e-6 {
                prop_assert!(next > clip);
            }
        }
    }
}
