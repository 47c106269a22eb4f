//! The algorithm and the personalisation that a plan asks for, as they travel.

use tributary_model::{LocalAlgorithm, MAX_CLUSTERS, Personalisation};
use tributary_proto::v1;
use tributary_proto::v1::Assignment;
use tributary_proto::v1::local_algorithm::Kind as AlgorithmKind;
use tributary_proto::v1::personalisation::Kind as PersonalKind;

use crate::training::error::TrainingError;

/// The algorithm of a plan; FedAvg when it names none.
pub(crate) fn algorithm(
    message: Option<&v1::LocalAlgorithm>,
) -> Result<LocalAlgorithm, TrainingError> {
    let Some(message) = message else {
        return Ok(LocalAlgorithm::FedAvg);
    };
    Ok(match &message.kind {
        Some(AlgorithmKind::Fedprox(fedprox)) => LocalAlgorithm::FedProx { mu: fedprox.mu },
        Some(AlgorithmKind::Scaffold(_)) => LocalAlgorithm::Scaffold,
        Some(AlgorithmKind::Feddyn(feddyn)) => LocalAlgorithm::FedDyn {
            alpha: feddyn.alpha,
        },
        Some(AlgorithmKind::Fednova(_)) => LocalAlgorithm::FedNova,
        Some(AlgorithmKind::Qfedavg(qfedavg)) => LocalAlgorithm::QFedAvg { q: qfedavg.q },
        None => {
            return Err(TrainingError::plan(
                "algorithm",
                "is not known to this device; update it",
            ));
        }
    })
}

/// The personalisation of a plan. Clusters are as many as the assignment has models.
pub(crate) fn personalisation(
    message: Option<&v1::Personalisation>,
    assignment: &Assignment,
) -> Result<Option<Personalisation>, TrainingError> {
    let Some(message) = message else {
        return Ok(None);
    };
    Ok(Some(match &message.kind {
        Some(PersonalKind::Fedper(fedper)) => Personalisation::FedPer {
            layers: fedper.layers.clone(),
        },
        Some(PersonalKind::Fedrep(fedrep)) => Personalisation::FedRep {
            layers: fedrep.layers.clone(),
            head_epochs: fedrep.head_epochs,
        },
        Some(PersonalKind::Ditto(ditto)) => Personalisation::Ditto {
            lambda: ditto.lambda,
            epochs: ditto.epochs,
        },
        Some(PersonalKind::Apfl(apfl)) => Personalisation::Apfl {
            alpha: apfl.alpha,
            adaptive: apfl.adaptive,
        },
        Some(PersonalKind::Ifca(_)) => Personalisation::Ifca {
            clusters: clusters(assignment)?,
        },
        None => {
            let problem = "is not known to this device; update it";
            return Err(TrainingError::plan("personalisation", problem));
        }
    }))
}

fn clusters(assignment: &Assignment) -> Result<u32, TrainingError> {
    let models = &assignment.auxiliary_digests;
    if !(2..=MAX_CLUSTERS as usize).contains(&models.len()) {
        let problem = "must hold 2 to 16 model versions, one per cluster";
        return Err(TrainingError::plan("auxiliary_digests", problem));
    }
    if models[0] != assignment.model_digest {
        let problem = "must begin with the assignment's model_digest";
        return Err(TrainingError::plan("auxiliary_digests", problem));
    }
    Ok(models.len() as u32)
}
