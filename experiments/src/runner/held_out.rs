//! Held-out samples by region, and what models score on them.

use tributary_model::quant::{Int8Model, Int8Scratch};
use tributary_model::{Batch, FastEngine, ModelFile, accuracy};

use super::RunnerError;
use crate::data::Samples;

/// Samples that no device trains on, by region.
#[derive(Clone, Debug)]
pub struct HeldOut {
    regions: Vec<(String, Samples)>,
}

/// Share of the samples that a model classifies as labelled, 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Over all samples.
    pub overall: f64,
    /// By region, in the order of the held-out set.
    pub by_region: Vec<f64>,
}

impl HeldOut {
    /// A held-out set.
    ///
    /// # Errors
    /// [`RunnerError::Setting`] for a region without samples: nothing could be said about it.
    pub fn new(regions: Vec<(String, Samples)>) -> Result<Self, RunnerError> {
        match regions.iter().find(|(_, samples)| samples.is_empty()) {
            Some((region, _)) => Err(RunnerError::setting(
                format!("held-out samples of {region}"),
                "are none",
                "choose another split or partition",
            )),
            None => Ok(Self { regions }),
        }
    }

    /// Names of the regions.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.iter().map(|(region, _)| region.as_str())
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.regions.iter().map(|(_, samples)| samples.len()).sum()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a model scores.
    ///
    /// # Errors
    /// [`RunnerError::Model`] when it does not take these samples.
    pub fn score(&self, file: &ModelFile) -> Result<Score, RunnerError> {
        let graph = file.spec.graph()?;
        let mut engine = FastEngine::new(&graph);
        self.weighted(|samples| {
            let batch = Batch {
                inputs: &samples.inputs,
                labels: &samples.labels,
            };
            Ok(accuracy(&mut engine, &file.weights, batch)?)
        })
    }

    /// What an int8 build scores, run by the integer interpreter.
    ///
    /// # Errors
    /// [`RunnerError::Model`] when it does not take these samples.
    pub fn score_int8(&self, model: &Int8Model) -> Result<Score, RunnerError> {
        let mut scratch = Int8Scratch::default();
        self.weighted(|samples| {
            Ok(model.accuracy(&samples.inputs, &samples.labels, &mut scratch)?)
        })
    }

    fn weighted(
        &self,
        mut of: impl FnMut(&Samples) -> Result<f64, RunnerError>,
    ) -> Result<Score, RunnerError> {
        let mut score = Score::default();
        for (_, samples) in &self.regions {
            let accuracy = of(samples)?;
            score.overall += accuracy * samples.len() as f64 / self.len() as f64;
            score.by_region.push(accuracy);
        }
        Ok(score)
    }
}

#[cfg(test)]
mod tests {
    use tributary_model::{ModelSpec, initialise};

    use super::*;

    fn samples(labels: Vec<u32>) -> Samples {
        let inputs = labels
            .iter()
            .flat_map(|&label| [label as f32, 1.0])
            .collect();
        Samples {
            inputs,
            labels,
            users: Vec::new(),
        }
    }

    #[test]
    fn the_overall_score_weighs_regions_by_their_samples() {
        let spec = ModelSpec::perceptron("tiny", 2, &[], 2);
        let mut weights = initialise(&spec.graph().unwrap(), [0; 32]);
        // always class 0: weights [2, 2], then two biases
        weights.copy_from_slice(&[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let regions = vec![
            ("a".to_owned(), samples(vec![0, 0, 0, 1])),
            ("b".to_owned(), samples(vec![1])),
        ];
        let score = HeldOut::new(regions)
            .unwrap()
            .score(&ModelFile { spec, weights })
            .unwrap();
        assert_eq!(score.by_region, [0.75, 0.0]);
        assert!((score.overall - 0.6).abs() < 1e-12);
    }

    #[test]
    fn a_region_without_samples_is_named() {
        let error = HeldOut::new(vec![("west".to_owned(), Samples::default())]).unwrap_err();
        assert!(error.to_string().contains("west"), "{error}");
    }
}
