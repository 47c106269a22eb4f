//! What the rounds of a run cost a device, and the noise that they buy.

use tributary_aggregator::FixedPoint;
use tributary_privacy::accountant::AccountingError;
use tributary_privacy::ftrl::{Blt, FtrlError, Participation as Pattern, Strategy};
use tributary_privacy::{AdaptiveClip, DiscreteGaussian, LocalNoise, RhoError, SCALE};

use crate::CoordinatorError;
use crate::engine::{Participation, RunState};
use tributary_recipe::{NoiseMechanism, PrivacyMode, RunSpec};

/// The noise that the coordinator adds to a sum.
#[derive(Debug, Clone, PartialEq)]
pub enum SumNoise {
    /// None: privacy is off, or the devices add it.
    None,
    /// Fresh in every round.
    Independent(DiscreteGaussian),
    /// Correlated over the rounds; the seeds are fresh.
    Correlated {
        /// How the rounds hang together.
        strategy: Strategy,
        /// The noise of the seeds.
        seeds: DiscreteGaussian,
    },
}

/// How the clip moves, and its noise.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipCosts {
    /// The rule.
    pub rule: AdaptiveClip,
    /// Charge of a participation that releases nothing but the clip, in units of 1e-12 of zCDP.
    pub pico_rho: u64,
}

/// The privacy price of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunCosts {
    /// The noise on the integer sum.
    pub noise: SumNoise,
    /// How the clip moves; none when it stays.
    pub clip: Option<ClipCosts>,
    /// Spend of a device after its first, second... participation that trains, in units of 1e-12 of
    /// zCDP; beyond the end every further one costs what the last did.
    spent: Vec<u64>,
    /// Rounds at the start that estimate the clip.
    estimation_rounds: u32,
}

impl RunCosts {
    /// The price of a run whose updates are checked on `fixed`. Correlated noise is planned anew unless
    /// its strategy is `known`: a run keeps the one that it began with, on whatever machine it goes on.
    ///
    /// # Errors
    /// When the noise can't be represented, or the plan is one that correlated noise can't
    /// serve.
    pub fn new(
        spec: &RunSpec,
        fixed: &FixedPoint,
        known: Option<&Strategy>,
    ) -> Result<Self, CoordinatorError> {
        let privacy = &spec.privacy;
        let mut costs = Self {
            noise: SumNoise::None,
            clip: None,
            spent: vec![0],
            estimation_rounds: privacy.estimation_rounds(),
        };
        if privacy.mode == PrivacyMode::None {
            return Ok(costs);
        }
        if privacy.mode == PrivacyMode::Local {
            let local = LocalNoise::new(privacy.clip, fixed.dimension(), privacy.noise_multiplier)?;
            costs.spent = vec![local.rho().pico()];
            return Ok(costs);
        }
        costs.set_clip(spec)?;
        match privacy.mechanism {
            NoiseMechanism::Independent => costs.set_independent(spec, fixed)?,
            NoiseMechanism::Blt => {
                let strategy = match known {
                    Some(strategy) => strategy.clone(),
                    None => Strategy::Blt(Blt::optimise(&pattern(spec)?)?),
                };
                costs.set_correlated(spec, fixed, strategy)?;
            }
            NoiseMechanism::Tree => costs.set_correlated(spec, fixed, Strategy::Tree)?,
        }
        Ok(costs)
    }

    fn set_clip(&mut self, spec: &RunSpec) -> Result<(), CoordinatorError> {
        let Some(adaptive) = &spec.privacy.adaptive_clip else {
            return Ok(());
        };
        let count_noise = adaptive.count_noise(spec.rounds.cohort);
        let rule = AdaptiveClip::new(adaptive.quantile, adaptive.learning_rate, count_noise)?;
        self.clip = Some(ClipCosts {
            pico_rho: rule.vote_rho().pico(),
            rule,
        });
        Ok(())
    }

    /// Fresh noise: z in units of the clip, or what is left of it for the sum when every round moves
    /// the clip as well.
    fn set_independent(
        &mut self,
        spec: &RunSpec,
        fixed: &FixedPoint,
    ) -> Result<(), CoordinatorError> {
        let z = spec.privacy.noise_multiplier;
        let (z, votes) = match &self.clip {
            Some(clip) if self.estimation_rounds == 0 => (clip.rule.split(z)?, clip.pico_rho),
            _ => (z, 0),
        };
        // the grid has S steps in a clip; the charge uses the exact integer bound, a little more
        let noise = gaussian((z * SCALE as f64).ceil(), z)?;
        let charge = noise.rho(u128::from(fixed.bound()).pow(2))?.pico();
        self.spent = vec![charge.checked_add(votes).ok_or(RhoError::TooLarge)?];
        self.noise = SumNoise::Independent(noise);
        Ok(())
    }

