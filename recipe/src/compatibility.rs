//! Which options of local training exclude each other, whoever asks: a recipe before its run exists, and
//! a device before it follows a plan. Each says so in its own words.
//!
//! Two kinds of facts are behind the table. State (SCAFFOLD's control variates, FedDyn's gradients,
//! momentum, what a sparse codec left out) belongs to one whole model and to the updates that were summed.
//! And what travels beside a noised vector is not noised.
//!
//! | [`Conflict`] | refused | because |
//! |---|---|---|
//! | `StateAndPersonalisation` | personalisation with scaffold, fednova or qfedavg, and with feddyn unless it is ditto or apfl | the algorithm's state or weight is that of the whole shared model |
//! | `StateAndMomentum` | momentum with any but fedavg and fedprox | each of the others needs every update by itself |
//! | `ModelsAndMomentum` | momentum with ifca or region heads | a device's updates are of several models |
//! | `ClustersAndSparse` | `topk` with ifca | what is left out of one model would be added to another |
//! | `LossesAndCap` | a cap on examples with qfedavg | that weighs updates by their loss |
//! | `StateAndCap` | a cap on examples with scaffold or feddyn | devices would move by the whole change and the server by a share of it |
//! | `WeightAndPrivacy` | fednova or qfedavg with privacy | the exact sum of weights tells of the data |
//! | `ClustersAndPrivacy` | ifca with privacy | the cluster that a device picks tells of its data |
//! | `StateAndLocalNoise` | any but fedavg and fedprox with local noise | state or weight would go beside the noise |
//! | `MomentumAndLocalNoise` | momentum with local noise | one round's update would be sent again in all rounds after it |
//! | `CapAndLocalNoise` | a cap on examples with local noise | the weight tells the number of examples |
//! | `SparseAndLocalNoise` | `topk` with local noise | the residual keeps what was not noised, and sends it later |

use tributary_model::{LocalAlgorithm, Personalisation};

use crate::PrivacyMode;

/// Largest cap on examples: a single example then still has 105 units (of 2^-20) of weight, and its
/// payload some hundred steps of the grid that sums are made on.
pub const MAX_EXAMPLES_CAP: u64 = 10_000;

/// Whether `momentum` is one: at least 0 and below 1.
pub fn is_momentum(momentum: f32) -> bool {
    (0.0..1.0).contains(&momentum)
}

/// Whether the algorithm keeps no state and gives updates no weight of their own: FedAvg and FedProx.
pub fn is_plain(algorithm: LocalAlgorithm) -> bool {
    matches!(
        algorithm,
        LocalAlgorithm::FedAvg | LocalAlgorithm::FedProx { .. }
    )
}

/// The options of local training that may exclude each other.
#[derive(Debug, Clone, Copy)]
pub struct LocalOptions<'a> {
    /// How the local objective is corrected.
    pub algorithm: LocalAlgorithm,
    /// What stays on the device, or differs by region or cluster.
    pub personalisation: Option<&'a Personalisation>,
    /// Momentum of a device's own updates, in [0, 1).
    pub momentum: f32,
    /// Whether the codec leaves values out and sends them later, as `topk` does.
    pub sparse: bool,
    /// Whether updates weigh by their number of examples, up to a cap.
    pub capped: bool,
}

/// Two options that exclude each other; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The algorithm's state or weight is that of a whole shared model.
    StateAndPersonalisation,
    /// The algorithm needs every update by itself.
    StateAndMomentum,
    /// A device's updates are of several models.
    ModelsAndMomentum,
    /// What is left out of one cluster's model would be added to another's.
    ClustersAndSparse,
    /// Updates are weighed by their loss already.
    LossesAndCap,
    /// Devices and server would move by different shares of a change.
    StateAndCap,
    /// The exact sum of weights tells of the data.
    WeightAndPrivacy,
    /// The cluster that a device picks tells of its data.
    ClustersAndPrivacy,
    /// State or weight would go beside the noise.
    StateAndLocalNoise,
    /// One round's update would be sent again in all rounds after it.
    MomentumAndLocalNoise,
    /// The weight tells the number of examples.
    CapAndLocalNoise,
    /// What was not noised would be sent later.
    SparseAndLocalNoise,
}

impl Conflict {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::StateAndPersonalisation,
        Self::StateAndMomentum,
        Self::ModelsAndMomentum,
        Self::ClustersAndSparse,
        Self::LossesAndCap,
        Self::StateAndCap,
        Self::WeightAndPrivacy,
        Self::ClustersAndPrivacy,
        Self::StateAndLocalNoise,
        Self::MomentumAndLocalNoise,
        Self::CapAndLocalNoise,
        Self::SparseAndLocalNoise,
    ];

    /// Whether it is one in a run of this mode.
    pub const fn applies(self, mode: PrivacyMode) -> bool {
        match self {
            Self::StateAndPersonalisation
            | Self::StateAndMomentum
            | Self::ModelsAndMomentum
            | Self::ClustersAndSparse
            | Self::LossesAndCap
            | Self::StateAndCap => true,
            Self::WeightAndPrivacy | Self::ClustersAndPrivacy => {
                matches!(mode, PrivacyMode::Dp | PrivacyMode::Local)
            }
            Self::StateAndLocalNoise
            | Self::MomentumAndLocalNoise
            | Self::CapAndLocalNoise
            | Self::SparseAndLocalNoise => matches!(mode, PrivacyMode::Local),
        }
    }
}

