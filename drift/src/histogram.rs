//! Counts of one quantity over some devices, with the variance of the noise that is in them.

use serde::{Deserialize, Serialize};

use crate::error::DriftError;
use crate::quantity::Quantity;
use crate::quantity_id::QuantityId;

/// Counts up to here are exact as `f64`.
const EXACT: u64 = 1 << 53;

/// Summed votes: one vote per device, quantity and window.
///
/// Without noise the counts are non-negative and add up to `devices`. With noise (`noise_variance > 0`,
/// independent per bin, mean zero) single counts may be negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Histogram {
    parts: Parts,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    quantity: QuantityId,
    counts: Vec<i64>,
    devices: u64,
    #[serde(default)]
    devices_estimated: bool,
    #[serde(default)]
    noise_variance: f64,
}

impl Histogram {
    /// A histogram without any vote.
    pub fn empty(quantity: &Quantity) -> Self {
        Self {
            parts: Parts {
                quantity: quantity.id().clone(),
                counts: vec![0; quantity.bins()],
                devices: 0,
                devices_estimated: false,
                noise_variance: 0.0,
            },
        }
    }

    /// The vote of one device for one value.
    pub fn vote(quantity: &Quantity, value: f64) -> Self {
        let mut histogram = Self::empty(quantity);
        histogram.parts.counts[quantity.bin_of(value)] = 1;
        histogram.parts.devices = 1;
        histogram
    }

    /// Counts whose number of devices is public. `noise_variance` is the variance of the noise in each
    /// count (devices squared), 0 for none.
    ///
    /// # Errors
    /// [`DriftError::BadHistogram`] if the number of bins is wrong, the variance is negative or not
    /// finite, a value passes 2^53, or noiseless counts are negative or don't add up to `devices`.
    pub fn new(
        quantity: &Quantity,
        counts: Vec<i64>,
        devices: u64,
        noise_variance: f64,
    ) -> Result<Self, DriftError> {
        let devices_estimated = false;
        let id = quantity.id().clone();
        let parts = Parts {
            quantity: id,
            counts,
            devices,
            devices_estimated,
            noise_variance,
        };
        Self::of_quantity(quantity, parts)
    }

    /// Noised counts whose number of devices is private too: it is estimated from the counts (their sum,
    /// at least 0), and the test then gives up the one degree of freedom that the true number would add.
    /// Use this wherever there is noise on the counts: a device that answered may have left its vote blank.
    ///
    /// # Errors
    /// As [`Histogram::new`].
    pub fn with_private_devices(
        quantity: &Quantity,
        counts: Vec<i64>,
        noise_variance: f64,
    ) -> Result<Self, DriftError> {
        let sum = counts
            .iter()
            .fold(0_i64, |sum, &count| sum.saturating_add(count));
        let id = quantity.id().clone();
        let parts = Parts {
            quantity: id,
            counts,
            devices: sum.max(0).unsigned_abs(),
            devices_estimated: noise_variance > 0.0,
            noise_variance,
        };
        Self::of_quantity(quantity, parts)
    }

    fn of_quantity(quantity: &Quantity, parts: Parts) -> Result<Self, DriftError> {
        if parts.counts.len() != quantity.bins() {
            return Err(DriftError::BadHistogram {
                reason: format!("{} counts, needs {}", parts.counts.len(), quantity.bins()),
                quantity: parts.quantity,
            });
        }
        Self::try_from(parts)
    }

    /// Adds another histogram of the same quantity: counts, devices and noise variances add.
    ///
    /// # Errors
    /// [`DriftError::DifferentQuantities`] if it counts something else, [`DriftError::Overflow`] if a
    /// sum passes 2^53. `self` is unchanged then.
    pub fn merge(&mut self, other: &Self) -> Result<(), DriftError> {
        self.check_comparable(other)?;
        let (mine, theirs) = (&self.parts, &other.parts);
        let pairs = mine.counts.iter().zip(&theirs.counts);
        let merged = Parts {
            quantity: mine.quantity.clone(),
            // both are at most 2^53, so neither sum can wrap
            counts: pairs.map(|(a, b)| a + b).collect(),
            devices: mine.devices + theirs.devices,
            devices_estimated: mine.devices_estimated || theirs.devices_estimated,
            noise_variance: mine.noise_variance + theirs.noise_variance,
        };
        let quantity = merged.quantity.clone();
        *self = Self::try_from(merged).map_err(|_| DriftError::Overflow { quantity })?;
        Ok(())
    }

    /// Identity of the quantity counted.
    pub fn quantity(&self) -> &QuantityId {
        &self.parts.quantity
    }

