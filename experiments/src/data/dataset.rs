//! The shape every loader produces.

use serde::{Deserialize, Serialize};

/// The arm that a device is worn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The right arm.
    Right,
    /// The left arm.
    Left,
}

impl std::fmt::Display for Side {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Side::Right => "right",
            Side::Left => "left",
        })
    }
}

/// A natural holder of data: one person wearing the sensor on one arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct User {
    /// Number of the person, as in the source.
    pub subject: u32,
    /// The arm.
    pub side: Side,
}

/// Labelled samples, row major, in the order of the source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Inputs, shape `[len, features]`, finite.
    pub inputs: Vec<f32>,
    /// Class of each sample, shape `[len]`, each below the number of classes.
    pub labels: Vec<u32>,
    /// Index into [`Dataset::users`] of each sample, shape `[len]`; empty when the set has no natural users.
    pub users: Vec<u32>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Values in one sample; 0 when there are no samples.
    pub fn features(&self) -> usize {
        self.inputs.len().checked_div(self.len()).unwrap_or(0)
    }

    /// The samples at `indices`, in that order, repeats included. Indices past the end are skipped.
    pub fn select(&self, indices: &[usize]) -> Samples {
        let features = self.features();
        let mut selected = Samples::default();
        for &index in indices.iter().filter(|&&index| index < self.len()) {
            selected
                .inputs
                .extend_from_slice(&self.inputs[index * features..][..features]);
            selected.labels.push(self.labels[index]);
            selected.users.extend(self.users.get(index));
        }
        selected
    }

    /// Positions of the samples whose user passes `keep`; none when the set has no natural users.
    pub fn positions_of(&self, mut keep: impl FnMut(u32) -> bool) -> Vec<usize> {
        (0..self.users.len())
            .filter(|&index| keep(self.users[index]))
            .collect()
    }
}

/// A data set, split into training and test samples that share no measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Short name, e.g. `watch`.
    pub name: String,
    /// Shape of one input, e.g. `[6, 25]` for 6 channels of 25 steps; `features()` is its product.
    pub shape: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Natural users; empty when the source does not name them.
    pub users: Vec<User>,
    /// Training samples.
    pub train: Samples,
    /// Held-out samples.
    pub test: Samples,
}

impl Dataset {
    /// Values in one input: the product of [`Dataset::shape`].
    pub fn features(&self) -> usize {
        self.shape.iter().product()
    }

    /// Test samples of the users that pass `keep`.
    pub fn test_of(&self, keep: impl Fn(User) -> bool) -> Samples {
        self.test.select(&self.positions(&self.test, keep))
    }

    /// Training samples of the users that pass `keep`.
    pub fn train_of(&self, keep: impl Fn(User) -> bool) -> Samples {
        self.train.select(&self.positions(&self.train, keep))
    }

    fn positions(&self, samples: &Samples, keep: impl Fn(User) -> bool) -> Vec<usize> {
        samples.positions_of(|user| {
            self.users
                .get(user as usize)
                .is_some_and(|&user| keep(user))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Samples {
        Samples {
            inputs: vec![1., 2., 3., 4., 5., 6.],
            labels: vec![0, 1, 2],
            users: vec![0, 1, 0],
        }
    }

    #[test]
    fn selected_rows_keep_their_label_and_user() {
        let chosen = three().select(&[2, 0, 9]);
        assert_eq!(chosen.inputs, [5., 6., 1., 2.]);
        assert_eq!(chosen.labels, [2, 0]);
        assert_eq!(chosen.users, [0, 0]);
    }

    #[test]
    fn an_empty_set_has_no_features_and_selects_nothing() {
        let empty = Samples::default();
        assert_eq!((empty.len(), empty.features()), (0, 0));
        assert_eq!(empty.select(&[0, 1]), empty);
    }

    #[test]
    fn samples_are_found_by_the_user_that_made_them() {
        let dataset = Dataset {
            name: "tiny".into(),
            shape: vec![2],
            classes: 3,
            users: vec![
                User {
                    subject: 1,
                    side: Side::Right,
                },
                User {
                    subject: 1,
                    side: Side::Left,
                },
            ],
            train: three(),
            test: three(),
        };
        assert_eq!(dataset.test_of(|user| user.side == Side::Left).labels, [1]);
        assert_eq!(
            dataset.train_of(|user| user.side == Side::Right).labels,
            [0, 2]
        );
    }
}
