//! What a device's update is made of, and how it becomes a step of the model again.

use std::sync::Arc;

use tributary_aggregator::{MAX_WEIGHT, WEIGHT_ONE};
use tributary_model::{Graph, LocalAlgorithm, Personalisation, named_parameters};

use tributary_recipe::TrainingSpec;

/// One unit of the weights that updates carry: 2^20, as on the wire.
pub const UNIT: u64 = WEIGHT_ONE;
/// Most steps that one update may claim: a million.
const MAX_STEPS: u64 = MAX_WEIGHT / WEIGHT_ONE;

/// The layout of the vector that is clipped, encoded and summed.
#[derive(Debug, Clone)]
pub struct PayloadLayout {
    parameters: usize,
    /// True where a parameter is sent; none when all are.
    sent: Option<Arc<[bool]>>,
    /// True where a parameter belongs to the region; none without regional heads.
    heads: Option<Arc<[bool]>>,
    has_control: bool,
    clusters: usize,
    weights: Weights,
}

/// Which weights updates carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    Uniform,
    /// Whatever is sent stands for 1: the number of examples must not show.
    Ignored,
    Examples,
    Losses,
    Steps {
        examples: bool,
        most: u64,
    },
}

impl PayloadLayout {
    /// The payload of a plan on a model.
    pub fn new(training: &TrainingSpec, graph: &Graph) -> Self {
        let personalisation = training.personalisation.as_ref();
        let named = |layers: &[String], is: bool| -> Arc<[bool]> {
            let named = named_parameters(graph, layers);
            named.into_iter().map(|name| name == is).collect()
        };
        let kept = personalisation.map_or(&[][..], Personalisation::personal_layers);
        let heads = match personalisation {
            Some(Personalisation::RegionHeads { layers }) => Some(named(layers, true)),
            _ => None,
        };
        let clusters = match personalisation {
            Some(Personalisation::Ifca { clusters }) => *clusters as usize,
            _ => 1,
        };
        let examples = training.examples_cap.is_some();
        let weights = match training.algorithm {
            LocalAlgorithm::FedNova => Weights::Steps {
                examples,
                most: match training.max_steps {
                    0 => MAX_STEPS,
                    most => most.into(),
                },
            },
            LocalAlgorithm::QFedAvg { .. } => Weights::Losses,
            _ if examples => Weights::Examples,
            _ => Weights::Uniform,
        };
        Self {
            parameters: graph.layout().len(),
            sent: (!kept.is_empty()).then(|| named(kept, false)),
            heads,
            has_control: training.algorithm == LocalAlgorithm::Scaffold,
            clusters,
            weights,
        }
    }

    /// Reads neither weights nor work from headers: what a run with privacy does.
    pub fn ignore_weights(&mut self) {
        self.weights = Weights::Ignored;
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        let sent = self.sent.as_ref();
        let delta = sent.map_or(self.parameters, |sent| {
            sent.iter().filter(|is_sent| **is_sent).count()
        });
        if self.has_control { 2 * delta } else { delta }
    }

    /// Number of parameters of the model.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Number of models that devices choose from; 1 without clusters.
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// True where a parameter belongs to the region.
    pub fn heads(&self) -> Option<&[bool]> {
        self.heads.as_deref()
    }

    /// Whether a change of a control variate follows the delta.
    pub fn has_control(&self) -> bool {
        self.has_control
    }

    /// The step of all parameters, and of the control variate, from a mean payload.
    pub fn expand(&self, mut payload: Vec<f32>) -> (Vec<f32>, Option<Vec<f32>>) {
        let control = self
            .has_control
            .then(|| payload.split_off(payload.len() / 2));
        let Some(sent) = &self.sent else {
            return (payload, control);
        };
        let mut values = payload.into_iter();
        let step = |&is_sent: &bool| {
            if is_sent {
                values.next().unwrap_or(0.0)
            } else {
                0.0
            }
        };
        (sent.iter().map(step).collect(), control)
    }