    /// One count per bin; may be negative under noise.
    pub fn counts(&self) -> &[i64] {
        &self.parts.counts
    }

    /// Number of devices that voted, or its estimate.
    pub fn devices(&self) -> u64 {
        self.parts.devices
    }

    /// Whether [`Histogram::devices`] is an estimate from noised counts.
    pub fn devices_estimated(&self) -> bool {
        self.parts.devices_estimated
    }

    /// Variance of the noise in each count, in devices squared.
    pub fn noise_variance(&self) -> f64 {
        self.parts.noise_variance
    }

    pub(crate) fn check_comparable(&self, other: &Self) -> Result<(), DriftError> {
        let same_bins = self.counts().len() == other.counts().len();
        if self.quantity() == other.quantity() && same_bins {
            return Ok(());
        }
        Err(DriftError::DifferentQuantities {
            expected: self.quantity().clone(),
            found: other.quantity().clone(),
        })
    }
}

impl TryFrom<Parts> for Histogram {
    type Error = DriftError;

    fn try_from(parts: Parts) -> Result<Self, DriftError> {
        match complaint(&parts) {
            None => Ok(Self { parts }),
            Some(reason) => Err(DriftError::BadHistogram {
                quantity: parts.quantity,
                reason: reason.to_owned(),
            }),
        }
    }
}

fn complaint(parts: &Parts) -> Option<&'static str> {
    let bins = parts.counts.len();
    if !(2..=crate::quantity::MAX_BINS).contains(&bins) {
        return Some("must have 2 to 1024 bins");
    }
    let noise = parts.noise_variance;
    if !(noise.is_finite() && (0.0..=EXACT as f64).contains(&noise)) {
        return Some("noise variance must be finite, not negative and at most 2^53");
    }
    if parts.devices > EXACT
        || parts
            .counts
            .iter()
            .any(|count| count.unsigned_abs() > EXACT)
    {
        return Some("counts and devices must be at most 2^53");
    }
    if noise > 0.0 {
        return None;
    }
    if parts.counts.iter().any(|&count| count < 0) {
        return Some("counts without noise can't be negative");
    }
    let votes: u128 = parts
        .counts
        .iter()
        .map(|count| u128::from(count.unsigned_abs()))
        .sum();
    (votes != u128::from(parts.devices))
        .then_some("counts without noise must add up to the devices: one vote each")
}

impl From<Histogram> for Parts {
    fn from(histogram: Histogram) -> Self {
        histogram.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colours() -> Quantity {
        Quantity::prediction("colour", 2).unwrap()
    }

    #[test]
    fn votes_merge_into_counts() {
        let quantity = colours();
        let mut sum = Histogram::empty(&quantity);
        for value in [0.0, 1.0, 1.0, f64::NAN] {
            sum.merge(&Histogram::vote(&quantity, value)).unwrap();
        }
        assert_eq!(sum.counts(), [1, 2, 1]);
        assert_eq!(sum.devices(), 4);
    }

    #[test]
    fn contradictory_counts_are_refused() {
        let quantity = colours();
        assert!(Histogram::new(&quantity, vec![1, 2], 3, 0.0).is_err());
        assert!(Histogram::new(&quantity, vec![1, 2, 1], 3, 0.0).is_err());
        assert!(Histogram::new(&quantity, vec![-1, 3, 1], 3, 0.0).is_err());
        assert!(Histogram::new(&quantity, vec![-1, 3, 1], 4, 1.0).is_ok());
        assert!(Histogram::new(&quantity, vec![i64::MIN, 3, 1], 4, 1.0).is_err());
        for variance in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(Histogram::new(&quantity, vec![1, 1, 1], 3, variance).is_err());
        }
    }

    #[test]
    fn an_overflowing_merge_is_refused_and_changes_nothing() {
        let quantity = colours();
        let half = EXACT / 2 + 1;
        let mut sum = Histogram::new(&quantity, vec![half as i64, 0, 0], half, 0.0).unwrap();
        let before = sum.clone();
        assert!(matches!(
            sum.merge(&before),
            Err(DriftError::Overflow { .. })
        ));
        assert_eq!(sum, before);
    }

    #[test]
    fn a_private_device_count_is_the_sum_of_the_noised_counts() {
        let quantity = colours();
        let histogram = Histogram::with_private_devices(&quantity, vec![90, -5, 15], 4.0).unwrap();
        assert_eq!(histogram.devices(), 100);
        assert!(histogram.devices_estimated());
        let nobody = Histogram::with_private_devices(&quantity, vec![-3, -5, 1], 4.0).unwrap();
        assert_eq!(nobody.devices(), 0);
    }
}
