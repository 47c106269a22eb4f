//! What models score on the kind of data that each device holds.
//!
//! Splits of single samples leave a device without held-out samples of its own. Its local accuracy is
//! then that on all held-out samples, class by class, weighted by the device's own mix of classes. A
//! device that holds one natural user's data is judged on that user's held-out samples.

use tributary_model::{FastEngine, Graph, accuracy};

use super::RunnerError;
use crate::data::{Dataset, Samples};

/// How each device is judged.
#[derive(Clone, Debug)]
pub struct LocalTests {
    /// Held-out samples apart: by class, or by user.
    groups: Vec<Samples>,
    /// For each device its share of each group; the shares add up to 1.
    shares: Vec<Vec<f64>>,
}

impl LocalTests {
    /// Devices judged by their mix of classes; `held` are the labels that each holds.
    pub fn by_class<'l>(data: &Dataset, held: impl Iterator<Item = &'l [u32]>) -> Self {
        let (labels, classes) = (&data.test.labels, data.classes);
        let of_class = |class: usize| -> Vec<usize> {
            let positions = labels.iter().enumerate();
            let here = positions.filter(|(_, label)| **label as usize == class);
            here.map(|(position, _)| position).collect()
        };
        let groups: Vec<Samples> = (0..classes)
            .map(|class| data.test.select(&of_class(class)))
            .collect();
        let shares = held.map(|labels| {
            let mut counts = vec![0.0; classes];
            for label in labels {
                // a class without held-out samples can't be judged
                if let Some(count) = counts.get_mut(*label as usize) {
                    *count += f64::from(!groups[*label as usize].is_empty());
                }
            }
            normalised(counts)
        });
        let shares = shares.collect();
        Self { groups, shares }
    }

    /// Devices judged on the held-out samples of the user whose data they hold.
    pub fn by_user(data: &Dataset, users: &[u32]) -> Self {
        let everyone = 0..data.users.len() as u32;
        let groups = everyone.map(|user| {
            let positions = data.test.positions_of(|other| other == user);
            data.test.select(&positions)
        });
        let groups: Vec<Samples> = groups.collect();
        let share = |user: &u32| {
            let mut counts = vec![0.0; groups.len()];
            if let Some(count) = counts.get_mut(*user as usize) {
                *count = f64::from(!groups[*user as usize].is_empty());
            }
            normalised(counts)
        };
        let shares = users.iter().map(share).collect();
        Self { groups, shares }
    }

    /// Mean local accuracy of the devices when all use `weights`.
    ///
    /// # Errors
    /// [`RunnerError::Model`] when the model does not take these samples.
    pub fn of_shared(&self, graph: &Graph, weights: &[f32]) -> Result<f64, RunnerError> {
        let scores = self.scores(graph, weights)?;
        let each = self.shares.iter().map(|shares| weigh(shares, &scores));
        Ok(mean(each))
    }

    /// Mean local accuracy of the devices that have a model of their own; none when no device has.
    ///
    /// # Errors
    /// [`RunnerError::Model`] when a model does not take these samples.
    pub fn of_personal(
        &self,
        graph: &Graph,
        models: &[Option<Vec<f32>>],
    ) -> Result<Option<f64>, RunnerError> {
        let mut each = Vec::with_capacity(models.len());
        for (shares, weights) in self.shares.iter().zip(models) {
            if let Some(weights) = weights {
                each.push(weigh(shares, &self.scores(graph, weights)?));
            }
        }
        Ok((!each.is_empty()).then(|| mean(each.iter().copied())))
    }

    /// Mean local accuracy when each device uses the model of its region, `regions[device]`.
    ///
    /// # Errors
    /// [`RunnerError::Model`] when a model does not take these samples.
    pub fn of_regions(
        &self,
        graph: &Graph,
        models: &[Vec<f32>],
        regions: &[usize],
    ) -> Result<f64, RunnerError> {
        let scores: Result<Vec<Vec<f64>>, RunnerError> = models
            .iter()
            .map(|weights| self.scores(graph, weights))
            .collect();
        let scores = scores?;
        let each = self.shares.iter().zip(regions);
        let each = each.map(|(shares, region)| {
            let scores = scores.get(*region);
            scores.map_or(0.0, |scores| weigh(shares, scores))
        });
        Ok(mean(each))
    }

    fn scores(&self, graph: &Graph, weights: &[f32]) -> Result<Vec<f64>, RunnerError> {
        let mut engine = FastEngine::new(graph);
        let mut score = |samples: &Samples| {
            if samples.is_empty() {
                return Ok(0.0);
            }
            let batch = tributary_model::Batch {
                inputs: &samples.inputs,
                labels: &samples.labels,
            };
            accuracy(&mut engine, weights, batch)
        };
        let scores: Result<Vec<f64>, _> = self.groups.iter().map(&mut score).collect();
        Ok(scores?)
    }
}

fn normalised(mut counts: Vec<f64>) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    if total > 0.0 {
        counts.iter_mut().for_each(|count| *count /= total);
    }
    counts
}

fn weigh(shares: &[f64], scores: &[f64]) -> f64 {
    shares.iter().zip(scores).map(|(a, b)| a * b).sum()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values {
        (sum, count) = (sum + value, count + 1);
    }
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use tributary_model::ModelSpec;

    use super::*;

    /// Three samples of class 0 and one of class 1.
    fn data() -> Dataset {
        Dataset {
            name: "tiny".to_owned(),
            shape: vec![2],
            classes: 2,
            users: Vec::new(),
            train: Samples::default(),
            test: Samples {
                inputs: vec![0.0; 8],
                labels: vec![0, 0, 0, 1],
                users: Vec::new(),
            },
        }
    }

    #[test]
    fn a_device_is_judged_by_its_own_mix_of_classes() {
        let graph = ModelSpec::perceptron("tiny", 2, &[], 2).graph().unwrap();
        let always_first = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let always_second = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let held: [&[u32]; 2] = [&[0, 0, 1, 1], &[1]];
        let tests = LocalTests::by_class(&data(), held.into_iter());
        assert_eq!(tests.of_shared(&graph, &always_first).unwrap(), 0.25);
        let own = [Some(always_first.to_vec()), Some(always_second.to_vec())];
        assert_eq!(tests.of_personal(&graph, &own).unwrap(), Some(0.75));
        assert_eq!(tests.of_personal(&graph, &[None, None]).unwrap(), None);
        let regions = [always_second.to_vec(), always_first.to_vec()];
        let judged = tests.of_regions(&graph, &regions, &[1, 0]).unwrap();
        assert_eq!(judged, 0.75);
    }
}
