//! Ranges of activations for a build, from noised votes.
//!
//! Each device votes for the octave part that holds the largest absolute activation of one example,
//! once per tensor. The range of a tensor ends at the highest bin that stands out of the noise.

use std::time::Duration;

use tributary_drift::{Binning, Histogram, Quantity, Role};
use tributary_model::quant::ActivationRanges;
use tributary_model::{Digest, Graph, LayerSpec, ModelError};
use tributary_proto::RegionId;

use super::MonitorHandle;
use super::actor::{cap, mechanism, patience, payers};
use super::judge::VoteNoise;
use super::poll::{Question, request};
use super::record::MonitorRecord;
use crate::CoordinatorError;
use crate::core::seeded_bytes;
use crate::ledger::{Charge, ChargeKind, DeviceCharge};
use crate::spec::{BuildSpec, RunSpec};
use crate::store::Batch;

/// Bins per octave.
const PER_OCTAVE: i32 = 4;
/// Octaves: 2^-8 to 2^12.
const LOWEST: i32 = -8;
const HIGHEST: i32 = 12;
/// A bin counts when it stands out of the noise by so many standard deviations: with 82 bins a bin
/// without votes passes once in 400 tensors.
const STANDS_OUT: f64 = 4.0;
/// Above such a bin the tail goes on while the next two bins together stand out by so many standard
/// deviations: bins of a thin tail are each lost in the noise, and cutting them off costs accuracy.
const TAIL: f64 = 2.0;
/// Fewest votes that a bin needs without noise.
const FEWEST: f64 = 1.0;

/// Asks the region for its activations under `model`, charges for it, and returns the ranges.
///
/// # Errors
/// When nobody can pay or answers, or the store refuses.
pub async fn calibrate(
    handle: &MonitorHandle,
    spec: &RunSpec,
    builds: &BuildSpec,
    region: &RegionId,
    model: Digest,
    graph: &Graph,
) -> Result<ActivationRanges, CoordinatorError> {
    let core = &handle.core;
    let quantities = tensors(graph)
        .map(quantity)
        .collect::<Result<Vec<_>, _>>()?;
    let noise = VoteNoise::new(builds.calibration_noise_votes, spec.seed)?;
    let pico_rho = noise.pico_rho(quantities.len())?;
    let cap = cap(spec)?;
    let devices = payers(core, region, &spec.task, pico_rho, cap);
    // durable before anybody is asked: each calibration is a release of its own, and devices answer
    // none that is not newer than the last
    let number = MonitorRecord::next_calibration(core, &handle.id).await?;
    let deadline = Duration::from_millis(builds.deadline_ms);
    let seed = spec.seed.map(|seed| seeded_bytes(seed, &[b"device"]));
    let (id, digest) = (handle.id.as_str(), model.to_string());
    let request = request(id, number, &spec.task, digest, &quantities, deadline, seed);
    let group = vec![Question { request, devices }];
    let patience = patience(spec, builds.deadline_ms);
    let mut votes = handle.polls.ask(core, number, group, patience).await;
    let votes = votes.pop().unwrap_or_default();
    if votes.voters.is_empty() {
        return Err(CoordinatorError::Budget(format!(
            "no device of {region} could pay for and answer the calibration: raise \
             privacy.epsilon or builds.calibration_noise_votes"
        )));
    }
    let voters = votes.voters.clone();
    let purpose: [&[u8]; 3] = [b"calibration", id.as_bytes(), &number.to_be_bytes()];
    let histograms = noise.release(&quantities, votes, &purpose)?;
    if pico_rho > 0 {
        let now_ms = core.clock.now_ms();
        let charge = Charge {
            mechanism: mechanism(spec),
            cap_pico_rho: cap.unwrap_or(0),
            unix_ms: now_ms,
            ..Charge::new(id, ChargeKind::Calibration, number)
        };
        let pays = |device| DeviceCharge {
            device,
            region: region.clone(),
            pico_rho,
        };
        let devices: Vec<DeviceCharge> = voters.into_iter().map(pays).collect();
        core.ledger.charge(charge, &devices, Batch::new()).await?;
    }
    Ok(ranges(graph, &histograms)?)
}

/// Indices of the tensors that need a range: all but the output of a softmax, which lies in 0..1.
fn tensors(graph: &Graph) -> impl Iterator<Item = usize> {
    let softmax = |index: &usize| {
        index
            .checked_sub(1)
            .is_some_and(|layer| matches!(graph.layers()[layer], LayerSpec::Softmax(_)))
    };
    (0..graph.shapes().len()).filter(move |index| !softmax(index))
}

