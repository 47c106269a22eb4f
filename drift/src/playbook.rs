//! From the pattern of what moved to the action it calls for.

use serde::{Deserialize, Serialize};

use crate::quantity::Role;
use crate::stream::{Level, Observation};

/// Whether the quantities of one role moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Movement {
    /// No quantity of this role was tested in the window.
    #[default]
    Unmonitored,
    /// All are under their warning threshold.
    Stable,
    /// At least one moved; the strongest towards lower bins.
    Down,
    /// At least one moved; the strongest towards higher bins, or its mean stayed.
    Up,
}

impl Movement {
    /// Whether it is [`Movement::Down`] or [`Movement::Up`].
    pub fn moved(self) -> bool {
        matches!(self, Self::Down | Self::Up)
    }

    fn of(observations: &[Observation], role: Role) -> Self {
        let tests = || {
            let tested = observations
                .iter()
                .filter(|o| o.role == role && o.sufficient);
            tested.filter_map(|observation| observation.test)
        };
        let strength = |p_value: f64| -p_value;
        let moved = tests().filter(|test| test.level >= Level::Warning);
        let strongest = moved.max_by(|a, b| {
            let (a, b) = (
                a.single.p_value.min(a.ewma.p_value),
                b.single.p_value.min(b.ewma.p_value),
            );
            strength(a).total_cmp(&strength(b))
        });
        match strongest {
            Some(test) if test.effect.mean_shift_bins < 0.0 => Self::Down,
            Some(_) => Self::Up,
            None if tests().next().is_some() => Self::Stable,
            None => Self::Unmonitored,
        }
    }
}

/// What moved in a region, by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Inputs of the model.
    pub features: Movement,
    /// Predicted classes.
    pub prediction: Movement,
    /// Confidence; bins rise with it.
    pub confidence: Movement,
    /// Loss where labels exist; bins rise with it.
    pub loss: Movement,
    /// Who reports.
    pub participation: Movement,
}

impl Evidence {
    /// Reads the pattern from the observations of one window.
    pub fn of(observations: &[Observation]) -> Self {
        let movement = |role| Movement::of(observations, role);
        Self {
            features: movement(Role::Feature),
            prediction: movement(Role::Prediction),
            confidence: movement(Role::Confidence),
            loss: movement(Role::Loss),
            participation: movement(Role::Participation),
        }
    }
}

/// What histograms can't say; the coordinator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Circumstances {
    /// The region got a new model just before the drift began.
    pub recent_rollout: bool,
    /// A few devices or one gateway make the shift: robust trimming removes it.
    pub concentrated: bool,
    /// Mitigations of this drift that already failed.
    pub failed_attempts: u32,
}

/// The action a drift calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Playbook {
    /// Harmless shift of the inputs: note it and take up a new reference.
    Log,
    /// Another mix of devices reports: stratify or weight, don't train.
    Reweight,
    /// Classes became more or less frequent: correct the model's prior only.
    RecalibratePrior,
    /// The inputs changed and the model suffers: train on in the region from its present weights.
    RetrainRegion,
    /// Train the region's personal layers.
    PersonaliseRegion,
    /// The same inputs now mean something else: the region gets a model of its own, after those in the
    /// registry have been tried.
    SplitModel,
    /// The new model is worse: go back to the one before.
    RollBack,
    /// A faulty or hostile source: shut it out, don't train on it.
    Quarantine,
}

/// Chooses the action.
///
/// A shift of the inputs alone is harmless only if something that watches the model (prediction,
/// confidence or loss) is monitored and stable. Each failed attempt goes one step up: retrain,
/// personalise, split, roll back.
pub fn choose_playbook(evidence: &Evidence, circumstances: &Circumstances) -> Playbook {
    let first = first_choice(evidence, circumstances);
    (0..circumstances.failed_attempts.min(4)).fold(first, |playbook, _| escalate(playbook))
}

