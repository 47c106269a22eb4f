//! What is said about privacy wherever an epsilon is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AccountingError, epsilon_cks20, epsilon_gaussian, epsilon_opendp};
use crate::rho::Rho;

/// Relative difference between two conversions that rounding explains.
const CONVERSION_TOLERANCE: f64 = 1e-6;

/// Up to this rho (epsilon in the thousands) opendp can convert; beyond it its arithmetic overflows.
const LARGEST_COMPARED: Rho = Rho::from_pico(1_000 * 1_000_000_000_000);

/// Which two fleets the guarantee can't tell apart. The privacy unit is the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjacency {
    /// One device more or less, its participation being secret: sensitivity C. Only where the
    /// coordinator draws the devices of a round by secret coins, as simulations can.
    AddOrRemoveDevice,
    /// One device's data exchanged for others: sensitivity 2 C. Of noise that devices add.
    ReplaceDevice,
    /// One device's contribution replaced by zeros, participation being public: sensitivity C. Of
    /// noise that the coordinator adds to a sum.
    ZeroOutDevice,
}

/// Where the guarantee comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// Fresh discrete Gaussian noise in every release, composed in zCDP, no amplification claimed.
    DiscreteGaussian,
    /// Noise that is correlated over the rounds by a buffered linear Toeplitz matrix (DP-FTRL).
    CorrelatedBlt,
    /// Noise that is correlated over the rounds by a binary tree (DP-FTRL).
    CorrelatedTree,
    /// Discrete Gaussian noise that every device adds itself, against the coordinator too.
    LocalGaussian,
    /// Noise from a fixed seed: the arithmetic is real, the privacy is not.
    SeededNotPrivate,
    /// Noise, on devices whose earlier spending was lost with a data folder: what they lose in all is not
    /// known.
    RestoredNotPrivate,
    /// No noise at all.
    None,
}

/// An epsilon with everything that is needed to read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivacyStatement {
    /// The proven epsilon at `delta` (CKS20 conversion of `rho`); absent without noise.
    pub epsilon: Option<f64>,
    /// The epsilon of the curve of the continuous Gaussian at the same `rho`: tighter, but no bound for
    /// integer noise of a few units, as on votes. Never the headline; absent without noise.
    pub epsilon_gaussian: Option<f64>,
    /// The probability that the guarantee allows to fail.
    pub delta: f64,
    /// All charges so far, as a number (the ledger keeps the integer).
    pub rho: f64,
    /// Which fleets the guarantee compares.
    pub adjacency: Adjacency,
    /// Where the guarantee comes from.
    pub mechanism: Mechanism,
}

impl PrivacyStatement {
    /// The statement for a total charge of `rho` at `delta`.
    ///
    /// The headline epsilon is the larger of our conversion and that of opendp.
    ///
    /// # Errors
    /// [`AccountingError::BadDelta`]; [`AccountingError::ConversionsDisagree`] when the two differ
    /// by more than a millionth; [`AccountingError::OpenDp`].
    pub fn new(
        rho: Rho,
        delta: f64,
        adjacency: Adjacency,
        mechanism: Mechanism,
    ) -> Result<Self, AccountingError> {
        super::check_delta(delta)?;
        let noised = mechanism != Mechanism::None;
        let (epsilon, epsilon_gaussian) = if noised {
            (
                Some(checked_epsilon(rho, delta)?),
                Some(epsilon_gaussian(rho, delta)?),
            )
        } else {
            (None, None)
        };
        Ok(Self {
            epsilon,
            epsilon_gaussian,
            delta,
            rho: rho.as_f64(),
            adjacency,
            mechanism,
        })
    }
}

/// Both conversions, compared; ours alone where opendp has none.
fn checked_epsilon(rho: Rho, delta: f64) -> Result<f64, AccountingError> {
    let ours = epsilon_cks20(rho, delta)?;
    if rho > LARGEST_COMPARED {
        return Ok(ours);
    }
    let opendp = epsilon_opendp(rho, delta)?;
    // the floor keeps an epsilon of almost nothing from failing on its last digits
    if (ours - opendp).abs() > CONVERSION_TOLERANCE * ours.max(1e-3) {
        return Err(AccountingError::ConversionsDisagree { rho, ours, opendp });
    }
    Ok(ours.max(opendp))
}

