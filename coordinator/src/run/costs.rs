//! What the rounds of a run cost a device, and the noise that they buy.

use tributary_aggregator::accountant::{AccountingError, Adjacency, Mechanism, Rho};
use tributary_aggregator::ftrl::{Blt, FtrlError, Participation as Pattern, Strategy};
use tributary_aggregator::{
    AdaptiveClip, DiscreteGaussian, FixedPoint, LocalNoise, SCALE, rho_for_epsilon,
};

use crate::CoordinatorError;
use crate::engine::{Participation, RunState};
use crate::spec::{NoiseMechanism, PrivacyMode, RunSpec};

/// Participations of one device that correlated noise is planned for at the most: its price is worked
/// out for each number of them.
pub const MAX_CORRELATED: u32 = 256;

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
    /// What the devices add; none unless the mode is local.
    pub local: Option<LocalNoise>,
    /// Spend of a device after its first, second... participation that trains, in units of 1e-12 of
    /// zCDP; beyond the end every further one costs what the last did.
    spent: Vec<u64>,
    /// Cap on a device's account.
    pub cap_pico_rho: Option<u64>,
    /// Rounds at the start that estimate the clip.
    estimation_rounds: u32,
    /// Where the guarantee comes from, but for a seed.
    mechanism: Mechanism,
}

impl RunCosts {
    /// The price of a run whose updates are checked on `fixed`.
    ///
    /// # Errors
    /// When the noise or the cap can't be represented, or the plan is one that correlated noise can't
    /// serve.
    pub fn new(spec: &RunSpec, fixed: &FixedPoint) -> Result<Self, CoordinatorError> {
        let privacy = &spec.privacy;
        let mut costs = Self {
            noise: SumNoise::None,
            clip: None,
            local: None,
            spent: vec![0],
            cap_pico_rho: None,
            estimation_rounds: privacy.estimation_rounds(),
            mechanism: Mechanism::None,
        };
        if privacy.mode == PrivacyMode::None {
            return Ok(costs);
        }
        let cap = privacy
            .epsilon
            .map(|epsilon| rho_for_epsilon(epsilon, privacy.delta))
            .transpose()?;
        costs.cap_pico_rho = cap.map(Rho::pico);
        if privacy.mode == PrivacyMode::Local {
            let local = LocalNoise::new(privacy.clip, fixed.dimension(), privacy.noise_multiplier)?;
            costs.spent = vec![local.rho().pico()];
            costs.local = Some(local);
            costs.mechanism = Mechanism::LocalGaussian;
            return Ok(costs);
        }
        costs.set_clip(spec)?;
        match privacy.mechanism {
            NoiseMechanism::Independent => costs.set_independent(spec, fixed)?,
            NoiseMechanism::Blt => costs.set_correlated(spec, fixed, true)?,
            NoiseMechanism::Tree => costs.set_correlated(spec, fixed, false)?,
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
        self.spent = vec![
            charge
                .checked_add(votes)
                .ok_or(AccountingError::RhoTooLarge)?,
        ];
        self.noise = SumNoise::Independent(noise);
        self.mechanism = Mechanism::DiscreteGaussian;
        Ok(())
    }

    /// Correlated noise: z in units of what one device can change over the whole run, so that the run
    /// costs 1 / (2 z^2) in all.
    fn set_correlated(
        &mut self,
        spec: &RunSpec,
        fixed: &FixedPoint,
        blt: bool,
    ) -> Result<(), CoordinatorError> {
        let pattern = pattern(spec)?;
        let strategy = if blt {
            Strategy::Blt(Blt::optimise(&pattern)?)
        } else {
            Strategy::Tree
        };
        let squared = |most: u32| -> Result<u128, CoordinatorError> {
            let pattern = Pattern::new(pattern.rounds, most, pattern.separation)?;
            Ok(strategy.squared_sensitivity(&pattern, fixed.bound(), fixed.dimension())?)
        };
        let z = spec.privacy.noise_multiplier;
        let whole = squared(pattern.most)?;
        let seeds = gaussian((z * (whole as f64).sqrt()).ceil(), z)?;
        self.spent = Vec::with_capacity(pattern.most as usize);
        for most in 1..=pattern.most {
            self.spent.push(seeds.rho(squared(most)?)?.pico());
        }
        self.noise = SumNoise::Correlated { strategy, seeds };
        self.mechanism = if blt {
            Mechanism::CorrelatedBlt
        } else {
            Mechanism::CorrelatedTree
        };
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
        let most = needed_participations(spec);
        let trained = needed_in(spec, spec.rounds.count - self.estimation_rounds).min(most);
        let estimated = needed_in(spec, self.estimation_rounds).min(most - trained);
        self.spent(estimated, trained)
    }

    /// True when devices are charged when they are asked: what a device sends under local noise is a
    /// release already, whatever becomes of the round.
    pub fn charged_when_asked(&self) -> bool {
        self.local.is_some()
    }

    /// True when there is noise at all.
    pub fn is_private(&self) -> bool {
        self.mechanism != Mechanism::None
    }

    /// Where the guarantee comes from.
    pub fn mechanism(&self, seeded: bool) -> Mechanism {
        if seeded && self.is_private() {
            Mechanism::SeededNotPrivate
        } else {
            self.mechanism
        }
    }

    /// Which fleets the guarantee compares.
    pub fn adjacency(&self) -> Adjacency {
        adjacency(self.local.is_some())
    }

    /// How the rounds' noise hangs together; none when it does not.
    pub fn strategy(&self) -> Option<&Strategy> {
        match &self.noise {
            SumNoise::Correlated { strategy, .. } => Some(strategy),
            _ => None,
        }
    }
}

/// Under local noise any two updates are neighbours; else a device is there or not.
pub fn adjacency(local: bool) -> Adjacency {
    if local {
        Adjacency::ReplaceDevice
    } else {
        Adjacency::AddOrRemoveDevice
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
    Pattern::new(rounds, needed_in(spec, rounds), separation)
}

/// Rounds that one device may be in at the most.
pub fn needed_participations(spec: &RunSpec) -> u32 {
    needed_in(spec, spec.rounds.count)
}

/// Of `count` rounds in a row, those that one device may be in at the most.
pub fn needed_in(spec: &RunSpec, count: u32) -> u32 {
    count
        .div_ceil(spec.rounds.min_separation)
        .min(spec.rounds.max_participations)
}
