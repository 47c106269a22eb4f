//! The flags that describe a plan, and what they may not say together.

use std::fmt;

use clap::{Args, ValueEnum};
use tributary_privacy::ftrl::{FtrlError, Participation};

use crate::exit::{Exit, Failure};

/// What a plan is, but for its noise.
#[derive(Debug, Clone, Args)]
pub struct PlanFlags {
    /// Rounds of the run
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Probability that the guarantee may fail
    #[arg(long, value_name = "D", value_parser = probability)]
    pub delta: f64,
    /// How the devices of a round are drawn
    #[arg(long, value_enum, default_value = "none")]
    pub sampling: SamplingFlag,
    /// Probability that a device is in a round (poisson)
    #[arg(long, value_name = "Q", value_parser = rate)]
    pub rate: Option<f64>,
    /// Devices in a round (fixed)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Devices in all (fixed)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub population: Option<u64>,
    /// How the noise of the rounds hangs together
    #[arg(long, value_enum, default_value = "independent")]
    pub mechanism: MechanismFlag,
    /// Rounds that one device is in at the most; default as many as the separation allows
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub participations: Option<u32>,
    /// A device in round t is in round t + B again at the earliest; default 1
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    pub separation: Option<u32>,
}

/// How the devices of a round are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SamplingFlag {
    /// By nobody's coin: devices check in on their own
    None,
    /// Each with the same probability, by the coordinator's secret coin
    Poisson,
    /// A set of fixed size, by the coordinator's secret coin
    Fixed,
}

/// How the noise of the rounds hangs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MechanismFlag {
    /// Fresh noise in every round
    Independent,
    /// DP-FTRL by a buffered linear Toeplitz matrix
    Blt,
    /// DP-FTRL by a binary tree
    Tree,
}

/// A checked plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Probability that the guarantee may fail.
    pub delta: f64,
    /// Rounds, and the limits on a device.
    pub participation: Participation,
    /// What is done in each round.
    pub kind: Kind,
}

/// The kinds of plans that have an accountant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Fresh noise, nobody is sampled.
    Independent,
    /// Noise correlated by a BLT.
    Blt,
    /// Noise correlated by a tree.
    Tree,
    /// Fresh noise on Poisson samples of this rate.
    Poisson(f64),
    /// Fresh noise on `sample` of `population` devices.
    Fixed {
        /// Devices in a round.
        sample: u64,
        /// Devices in all.
        population: u64,
    },
}

/// Why flags are no plan.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanError {
    /// A flag that another one makes necessary is absent.
    Missing {
        /// The absent flag.
        flag: &'static str,
        /// What needs it.
        because: &'static str,
    },
    /// A flag that means nothing beside another one.
    Idle {
        /// The flag.
        flag: &'static str,
        /// What it is given with, and what to do.
        beside: &'static str,
    },
    /// More devices in a round than there are.
    Sample {
        /// `--sample`
        sample: u64,
        /// `--population`
        population: u64,
    },
    /// The limits on a device make no sense.
    Limits(FtrlError),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { flag, because } => write!(f, "{flag} is missing: {because} needs it"),
            Self::Idle { flag, beside } => write!(f, "{flag} has no meaning {beside}"),
            Self::Sample { sample, population } => write!(
                f,
                "--sample is {sample}, more than the --population of {population}: draw at most all"
            ),
            Self::Limits(error) => write!(f, "--rounds, --participations, --separation: {error}"),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl PlanFlags {
    /// The plan that the flags describe.
    ///
    /// # Errors
    /// For a flag that is missing, means nothing beside the others, or contradicts them.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        let kind = self.kind()?;
        let separation = self.separation.unwrap_or(1);
        let most = self.participations.unwrap_or(self.rounds);
        let limits = Participation::new(self.rounds, most, separation);
        let participation = limits.map_err(PlanError::Limits)?;
        Ok(Plan {
            delta: self.delta,
            participation,
            kind,
        })
    }

    fn kind(&self) -> Result<Kind, PlanError> {
        let idle = |flag, beside| Err(PlanError::Idle { flag, beside });
        if self.sampling != SamplingFlag::Poisson && self.rate.is_some() {
            return idle("--rate", "without --sampling poisson: add that");
        }
        if self.sampling != SamplingFlag::Fixed {
            let flags = [("--sample", self.sample), ("--population", self.population)];
            if let Some((flag, _)) = flags.iter().find(|(_, given)| given.is_some()) {
                return idle(flag, "without --sampling fixed: add that");
            }
        }
        if self.sampling != SamplingFlag::None {
            if self.mechanism != MechanismFlag::Independent {
                let beside = "with --mechanism blt or tree, whose guarantee assumes none: drop one";
                return idle("--sampling", beside);
            }
            let limits = [
                ("--participations", self.participations),
                ("--separation", self.separation),
            ];
            if let Some((flag, _)) = limits.iter().find(|(_, given)| given.is_some()) {
                return idle(flag, "with --sampling, where the coin decides: drop one");
            }
        }
        match self.sampling {
            SamplingFlag::None => Ok(match self.mechanism {
                MechanismFlag::Independent => Kind::Independent,
                MechanismFlag::Blt => Kind::Blt,
                MechanismFlag::Tree => Kind::Tree,
            }),
            SamplingFlag::Poisson => {
                let because = "--sampling poisson";
                let flag = "--rate";
                let rate = self.rate.ok_or(PlanError::Missing { flag, because })?;
                Ok(Kind::Poisson(rate))
            }
            SamplingFlag::Fixed => {
                let because = "--sampling fixed";
                let needed =
                    |flag, given: Option<u64>| given.ok_or(PlanError::Missing { flag, because });
                let sample = needed("--sample", self.sample)?;
                let population = needed("--population", self.population)?;
                if sample > population {
                    return Err(PlanError::Sample { sample, population });
                }
                Ok(Kind::Fixed { sample, population })
            }
        }
    }
}

/// A finite number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    match number.is_finite() && number > 0.0 {
        true => Ok(number),
        false => Err("it must be finite and above 0".to_owned()),
    }
}

/// An epsilon that says something: recipes take none above it either.
pub fn epsilon_flag(text: &str) -> Result<f64, String> {
    within(positive(text)?, 1e-9, 1e3)
}

/// A standard deviation of noise over the clip that a run could add.
pub fn multiplier_flag(text: &str) -> Result<f64, String> {
    within(positive(text)?, 1e-6, 1e6)
}

fn within(number: f64, least: f64, most: f64) -> Result<f64, String> {
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!("it must lie between {least:e} and {most:e}")),
    }
}

/// A number strictly between 0 and 1.
pub fn probability(text: &str) -> Result<f64, String> {
    match positive(text) {
        Ok(number) if number < 1.0 => Ok(number),
        _ => Err("it must lie strictly between 0 and 1, well below 1 / devices".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match positive(text) {
        Ok(number) if number <= 1.0 => Ok(number),
        _ => Err("it must lie above 0 and at most at 1: devices per round / devices".to_owned()),
    }
}