    /// The weight and work of an update, in units, from its header.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn weigh(&self, weight: u64, work: u64, cluster: u32) -> Result<(u64, u64), &'static str> {
        if cluster as usize >= self.clusters {
            return Err("cluster is out of range: send the index of an assigned model");
        }
        let most = match self.weights {
            Weights::Ignored => return Ok((UNIT, 0)),
            Weights::Losses => MAX_WEIGHT,
            _ => UNIT,
        };
        let weighted = !matches!(
            self.weights,
            Weights::Uniform
                | Weights::Steps {
                    examples: false,
                    ..
                }
        );
        let weight = match weight {
            0 if !weighted => UNIT,
            UNIT if !weighted => UNIT,
            _ if !weighted => {
                return Err("weight is set, but the plan weights all alike: send 0");
            }
            0 => return Err("weight is missing: the plan wants one, in units of 2^-20"),
            weight if weight > most => {
                return Err("weight is above the plan's largest: lower it");
            }
            weight => weight,
        };
        match (self.weights, work) {
            (Weights::Steps { most, .. }, work) => {
                // at least one step, and no more than the plan allows
                if work < weight || work / weight > most {
                    return Err(
                        "work is not weight times the number of local steps, in units of 2^-20",
                    );
                }
                Ok((weight, work))
            }
            (_, 0) => Ok((weight, 0)),
            _ => Err("work is set, but the plan does not ask for it: send 0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::plain_spec;
    use tributary_recipe::ModelSource;

    fn payload(change: impl FnOnce(&mut TrainingSpec)) -> PayloadLayout {
        let mut spec = plain_spec();
        change(&mut spec.training);
        let ModelSource::Architecture(model) = &spec.model else {
            unreachable!("the fixture has an architecture")
        };
        PayloadLayout::new(&spec.training, &model.graph().unwrap())
    }

    #[test]
    fn a_plain_payload_is_the_delta() {
        let plain = payload(|_| {});
        assert_eq!((plain.len(), plain.clusters()), (15, 1));
        let values: Vec<f32> = (0..15u8).map(f32::from).collect();
        assert_eq!(plain.expand(values.clone()), (values, None));
    }

    #[test]
    fn scaffold_sends_two_vectors_and_fedper_leaves_out_what_is_personal() {
        let scaffold = payload(|training| training.algorithm = LocalAlgorithm::Scaffold);
        assert_eq!(scaffold.len(), 30);
        let (step, control) = scaffold.expand((0..30u8).map(f32::from).collect());
        assert_eq!((step[14], control.unwrap()[0]), (14.0, 15.0));
        let layers = vec!["0.dense.bias".to_owned()];
        let fedper = payload(|training| {
            training.personalisation = Some(Personalisation::FedPer { layers });
        });
        assert_eq!(fedper.len(), 12);
        let (step, _) = fedper.expand(vec![1.0; 12]);
        assert_eq!(
            (step[..12].to_vec(), step[12..].to_vec()),
            (vec![1.0; 12], vec![0.0; 3])
        );
    }

    #[test]
    fn under_privacy_a_header_says_nothing_of_the_number_of_examples() {
        let mut examples = payload(|training| training.examples_cap = Some(10));
        examples.ignore_weights();
        for (weight, work) in [(0, 0), (UNIT / 2, 0), (u64::MAX, u64::MAX)] {
            assert_eq!(examples.weigh(weight, work, 0), Ok((UNIT, 0)));
        }
        assert!(examples.weigh(0, 0, 1).is_err(), "there is no such cluster");
    }

    #[test]
    fn weights_that_the_plan_does_not_ask_for_are_refused() {
        let plain = payload(|_| {});
        assert_eq!(plain.weigh(0, 0, 0), Ok((UNIT, 0)));
        assert!(plain.weigh(2 * UNIT, 0, 0).is_err());
        assert!(plain.weigh(0, 1, 0).is_err() && plain.weigh(0, 0, 1).is_err());
        let examples = payload(|training| training.examples_cap = Some(10));
        assert_eq!(examples.weigh(UNIT / 2, 0, 0), Ok((UNIT / 2, 0)));
        assert!(examples.weigh(0, 0, 0).is_err() && examples.weigh(UNIT + 1, 0, 0).is_err());
        let nova = payload(|training| training.algorithm = LocalAlgorithm::FedNova);
        assert_eq!(nova.weigh(0, 7 * UNIT, 0), Ok((UNIT, 7 * UNIT)));
        assert!(nova.weigh(0, 0, 0).is_err() && nova.weigh(0, u64::MAX, 0).is_err());
        let short = payload(|training| {
            training.algorithm = LocalAlgorithm::FedNova;
            training.max_steps = 5;
        });
        assert_eq!(short.weigh(0, 5 * UNIT, 0), Ok((UNIT, 5 * UNIT)));
        assert!(short.weigh(0, 6 * UNIT, 0).is_err() && short.weigh(0, UNIT / 2, 0).is_err());
    }
}