impl Adjacency {
    /// The name in answers and files, the words joined by hyphens.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddOrRemoveDevice => "add-or-remove-one-device",
            Self::ReplaceDevice => "replace-one-device",
            Self::ZeroOutDevice => "zero-out-one-device",
        }
    }

    /// The same as words, for sentences.
    pub fn words(self) -> &'static str {
        match self {
            Self::AddOrRemoveDevice => "add or remove one device",
            Self::ReplaceDevice => "replace one device",
            Self::ZeroOutDevice => "zero out one device",
        }
    }
}

impl Mechanism {
    /// True when the noise keeps a secret: there is some, and nobody knows its seed.
    pub fn is_private(self) -> bool {
        !matches!(
            self,
            Self::None | Self::SeededNotPrivate | Self::RestoredNotPrivate
        )
    }

    /// The text used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiscreteGaussian => "discrete Gaussian, zCDP composition, no amplification",
            Self::CorrelatedBlt => {
                "DP-FTRL, discrete Gaussian correlated by a BLT, zCDP, no amplification"
            }
            Self::CorrelatedTree => {
                "DP-FTRL, discrete Gaussian correlated by a tree, zCDP, no amplification"
            }
            Self::LocalGaussian => "local discrete Gaussian on every device, zCDP composition",
            Self::SeededNotPrivate => "discrete Gaussian from a fixed seed: NOT PRIVATE",
            Self::RestoredNotPrivate => {
                "noise on devices whose spending was lost with a data folder: NOT PRIVATE"
            }
            Self::None => "no noise: NOT PRIVATE",
        }
    }
}

impl fmt::Display for PrivacyStatement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(epsilon) = self.epsilon else {
            return write!(formatter, "{}", self.mechanism.name());
        };
        write!(
            formatter,
            "epsilon {epsilon:.3} at delta {:e}, rho {:.6}, {}, {}",
            self.delta,
            self.rho,
            self.adjacency.words(),
            self.mechanism.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_carries_the_proven_epsilon_and_what_it_means() {
        let rho = Rho::from_f64(0.5).unwrap();
        let mechanism = Mechanism::DiscreteGaussian;
        let statement =
            PrivacyStatement::new(rho, 1e-6, Adjacency::ZeroOutDevice, mechanism).unwrap();
        assert_eq!(
            statement.to_string(),
            "epsilon 5.222 at delta 1e-6, rho 0.500000, \
             zero out one device, discrete Gaussian, zCDP composition, no amplification"
        );
    }

    #[test]
    fn without_noise_there_is_no_epsilon() {
        let statement =
            PrivacyStatement::new(Rho::ZERO, 1e-5, Adjacency::ZeroOutDevice, Mechanism::None);
        let statement = statement.unwrap();
        assert_eq!(
            (statement.epsilon, statement.epsilon_gaussian),
            (None, None)
        );
        assert_eq!(statement.to_string(), "no noise: NOT PRIVATE");
    }

    #[test]
    fn a_loss_without_any_privacy_left_is_still_stated() {
        for rho in [LARGEST_COMPARED, Rho::from_f64(1e6).unwrap(), Rho::MAX] {
            let mechanism = Mechanism::DiscreteGaussian;
            let statement =
                PrivacyStatement::new(rho, 1e-5, Adjacency::ZeroOutDevice, mechanism).unwrap();
            assert!(statement.epsilon.unwrap() > rho.as_f64());
        }
    }

    #[test]
    fn a_statement_survives_json() {
        let statement = PrivacyStatement::new(
            Rho::from_pico(123_456_789),
            1e-5,
            Adjacency::ReplaceDevice,
            Mechanism::SeededNotPrivate,
        )
        .unwrap();
        let text = serde_json::to_string(&statement).unwrap();
        assert!(text.contains("\"adjacency\":\"replace_device\""));
        assert_eq!(
            serde_json::from_str::<PrivacyStatement>(&text).unwrap(),
            statement
        );
    }
}
