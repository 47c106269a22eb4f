//! Clip, noise and budget of a run.

use serde::{Deserialize, Serialize};
use tributary_privacy::{Adjacency, Mechanism};
use tributary_proto::v1::AnswerWindow;

/// How a run protects its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyMode {
    /// Clip, uniform mean with a fixed denominator, discrete Gaussian noise on the integer sum.
    Dp,
    /// Every device adds the noise itself: nobody, the coordinator included, sees an update without.
    Local,
    /// Clip and uniform mean without noise. No privacy is claimed.
    None,
}

impl PrivacyMode {
    /// True when the coordinator adds noise to what it has summed.
    pub fn is_central(self) -> bool {
        self == Self::Dp
    }

    /// True when there is noise at all.
    pub fn has_noise(self) -> bool {
        self != Self::None
    }
}

/// How the noise of the rounds hangs together, under `dp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseMechanism {
    /// Fresh noise in every round; every participation is charged alike.
    #[default]
    Independent,
    /// DP-FTRL with a buffered linear Toeplitz matrix, optimised for the run's rounds,
    /// `max_participations` and `min_separation`: the noise of later rounds takes back most of that of
    /// earlier ones.
    Blt,
    /// DP-FTRL with a binary tree: more noise than `blt`, and nothing but integers.
    Tree,
}

/// What decides when a device answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerTime {
    /// A moment that the device draws before it looks at its data; what is not trained by then is sent
    /// as a vector of zeros.
    #[default]
    Drawn,
    /// The end of its training, which depends on its data.
    AsTrained,
}

/// The `[privacy]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySpec {
    /// `dp`, `local` or `none`.
    pub mode: PrivacyMode,
    /// L2 norm that each weight delta is clipped to, above 0; where an adaptive clip starts.
    pub clip: f32,
    /// Standard deviation of the noise in units of the clip (z): on the sum under `dp`, on every
    /// device's update under `local`; 0 under `none`.
    #[serde(default)]
    pub noise_multiplier: f64,
    /// How the noise of the rounds hangs together.
    #[serde(default, skip_serializing_if = "is_independent")]
    pub mechanism: NoiseMechanism,
    /// Moves the clip towards a quantile of the norms; absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive_clip: Option<AdaptiveClipSpec>,
    /// Cap on the account of any one device, over everything this coordinator charges.
    #[serde(default)]
    pub epsilon: Option<f64>,
    /// Delta at which epsilon is stated.
    #[serde(default = "default_delta")]
    pub delta: f64,
    /// What decides when a device answers.
    #[serde(default, skip_serializing_if = "is_drawn")]
    pub answer_time: AnswerTime,
    /// Begin and end of the window in which the moments are drawn, in milliseconds from when a device has
    /// fetched what it needs; in rounds, drift windows and calibrations alike. Absent: from a fiftieth to
    /// a twenty-fifth of the deadline of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_window_ms: Option<[u64; 2]>,
}

/// The `[privacy.adaptive_clip]` section (Andrew, Thakkar, McMahan, Ramaswamy 2021).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveClipSpec {
    /// The share of updates that should be within the clip (gamma), in (0, 1).
    #[serde(default = "default_quantile")]
    pub quantile: f64,
    /// Step of the clip's logarithm per round (eta), above 0.
    #[serde(default = "default_clip_rate")]
    pub learning_rate: f64,
    /// Standard deviation of the noise on the number of updates within the clip (sigma_b), in devices;
    /// default a twentieth of the cohort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_noise: Option<f64>,
    /// Only the first so many rounds move the clip, and they release nothing else; then it is frozen.
    /// Absent: every round moves it, and part of the noise budget pays for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
}

impl AdaptiveClipSpec {
    /// sigma_b for rounds of `cohort` planned contributions.
    pub fn count_noise(&self, cohort: u32) -> f64 {
        self.count_noise.unwrap_or(f64::from(cohort) / 20.0)
    }
}

impl PrivacySpec {
    /// Where the guarantee comes from; a `seeded` run has none.
    pub fn mechanism(&self, seeded: bool) -> Mechanism {
        match (self.mode, seeded) {
            (PrivacyMode::None, _) => Mechanism::None,
            (_, true) => Mechanism::SeededNotPrivate,
            (PrivacyMode::Local, false) => Mechanism::LocalGaussian,
            (PrivacyMode::Dp, false) => match self.mechanism {
                NoiseMechanism::Independent => Mechanism::DiscreteGaussian,
                NoiseMechanism::Blt => Mechanism::CorrelatedBlt,
                NoiseMechanism::Tree => Mechanism::CorrelatedTree,
            },
        }
    }

    /// Which fleets the guarantee compares: under local noise any two updates of a device are
    /// neighbours, else what it sent is compared with zeros. Who takes part is public (ADR 1).
    pub fn adjacency(&self) -> Adjacency {
        match self.mode {
            PrivacyMode::Local => Adjacency::ReplaceDevice,
            PrivacyMode::Dp | PrivacyMode::None => Adjacency::ZeroOutDevice,
        }
    }

    /// When devices answer within `deadline_ms`; absent without privacy, where nothing is hidden. A window
    /// that ends at 0 stands for answers as soon as they are there.
    pub fn answer_window(&self, deadline_ms: u64) -> Option<AnswerWindow> {
        if !self.mode.has_noise() {
            return None;
        }
        let [from_ms, until_ms] = match (self.answer_time, self.answer_window_ms) {
            (AnswerTime::AsTrained, _) => [0, 0],
            (AnswerTime::Drawn, Some(window)) => window,
            (AnswerTime::Drawn, None) => [deadline_ms / 50, (deadline_ms / 25).max(1)],
        };
        Some(AnswerWindow { from_ms, until_ms })
    }

    /// The same for votes with so much noise, which are private whatever the training is.
    pub fn vote_window(&self, noise_votes: f64, deadline_ms: u64) -> Option<AnswerWindow> {
        let asked = Self {
            mode: if noise_votes > 0.0 {
                PrivacyMode::Dp
            } else {
                self.mode
            },
            ..self.clone()
        };
        asked.answer_window(deadline_ms)
    }

    /// True when being asked is a participation and charged as one: what leaves a device under local
    /// noise is released, whatever becomes of the round.
    pub fn is_charged_when_asked(&self) -> bool {
        self.mode == PrivacyMode::Local
    }

    /// Rounds at the start that estimate the clip and release nothing else.
    pub fn estimation_rounds(&self) -> u32 {
        self.adaptive_clip
            .and_then(|adaptive| adaptive.rounds)
            .unwrap_or(0)
    }

    /// True when round `number` moves the clip.
    pub fn moves_clip(&self, number: u32) -> bool {
        self.adaptive_clip
            .is_some_and(|adaptive| adaptive.rounds.is_none_or(|rounds| number <= rounds))
    }
}

fn is_independent(mechanism: &NoiseMechanism) -> bool {
    *mechanism == NoiseMechanism::Independent
}

fn is_drawn(time: &AnswerTime) -> bool {
    *time == AnswerTime::Drawn
}

fn default_quantile() -> f64 {
    0.5
}

fn default_clip_rate() -> f64 {
    0.2
}

fn default_delta() -> f64 {
    1e-5
}
