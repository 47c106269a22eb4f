//! What goes together with noise: on the sums, on the devices, correlated, and with a clip that moves.

use tributary_model::{LocalAlgorithm, Personalisation};
use tributary_privacy::{AdaptiveClip, AdaptiveClipError};

use crate::check::MAX_CHARGED;
use crate::combination::Method;
use crate::compatibility::Conflict;
use crate::error::in_range;
use crate::{NoiseMechanism, PrivacyMode, SpecError};

/// Participations of one device that correlated noise is planned for at the most: its price is worked
/// out for each number of them.
pub const MAX_CORRELATED: u32 = 256;

impl Method<'_> {
    /// Refuses what the mode of privacy does not go with.
    ///
    /// # Errors
    /// The first option that does not.
    pub(crate) fn check_privacy(&self) -> Result<(), SpecError> {
        self.check_clip()?;
        self.check_mechanism()?;
        match self.privacy.mode {
            PrivacyMode::None => return Ok(()),
            PrivacyMode::Local => self.check_local()?,
            PrivacyMode::Dp => {}
        }
        self.check_lengths()?;
        let options = self.options();
        if options.has(Conflict::WeightAndPrivacy) {
            let what = match self.training.algorithm {
                LocalAlgorithm::FedNova => "the devices' numbers of steps",
                _ => "the devices' losses",
            };
            let problem = format!(
                "is {}, which divides by the exact sum of {what}: noise on the deltas alone would \
                 guarantee nothing",
                self.training.algorithm.name()
            );
            let remedy = "use algorithm fedavg or fedprox, or set privacy.mode to none";
            return self.refuse(true, "training.algorithm", problem, remedy);
        }
        self.refuse(
            options.has(Conflict::ClustersAndPrivacy),
            "training.personalisation",
            "is ifca: which cluster a device picks, and how many pick it, is private",
            "use region_heads, whose groups are public, or set privacy.mode to none",
        )
    }

    /// The length of an update must say nothing of it.
    fn check_lengths(&self) -> Result<(), SpecError> {
        let compressed = self.training.codec.ends_with("+zstd");
        self.refuse(
            compressed,
            "training.codec",
            format!(
                "is {}: how much an update shrinks tells of what is in it, and no noise covers that",
                self.training.codec
            ),
            "leave +zstd out, or set privacy.mode to none",
        )
    }

    /// The adaptive clip's own values, and where it does not go.
    fn check_clip(&self) -> Result<(), SpecError> {
        let Some(adaptive) = &self.privacy.adaptive_clip else {
            return Ok(());
        };
        self.refuse(
            self.privacy.mode != PrivacyMode::Dp,
            "privacy.adaptive_clip",
            "is set, but only privacy.mode dp pays for it with noise on the count",
            "set privacy.mode to dp, or remove it",
        )?;
        let count_noise = adaptive.count_noise(self.rounds.cohort);
        let invalid = |error: AdaptiveClipError| SpecError::Invalid {
            field: format!("{}privacy.adaptive_clip", self.path),
            problem: error.to_string(),
            remedy: "mend the value".to_owned(),
        };
        let rule = AdaptiveClip::new(adaptive.quantile, adaptive.learning_rate, count_noise);
        let rule = rule.map_err(invalid)?;
        self.refuse(
            self.rounds.staleness_cap() > 0,
            "privacy.adaptive_clip",
            "moves the clip from round to round, but rounds.staleness_cap mixes updates of several",
            "set rounds.staleness_cap to 0, or remove it",
        )?;
        match adaptive.rounds {
            None => {
                // the noise of every round is split between the sum and the count
                rule.split(self.privacy.noise_multiplier).map_err(invalid)?;
                Ok(())
            }
            Some(rounds) => {
                let keeps = matches!(
                    self.training.algorithm,
                    LocalAlgorithm::Scaffold | LocalAlgorithm::FedDyn { .. }
                );
                self.refuse(
                    keeps || self.options().sparse || self.training.momentum > 0.0,
                    "privacy.adaptive_clip.rounds",
                    "release nothing of the updates, but training.algorithm, codec topk or momentum \
                     would have devices remember them as sent",
                    "use fedavg or fedprox without momentum and another codec, or remove rounds",
                )?;
                let field = format!("{}privacy.adaptive_clip.rounds", self.path);
                in_range(&field, rounds.into(), 1.0, 100_000.0)?;
                self.refuse(
                    rounds >= self.rounds.count,
                    "privacy.adaptive_clip.rounds",
                    format!(
                        "is {rounds} of {} rounds, so that none trains",
                        self.rounds.count
                    ),
                    "lower it, or raise rounds.count",
                )
            }
        }
    }

    /// Correlated noise: one sum for the whole run, a clip that stays, and few participations.
    fn check_mechanism(&self) -> Result<(), SpecError> {
        let name = match self.privacy.mechanism {
            NoiseMechanism::Independent => return Ok(()),
            NoiseMechanism::Blt => "blt",
            NoiseMechanism::Tree => "tree",
        };
        let field = "privacy.mechanism";
        self.refuse(
            self.privacy.mode != PrivacyMode::Dp,
            field,
            format!("is {name}, which correlates noise that the coordinator adds, but privacy.mode is not dp"),
            "set privacy.mode to dp, or remove it",
        )?;
        let moves = self
            .privacy
            .adaptive_clip
            .is_some_and(|adaptive| adaptive.rounds.is_none());
        self.refuse(
            moves,
            "privacy.adaptive_clip",
            format!(
                "moves the clip in every round, but the noise of {name} is in units of one clip"
            ),
            "set privacy.adaptive_clip.rounds: they estimate the clip, which is frozen then",
        )?;
        self.refuse(
            self.rounds.staleness_cap() > 0,
            "rounds.staleness_cap",
            format!(
                "lets a device count in another round than it was asked in, but {name} needs its \
                     participations min_separation rounds apart"
            ),
            "set it to 0, or use privacy.mechanism independent",
        )?;
        let heads = matches!(
            self.training.personalisation,
            Some(Personalisation::RegionHeads { .. })
        );
        self.refuse(
            heads,
            "training.personalisation",
            format!("is region_heads, but the noise of {name} belongs to one sum"),
            "use a run for each region, or privacy.mechanism independent",
        )?;
        let trained = self
            .rounds
            .count
            .saturating_sub(self.privacy.estimation_rounds());
        let most = self.rounds.participations_in(trained);
        self.refuse(
            most > MAX_CORRELATED,
            "rounds.max_participations",
            format!(
                "lets a device take part {most} times; {name} gains where participations are few \
                     and far apart"
            ),
            "set rounds.max_participations and rounds.min_separation so that it is 256 at the most",
        )
    }

    /// Noise on the device: its update has to be one clipped vector, used once.
    fn check_local(&self) -> Result<(), SpecError> {
        self.refuse(
            self.rounds.to_select() > MAX_CHARGED,
            "rounds.over_selection",
            format!(
                "makes a round ask {} devices, and under privacy.mode local all of them are charged",
                self.rounds.to_select()
            ),
            "lower it or the cohort: one round can charge 12000 devices",
        )?;
        let options = self.options();
        let more = [
            Conflict::StateAndLocalNoise,
            Conflict::MomentumAndLocalNoise,
            Conflict::CapAndLocalNoise,
        ];
        self.refuse(
            more.into_iter().any(|conflict| options.has(conflict)),
            "training.algorithm",
            "or training.momentum or examples_cap keeps or tells more than the noised update, which \
             privacy.mode local does not cover",
            "use fedavg or fedprox without momentum and examples_cap, or privacy.mode dp",
        )?;
        self.refuse(
            options.has(Conflict::SparseAndLocalNoise),
            "training.codec",
            "is topk, whose choice of values and residual would tell of the update before its noise",
            "use f32, int8, int4, drive or eden:4 with privacy.mode local",
        )
    }
}