fn first_choice(evidence: &Evidence, circumstances: &Circumstances) -> Playbook {
    let suffers = evidence.confidence == Movement::Down || evidence.loss == Movement::Up;
    let model_moved =
        evidence.prediction.moved() || evidence.confidence.moved() || evidence.loss.moved();
    let model_watched = [evidence.prediction, evidence.confidence, evidence.loss]
        .iter()
        .any(|&movement| movement != Movement::Unmonitored);
    let features = evidence.features.moved();
    if circumstances.concentrated {
        Playbook::Quarantine
    } else if circumstances.recent_rollout && !features && (suffers || model_moved) {
        Playbook::RollBack
    } else if evidence.participation.moved() && !features && !model_moved {
        Playbook::Reweight
    } else if evidence.loss == Movement::Up && evidence.features == Movement::Stable {
        Playbook::SplitModel
    } else if evidence.prediction.moved() && evidence.features == Movement::Stable && !suffers {
        Playbook::RecalibratePrior
    } else if features && model_watched && !model_moved {
        Playbook::Log
    } else {
        Playbook::RetrainRegion
    }
}

fn escalate(playbook: Playbook) -> Playbook {
    match playbook {
        Playbook::Log | Playbook::Reweight | Playbook::RecalibratePrior => Playbook::RetrainRegion,
        Playbook::RetrainRegion => Playbook::PersonaliseRegion,
        Playbook::PersonaliseRegion => Playbook::SplitModel,
        Playbook::SplitModel | Playbook::RollBack => Playbook::RollBack,
        Playbook::Quarantine => Playbook::Quarantine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: Evidence = Evidence {
        features: Movement::Stable,
        prediction: Movement::Stable,
        confidence: Movement::Stable,
        loss: Movement::Unmonitored,
        participation: Movement::Unmonitored,
    };

    fn choose(evidence: Evidence) -> Playbook {
        choose_playbook(&evidence, &Circumstances::default())
    }

    #[test]
    fn each_pattern_has_its_playbook() {
        let features = Evidence {
            features: Movement::Up,
            ..STABLE
        };
        assert_eq!(choose(features), Playbook::Log);
        let harmful = Evidence {
            confidence: Movement::Down,
            ..features
        };
        assert_eq!(choose(harmful), Playbook::RetrainRegion);
        let labels = Evidence {
            prediction: Movement::Up,
            ..STABLE
        };
        assert_eq!(choose(labels), Playbook::RecalibratePrior);
        let concept = Evidence {
            loss: Movement::Up,
            ..STABLE
        };
        assert_eq!(choose(concept), Playbook::SplitModel);
        let mix = Evidence {
            participation: Movement::Up,
            ..STABLE
        };
        assert_eq!(choose(mix), Playbook::Reweight);
    }

    #[test]
    fn features_alone_are_harmless_only_if_the_model_is_watched() {
        let blind = Evidence {
            features: Movement::Up,
            ..Evidence::default()
        };
        assert_eq!(choose(blind), Playbook::RetrainRegion);
    }

    #[test]
    fn circumstances_come_first() {
        let worse = Evidence {
            confidence: Movement::Down,
            ..STABLE
        };
        let rollout = Circumstances {
            recent_rollout: true,
            ..Circumstances::default()
        };
        assert_eq!(choose_playbook(&worse, &rollout), Playbook::RollBack);
        let fault = Circumstances {
            concentrated: true,
            ..rollout
        };
        assert_eq!(choose_playbook(&worse, &fault), Playbook::Quarantine);
    }

    #[test]
    fn failed_attempts_escalate_and_stop_at_the_roll_back() {
        let harmful = Evidence {
            features: Movement::Up,
            confidence: Movement::Down,
            ..STABLE
        };
        let after = |failed_attempts| {
            let circumstances = Circumstances {
                failed_attempts,
                ..Circumstances::default()
            };
            choose_playbook(&harmful, &circumstances)
        };
        assert_eq!(after(1), Playbook::PersonaliseRegion);
        assert_eq!(after(2), Playbook::SplitModel);
        assert_eq!(after(3), Playbook::RollBack);
        assert_eq!(after(u32::MAX), Playbook::RollBack);
    }
}