fn quantity(tensor: usize) -> Result<Quantity, CoordinatorError> {
    let parts = LOWEST * PER_OCTAVE..=HIGHEST * PER_OCTAVE;
    let edges = parts
        .map(|part| f64::from(part) / f64::from(PER_OCTAVE))
        .collect();
    Ok(Quantity::new(
        format!("activation:{tensor}"),
        Role::Feature,
        Binning::Edges(edges),
    )?)
}

fn ranges(graph: &Graph, histograms: &[Histogram]) -> Result<ActivationRanges, ModelError> {
    let mut ranges = vec![(0.0_f32, 1.0_f32); graph.shapes().len()];
    for (tensor, histogram) in tensors(graph).zip(histograms) {
        let largest = largest(histogram);
        let rectified = tensor > 0 && matches!(graph.layers()[tensor - 1], LayerSpec::Relu(_));
        ranges[tensor] = (if rectified { 0.0 } else { -largest }, largest);
    }
    Ok(ActivationRanges::new(ranges)?)
}

/// Upper end of the highest bin that stands out of the noise, with the tail above it.
fn largest(histogram: &Histogram) -> f32 {
    let sigma = histogram.noise_variance().sqrt();
    let bar = (STANDS_OUT * sigma).max(FEWEST);
    let counts = histogram.counts();
    // the last two bins are overflow, which has no upper end, and missing values
    let overflow = counts.len().saturating_sub(2);
    let above = (0..=overflow)
        .rev()
        .find(|&bin| counts.get(bin).is_some_and(|n| *n as f64 >= bar));
    let mut highest = above.unwrap_or(overflow).min(overflow.saturating_sub(1));
    let tail_bar = (TAIL * std::f64::consts::SQRT_2 * sigma).max(FEWEST);
    let pair = |bin: usize| {
        counts
            .get(bin..bin + 2)
            .map_or(0, |two| two.iter().sum::<i64>())
    };
    while highest + 1 < overflow && pair(highest + 1) as f64 >= tail_bar {
        highest += 1;
    }
    let exponent = f64::from(LOWEST) + highest as f64 / f64::from(PER_OCTAVE);
    exponent.exp2() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A histogram of one tensor with these counts by bin and noise of this standard deviation.
    fn histogram(votes: &[(usize, i64)], sigma: f64) -> Histogram {
        let quantity = quantity(0).unwrap();
        let mut counts = vec![0; quantity.bins()];
        for &(bin, count) in votes {
            counts[bin] = count;
        }
        Histogram::with_private_devices(&quantity, counts, sigma * sigma).unwrap()
    }

    /// The bin that a device votes for when its largest activation is `value`.
    fn bin(value: f64) -> usize {
        quantity(0).unwrap().bin_of(value.log2())
    }

    #[test]
    fn the_range_covers_the_largest_activation_and_less_than_a_quarter_octave_more() {
        for value in [0.004, 0.01, 0.9, 1.0, 1.3, 17.0, 4_000.0] {
            let range = f64::from(largest(&histogram(&[(bin(value), 50)], 2.0)));
            assert!(range >= value * 0.999_999, "{range} for {value}");
            assert!(
                range <= value * 2f64.powf(0.25) * 1.000_001,
                "{range} for {value}"
            );
        }
    }

    #[test]
    fn bins_that_do_not_stand_out_of_the_noise_are_ignored() {
        let noisy = histogram(&[(bin(1.3), 50), (bin(100.0), 7)], 2.0);
        assert_eq!(largest(&noisy), 2f32.powf(0.5));
        let real = histogram(&[(bin(1.3), 50), (bin(100.0), 8)], 2.0);
        assert!(largest(&real) >= 100.0);
    }

    #[test]
    fn a_thin_tail_is_not_cut_off() {
        let at = bin(1.3);
        let counts = [
            (at, 500),
            (at + 1, 5),
            (at + 2, 4),
            (at + 3, 3),
            (at + 9, 3),
        ];
        let range = largest(&histogram(&counts, 2.0));
        assert_eq!(range, largest(&histogram(&[(at + 2, 500)], 2.0)));
    }

    #[test]
    fn without_any_signal_the_whole_range_is_taken() {
        assert_eq!(largest(&histogram(&[], 2.0)), 4_096.0);
        assert_eq!(largest(&histogram(&[], 0.0)), 4_096.0);
    }

    #[test]
    fn activations_beyond_the_last_edge_count_as_the_last_edge() {
        let counts = [(bin(1.0), 50), (bin(1e9), 50)];
        assert_eq!(largest(&histogram(&counts, 2.0)), 4_096.0);
    }

    #[test]
    fn missing_values_are_no_activation() {
        let missing = quantity(0).unwrap().missing_bin();
        assert_eq!(
            largest(&histogram(&[(bin(1.3), 50), (missing, 50)], 2.0)),
            2f32.powf(0.5)
        );
    }
}
