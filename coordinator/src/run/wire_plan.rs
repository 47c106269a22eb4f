//! A plan as devices are sent it.

use tributary_model::{LocalAlgorithm, Personalisation};
use tributary_proto::v1::{self, local_algorithm, personalisation};

use super::Format;
use tributary_recipe::{PrivacyMode, RoundSpec, RunSpec};

/// The plan of a round with this clip, for a model of so many parameters.
pub fn training_plan(
    spec: &RunSpec,
    (round, clip): (u32, f32),
    format: &Format,
    seed: Vec<u8>,
) -> v1::TrainingPlan {
    let training = &spec.training;
    let local = spec.privacy.mode == PrivacyMode::Local;
    v1::TrainingPlan {
        task: spec.task.clone(),
        epochs: training.epochs,
        batch_size: training.batch_size,
        learning_rate: training.learning_rate,
        clip,
        codec: format.codec.to_string(),
        simulation_seed: seed.into(),
        parameters: format.payload.parameters() as u64,
        max_steps: training.max_steps,
        momentum: training.momentum,
        algorithm: algorithm(training.algorithm),
        personalisation: training.personalisation.as_ref().and_then(personal),
        examples_cap: training.examples_cap.unwrap_or(0),
        local_noise_multiplier: if local {
            spec.privacy.noise_multiplier
        } else {
            0.0
        },
        wire_clip: if local { format.fixed.clip() } else { 0.0 },
        report_within_clip: spec.privacy.moves_clip(round),
        participation: participation(&spec.rounds),
        answer_window: spec.privacy.answer_window(spec.rounds.deadline_ms),
    }
}

/// What a device keeps count of by itself; none where nothing is limited.
fn participation(rounds: &RoundSpec) -> Option<v1::ParticipationLimit> {
    let limit = v1::ParticipationLimit {
        max_participations: match rounds.max_participations {
            u32::MAX => 0,
            most => most,
        },
        min_separation: match rounds.min_separation {
            1 => 0,
            separation => separation,
        },
        min_interval_ms: rounds.min_interval_ms,
    };
    (limit != v1::ParticipationLimit::default()).then_some(limit)
}

fn algorithm(algorithm: LocalAlgorithm) -> Option<v1::LocalAlgorithm> {
    use local_algorithm::Kind;
    let kind = match algorithm {
        LocalAlgorithm::FedAvg => return None,
        LocalAlgorithm::FedProx { mu } => Kind::Fedprox(v1::FedProx { mu }),
        LocalAlgorithm::Scaffold => Kind::Scaffold(v1::Scaffold {}),
        LocalAlgorithm::FedNova => Kind::Fednova(v1::FedNova {}),
        LocalAlgorithm::FedDyn { alpha } => Kind::Feddyn(v1::FedDyn { alpha }),
        LocalAlgorithm::QFedAvg { q } => Kind::Qfedavg(v1::QFedAvg { q }),
    };
    Some(v1::LocalAlgorithm { kind: Some(kind) })
}

/// Regional heads need nothing on the device: it gets its region's model.
fn personal(method: &Personalisation) -> Option<v1::Personalisation> {
    use personalisation::Kind;
    let layers = |layers: &[String], head_epochs| v1::PersonalLayers {
        layers: layers.to_vec(),
        head_epochs,
    };
    let kind = match method {
        Personalisation::FedPer { layers: names } => Kind::Fedper(layers(names, 0)),
        Personalisation::FedRep {
            layers: names,
            head_epochs,
        } => Kind::Fedrep(layers(names, *head_epochs)),
        Personalisation::Ditto { lambda, epochs } => Kind::Ditto(v1::Ditto {
            lambda: *lambda,
            epochs: *epochs,
        }),
        Personalisation::Apfl { alpha, adaptive } => Kind::Apfl(v1::Apfl {
            alpha: *alpha,
            adaptive: *adaptive,
        }),
        Personalisation::RegionHeads { .. } => return None,
        Personalisation::Ifca { .. } => Kind::Ifca(v1::Ifca {}),
    };
    Some(v1::Personalisation { kind: Some(kind) })
}