    /// Correlated noise: z in units of what one device can change over the whole run, so that the run
    /// costs 1 / (2 z^2) in all.
    fn set_correlated(
        &mut self,
        spec: &RunSpec,
        fixed: &FixedPoint,
        strategy: Strategy,
    ) -> Result<(), CoordinatorError> {
        let pattern = pattern(spec)?;
        let squared = |most: u32| -> Result<u128, CoordinatorError> {
            let pattern = Pattern::new(pattern.rounds, most, pattern.separation)?;
            Ok(strategy.squared_sensitivity(&pattern, fixed.bound(), fixed.dimension())?)
        };
        let z = spec.privacy.noise_multiplier;
        let whole = squared(pattern.most)?;
        let seeds = gaussian((z * (whole as f64).sqrt()).ceil(), z)?;
        strategy.check_sigma(&seeds)?;
        self.spent = Vec::with_capacity(pattern.most as usize);
        for most in 1..=pattern.most {
            self.spent.push(seeds.rho(squared(most)?)?.pico());
        }
        self.noise = SumNoise::Correlated { strategy, seeds };
        Ok(())
    }

    /// Spend of a device after so many participations that estimate the clip and that train.
    pub fn spent(&self, estimated: u32, trained: u32) -> u64 {
        let votes = self.clip.as_ref().map_or(0, |clip| clip.pico_rho);
        let last = self.spent.len();
        let training = match trained as usize {
            0 => 0,
            trained if trained <= last => self.spent[trained - 1],
            trained => {
                let before = if last > 1 { self.spent[last - 2] } else { 0 };
                let step = self.spent[last - 1] - before;
                let further = step.saturating_mul((trained - last) as u64);
                self.spent[last - 1].saturating_add(further)
            }
        };
        votes
            .saturating_mul(estimated.into())
            .saturating_add(training)
    }

    /// What the open round of `state` costs a device with this past.
    /// What it gave to rounds that were given up was not charged and does not count.
    pub fn price(&self, state: &RunState, past: Option<&Participation>) -> u64 {
        let (estimated, trained) = past.map_or((0, 0), |past| (past.estimated, past.trained()));
        let after = if state.is_estimating() {
            self.spent(estimated + 1, trained)
        } else {
            self.spent(estimated, trained + 1)
        };
        after - self.spent(estimated, trained)
    }

    /// The most that one device of a run can spend in it when it takes part in as many rounds as it may.
    pub fn worst_case(&self, spec: &RunSpec) -> u64 {
        let most = spec.rounds.needed_participations();
        let training = spec
            .rounds
            .participations_in(spec.rounds.count - self.estimation_rounds);
        let estimating = spec
            .rounds
            .participations_in(self.estimation_rounds)
            .min(most);
        // a vote may cost more or less than a round that trains
        let splits = 0..=estimating;
        let spends = splits.map(|votes| self.spent(votes, training.min(most - votes)));
        spends.max().unwrap_or(0)
    }

    /// How the rounds' noise hangs together; none when it does not.
    pub fn strategy(&self) -> Option<&Strategy> {
        match &self.noise {
            SumNoise::Correlated { strategy, .. } => Some(strategy),
            _ => None,
        }
    }
}

fn gaussian(sigma: f64, z: f64) -> Result<DiscreteGaussian, AccountingError> {
    // the cast saturates, and what is too large is refused
    DiscreteGaussian::new(sigma as u64).map_err(|_| AccountingError::BadParameter {
        field: "noise_multiplier",
        value: z,
    })
}