impl LocalOptions<'_> {
    /// Whether both options of a conflict are asked for. Those with privacy or with local noise are
    /// conflicts in such runs only: see [`Conflict::applies`].
    pub fn has(&self, conflict: Conflict) -> bool {
        let plain = is_plain(self.algorithm);
        let momentum = self.momentum > 0.0;
        let clusters = matches!(self.personalisation, Some(Personalisation::Ifca { .. }));
        match conflict {
            Conflict::StateAndPersonalisation => {
                self.personalisation.is_some() && !plain && !self.is_shared_whole()
            }
            Conflict::StateAndMomentum => momentum && !plain,
            Conflict::ModelsAndMomentum => momentum && self.has_several_models(),
            Conflict::ClustersAndSparse => clusters && self.sparse,
            Conflict::LossesAndCap => {
                self.capped && matches!(self.algorithm, LocalAlgorithm::QFedAvg { .. })
            }
            Conflict::StateAndCap => self.capped && self.has_two_halves(),
            Conflict::WeightAndPrivacy => matches!(
                self.algorithm,
                LocalAlgorithm::FedNova | LocalAlgorithm::QFedAvg { .. }
            ),
            Conflict::ClustersAndPrivacy => clusters,
            Conflict::StateAndLocalNoise => !plain,
            Conflict::MomentumAndLocalNoise => momentum,
            Conflict::CapAndLocalNoise => self.capped,
            Conflict::SparseAndLocalNoise => self.sparse,
        }
    }

    /// What excludes each other in a run of this mode.
    pub fn conflicts(&self, mode: PrivacyMode) -> impl Iterator<Item = Conflict> {
        Conflict::ALL
            .into_iter()
            .filter(move |conflict| conflict.applies(mode) && self.has(*conflict))
    }

    /// FedDyn keeps one gradient of the whole model: it suits models that are shared whole.
    fn is_shared_whole(&self) -> bool {
        matches!(
            (self.algorithm, self.personalisation),
            (
                LocalAlgorithm::FedDyn { .. },
                Some(Personalisation::Ditto { .. } | Personalisation::Apfl { .. })
            )
        )
    }

    fn has_several_models(&self) -> bool {
        matches!(
            self.personalisation,
            Some(Personalisation::Ifca { .. } | Personalisation::RegionHeads { .. })
        )
    }

    /// State that is kept on devices and server alike.
    fn has_two_halves(&self) -> bool {
        matches!(
            self.algorithm,
            LocalAlgorithm::Scaffold | LocalAlgorithm::FedDyn { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: LocalOptions<'_> = LocalOptions {
        algorithm: LocalAlgorithm::FedAvg,
        personalisation: None,
        momentum: 0.0,
        sparse: false,
        capped: false,
    };

    fn conflicts(options: LocalOptions<'_>, mode: PrivacyMode) -> Vec<Conflict> {
        options.conflicts(mode).collect()
    }

    #[test]
    fn plain_averaging_goes_with_every_mode_and_each_option_with_runs_without_privacy() {
        for mode in [PrivacyMode::None, PrivacyMode::Dp, PrivacyMode::Local] {
            assert_eq!(conflicts(PLAIN, mode), []);
        }
        for options in [
            LocalOptions {
                momentum: 0.9,
                ..PLAIN
            },
            LocalOptions {
                sparse: true,
                ..PLAIN
            },
            LocalOptions {
                capped: true,
                ..PLAIN
            },
        ] {
            assert_eq!(conflicts(options, PrivacyMode::None), []);
            assert_eq!(conflicts(options, PrivacyMode::Dp), []);
            assert_eq!(conflicts(options, PrivacyMode::Local).len(), 1);
        }
    }

    #[test]
    fn feddyn_goes_with_personal_models_beside_a_whole_shared_one_and_with_no_layers_kept_back() {
        let with = |personalisation: Personalisation| {
            let options = LocalOptions {
                algorithm: LocalAlgorithm::FedDyn { alpha: 1.0 },
                personalisation: Some(&personalisation),
                ..PLAIN
            };
            options.has(Conflict::StateAndPersonalisation)
        };
        assert!(!with(Personalisation::Ditto {
            lambda: 1.0,
            epochs: 1
        }));
        assert!(with(Personalisation::FedPer { layers: Vec::new() }));
        assert!(with(Personalisation::Ifca { clusters: 2 }));
    }
}
