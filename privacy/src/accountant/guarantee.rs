//! An epsilon with everything that is needed to read it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Adjacency, FixedSizeGaussian, PoissonGaussian};

/// What ran, how often, and how its devices were chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoisyRun {
    /// Gaussian noise in every step on all devices.
    Gaussian {
        /// Standard deviation of the noise over the sensitivity.
        noise_multiplier: f64,
        /// Number of steps.
        steps: u64,
    },
    /// Gaussian noise in every step on a Poisson sample.
    Poisson {
        /// Sampling and noise of a step.
        step: PoissonGaussian,
        /// Number of steps.
        steps: u64,
    },
    /// Gaussian noise in every step on a sample of fixed size.
    FixedSize {
        /// Sampling and noise of a step.
        step: FixedSizeGaussian,
        /// Number of steps.
        steps: u64,
    },
    /// Gaussian noise on the nodes of a binary tree over the steps; each device takes part once.
    Tree {
        /// Standard deviation of a node's noise over the clip.
        noise_multiplier: f64,
        /// Number of steps.
        steps: u64,
    },
    /// Several runs, one after another.
    Several(Vec<NoisyRun>),
}

/// The argument behind an epsilon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accountant {
    /// Renyi differential privacy, converted at the order that gives the least.
    Rdp {
        /// That order.
        order: f64,
    },
    /// The privacy loss distribution on a grid, rounded against the claim.
    Pld {
        /// Step between losses.
        grid: f64,
    },
}

/// (epsilon, delta) of a run, for the adjacency it holds for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guarantee {
    /// Upper bound of the loss.
    pub epsilon: f64,
    /// The probability that the bound may fail.
    pub delta: f64,
    /// Which fleets the guarantee compares.
    pub adjacency: Adjacency,
    /// What ran.
    pub mechanism: NoisyRun,
    /// How it was proven.
    pub accountant: Accountant,
}

/// A count with its noun.
struct Steps(u64);

impl fmt::Display for Steps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0 == 1 { "step" } else { "steps" };
        write!(formatter, "{} {noun}", self.0)
    }
}

impl fmt::Display for NoisyRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gaussian {
                noise_multiplier,
                steps,
            } => write!(
                formatter,
                "{} of Gaussian noise {noise_multiplier} times the sensitivity on all devices",
                Steps(*steps)
            ),
            Self::Poisson { step, steps } => write!(
                formatter,
                "{} of Gaussian noise {} times the clip on Poisson samples of rate {}",
                Steps(*steps),
                step.noise_multiplier(),
                step.sampling_rate()
            ),
            Self::FixedSize { step, steps } => write!(
                formatter,
                "{} of Gaussian noise {} times the sensitivity 2C on samples of {} of {} \
                 devices",
                Steps(*steps),
                step.noise_multiplier(),
                step.sample(),
                step.population()
            ),
            Self::Tree {
                noise_multiplier,
                steps,
            } => write!(
                formatter,
                "a tree over {} of Gaussian noise {noise_multiplier} times the clip with \
                 one participation per device",
                Steps(*steps)
            ),
            Self::Several(runs) => {
                for (index, run) in runs.iter().enumerate() {
                    let joint = if index == 0 { "" } else { ", then " };
                    write!(formatter, "{joint}{run}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Accountant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rdp { order } => write!(formatter, "RDP of order {order}"),
            Self::Pld { grid } => write!(
                formatter,
                "privacy loss distribution on a grid of {grid:e}, rounded up"
            ),
        }
    }
}

impl fmt::Display for Guarantee {
    /// One sentence; epsilon is rounded up to four decimals.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "epsilon {:.4} at delta {:e} ({}) for {}, by {}",
            (self.epsilon * 1e4).ceil() / 1e4,
            self.delta,
            self.adjacency.words(),
            self.mechanism,
            self.accountant
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarantee_is_one_sentence_that_leaves_nothing_out() {
        let guarantee = Guarantee {
            epsilon: 5.192_61,
            delta: 1e-5,
            adjacency: Adjacency::AddOrRemoveDevice,
            mechanism: NoisyRun::Several(vec![
                NoisyRun::Poisson {
                    step: PoissonGaussian::new(0.01, 1.1).unwrap(),
                    steps: 10_000,
                },
                NoisyRun::Gaussian {
                    noise_multiplier: 4.0,
                    steps: 1,
                },
            ]),
            accountant: Accountant::Rdp { order: 4.7 },
        };
        assert_eq!(
            guarantee.to_string(),
            "epsilon 5.1927 at delta 1e-5 (add or remove one device) for 10000 steps of Gaussian \
             noise 1.1 times the clip on Poisson samples of rate 0.01, then 1 step of Gaussian \
             noise 4 times the sensitivity on all devices, by RDP of order 4.7"
        );
        let text = serde_json::to_string(&guarantee).unwrap();
        assert_eq!(serde_json::from_str::<Guarantee>(&text).unwrap(), guarantee);
    }
}