/// How often a device may take part in the rounds that train.
fn pattern(spec: &RunSpec) -> Result<Pattern, FtrlError> {
    let rounds = spec.rounds.count - spec.privacy.estimation_rounds();
    let separation = spec.rounds.min_separation.min(rounds);
    Pattern::new(rounds, spec.rounds.participations_in(rounds), separation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_privacy::Adjacency;

    use super::*;
    use crate::fixtures::spec;
    use tributary_recipe::AdaptiveClipSpec;

    fn fixed() -> FixedPoint {
        FixedPoint::new(1.0, 15).unwrap()
    }

    /// Twelve rounds, four participations three rounds apart.
    fn planned(change: impl FnOnce(&mut RunSpec)) -> (RunSpec, RunCosts) {
        let mut spec = spec();
        spec.rounds.count = 12;
        spec.rounds.min_separation = 3;
        spec.rounds.max_participations = u32::MAX;
        change(&mut spec);
        let costs = RunCosts::new(&spec, &fixed(), None).unwrap();
        (spec, costs)
    }

    fn adaptive(rounds: Option<u32>) -> Option<AdaptiveClipSpec> {
        Some(AdaptiveClipSpec {
            quantile: 0.5,
            learning_rate: 0.2,
            count_noise: Some(5.0),
            rounds,
        })
    }

    fn rho(pico: u64) -> f64 {
        pico as f64 * 1e-12
    }

    #[test]
    fn a_run_with_correlated_noise_costs_one_half_over_z_squared_in_all() {
        for mechanism in [NoiseMechanism::Blt, NoiseMechanism::Tree] {
            let (spec, costs) = planned(|spec| {
                spec.privacy.mechanism = mechanism;
                spec.privacy.noise_multiplier = 2.0;
            });
            assert_eq!(spec.rounds.needed_participations(), 4);
            let whole = rho(costs.spent(0, 4));
            assert!(
                (0.124_999..=0.125).contains(&whole),
                "{mechanism:?} {whole}"
            );
            assert_eq!(costs.worst_case(&spec), costs.spent(0, 4));
            assert!(costs.spent(0, 1) < costs.spent(0, 4) / 2);
            assert!(costs.strategy().is_some());
        }
    }

    #[test]
    fn a_clip_that_moves_in_every_round_is_paid_for_out_of_the_same_noise() {
        let (_, costs) = planned(|spec| {
            spec.privacy.adaptive_clip = adaptive(None);
            spec.privacy.noise_multiplier = 2.0;
        });
        let each = rho(costs.spent(0, 1));
        assert!((0.125..0.1251).contains(&each), "{each}");
        let SumNoise::Independent(noise) = costs.noise else {
            panic!("{costs:?}")
        };
        // z_delta = (z^-2 - (2 s_b)^-2)^(-1/2), above z
        let split = (0.25f64 - 0.01).powf(-0.5);
        assert!((noise.sigma() / SCALE as f64 - split).abs() < 1e-5);
    }

    #[test]
    fn rounds_that_estimate_the_clip_cost_the_count_alone() {
        let (spec, costs) = planned(|spec| {
            spec.privacy.adaptive_clip = adaptive(Some(6));
            spec.privacy.mechanism = NoiseMechanism::Blt;
            spec.privacy.noise_multiplier = 2.0;
        });
        assert!((rho(costs.spent(2, 0)) - 2.0 / 200.0).abs() < 1e-9);
        // two participations estimate and two train
        assert_eq!(costs.worst_case(&spec), costs.spent(2, 2));
        assert!((0.134_99..=0.135).contains(&rho(costs.spent(2, 2))));
    }

    #[test]
    fn a_vote_that_costs_more_than_training_is_in_the_worst_case() {
        let (spec, costs) = planned(|spec| {
            spec.rounds.min_separation = 1;
            spec.rounds.max_participations = 3;
            spec.privacy.adaptive_clip = adaptive(Some(3));
            if let Some(adaptive) = &mut spec.privacy.adaptive_clip {
                adaptive.count_noise = Some(0.5);
            }
            spec.privacy.noise_multiplier = 2.0;
        });
        assert_eq!(costs.worst_case(&spec), costs.spent(3, 0));
        assert!((1.5..1.500_001).contains(&rho(costs.spent(3, 0))));
    }

    #[test]
    fn correlated_noise_beyond_the_safe_bound_is_refused_before_anybody_works() {
        let mut spec = spec();
        (spec.rounds.count, spec.rounds.max_participations) = (2_000, 6);
        spec.rounds.min_separation = 300;
        spec.privacy.mechanism = NoiseMechanism::Blt;
        spec.privacy.noise_multiplier = 10_000.0;
        let refused = RunCosts::new(&spec, &fixed(), None).unwrap_err();
        assert!(refused.to_string().contains("sigma"), "{refused}");
    }

    #[test]
    fn local_noise_is_charged_for_any_two_updates() {
        let (spec, costs) = planned(|spec| {
            spec.privacy.mode = PrivacyMode::Local;
            spec.privacy.noise_multiplier = 4.0;
        });
        assert!((0.125..0.1251).contains(&rho(costs.spent(0, 1))));
        assert!(spec.privacy.is_charged_when_asked());
        assert_eq!(spec.privacy.adjacency(), Adjacency::ReplaceDevice);
        assert_eq!(costs.noise, SumNoise::None);
    }

    proptest! {
        #[test]
        fn prices_add_up_to_what_is_spent_and_never_pass_the_worst_case(
            mechanism in 0usize..3,
            estimation in 0u32..4,
            rounds in prop::collection::vec(any::<bool>(), 12),
        ) {
            let (spec, costs) = planned(|spec| {
                spec.privacy.mechanism =
                    [NoiseMechanism::Independent, NoiseMechanism::Blt, NoiseMechanism::Tree][mechanism];
                spec.privacy.adaptive_clip = adaptive((estimation > 0).then_some(estimation));
                if mechanism > 0 && estimation == 0 {
                    spec.privacy.adaptive_clip = None;
                }
            });
            let mut state = crate::fixtures::state(spec.clone());
            let mut past: Option<Participation> = None;
            let mut paid = 0;
            for (number, wants) in (1..).zip(rounds) {
                state.round.number = number;
                let apart = past.is_none_or(|past| number >= past.last_round + 3);
                if !(wants && apart) {
                    continue;
                }
                let price = costs.price(&state, past.as_ref());
                prop_assert!(price > 0);
                paid += price;
                let mut now = past.unwrap_or_default();
                now.count += 1;
                now.last_round = number;
                now.estimated += u32::from(state.is_estimating());
                past = Some(now);
                prop_assert_eq!(paid, costs.spent(now.estimated, now.trained()));
            }
            prop_assert!(paid <= costs.worst_case(&spec));
        }
    }
}
