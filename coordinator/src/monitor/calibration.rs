//! Ranges of activations for a build, from noised votes.
//!
//! Each device votes for the octave part that holds the largest absolute activation of one example,
//! once per tensor. The range of a tensor ends at the highest bin that stands out of the noise. The
//! ranges, which come of noised votes, are kept in the commit of their charge: whoever comes again, after
//! a restart or a failed build, reads them and asks nobody.

use std::time::Duration;

use tokio::time::Instant;
use tributary_drift::{Binning, Histogram, Quantity, Role};
use tributary_model::quant::ActivationRanges;
use tributary_model::{Digest, Graph, LayerSpec, ModelError};
use tributary_proto::{DeviceId, RegionId};

use super::at_work::Monitor;
use super::charging::{Payers, mechanism, patience, payers};
use super::poll::{Question, request};
use super::record::MonitorRecord;
use crate::CoordinatorError;
use crate::ledger::{Charge, ChargeKind, DeviceCharge};
use crate::names::run_of;
use crate::random::seeded_bytes;
use crate::votes::{VoteNoise, Votes, calibrated_tensors};
use tributary_recipe::{BuildSpec, RunSpec};
use tributary_store::key::Key;
use tributary_store::{Batch, Expect, Table};

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

/// Fewest devices per standard deviation of the noise: with them the fullest of three neighbouring
/// bins stands out of it.
const DEVICES_PER_SIGMA: f64 = 3.0 * STANDS_OUT;
/// Fewest devices without noise.
const FEWEST_DEVICES: u64 = 1;
/// How often devices are looked for while too few are within reach.
const LOOK: Duration = Duration::from_millis(100);
/// How long nobody may have come before those who are there are enough.
const SETTLED: Duration = Duration::from_secs(2);

/// Asks the region for its activations under `model`, charges for it, and returns the ranges. Devices
/// that are not within reach yet, as after a restart, are waited for until `builds.deadline_ms`.
///
/// # Errors
/// When too few can pay or answer, which is not charged; or when the store refuses.
pub async fn calibrate(
    handle: &Monitor,
    spec: &RunSpec,
    builds: &BuildSpec,
    region: &RegionId,
    model: Digest,
    graph: &Graph,
) -> Result<ActivationRanges, CoordinatorError> {
    let core = handle.core();
    let key = stored_key(handle, region, &model);
    if let Some(stored) = core.store.get(Table::Monitors, &key)? {
        return Ok(ranges(graph, &stored.json::<Vec<f32>>()?)?);
    }
    let quantities = calibrated_tensors(graph)
        .map(quantity)
        .collect::<Result<Vec<_>, _>>()?;
    let noise = VoteNoise::new(builds.calibration_noise_votes, spec.seed)?;
    let pico_rho = noise.pico_rho(quantities.len())?;
    let (run, account) = (run_of(handle.id.as_str()), handle.id.as_str());
    let draw = (account, ChargeKind::Calibration);
    let needed = devices_needed(noise.variance());
    let who = || payers(core, (spec, run), region, draw, pico_rho);
    let patience = patience(spec, builds.deadline_ms);
    let expected = || core.fleet.enrolled(region, &spec.task);
    let devices = wait_for(who, expected, needed, (patience, SETTLED)).await;
    let devices = devices.map_err(|there| too_few(region, there, needed))?;
    // durable before anybody is asked: each calibration is a release of its own, and devices answer
    // none that is not newer than the last
    let next = || MonitorRecord::next_calibration(core, &handle.id);
    let number = handle.with_room(next).await?;
    let deadline = Duration::from_millis(builds.deadline_ms);
    let seed = spec.seed.map(|seed| seeded_bytes(seed, &[b"device"]));
    let (id, digest) = (handle.id.as_str(), model.to_string());
    let mut request = request(id, number, &spec.task, digest, &quantities, deadline, seed);
    let noisy = builds.calibration_noise_votes;
    request.answer_window = spec.privacy.vote_window(noisy, builds.deadline_ms);
    let group = vec![Question { request, devices }];
    let mut votes = handle.polls.ask(core, number, group, patience).await;
    let votes = votes.pop().unwrap_or_default();
    if (votes.voters.len() as u64) < needed {
        return Err(too_few(region, votes.voters.len() as u64, needed));
    }
    let released = Released {
        number,
        quantities: &quantities,
        noise: &noise,
        pico_rho,
    };
    let largest = released.charge(handle, spec, region, key, votes).await?;
    Ok(ranges(graph, &largest)?)
}

/// A calibration whose votes are in.
struct Released<'c> {
    number: u64,
    quantities: &'c [Quantity],
    noise: &'c VoteNoise,
    pico_rho: u64,
}

impl Released<'_> {
    /// Noises the votes of a region, charges for them and keeps what came of it; the largest activations.
    async fn charge(
        self,
        handle: &Monitor,
        spec: &RunSpec,
        region: &RegionId,
        key: Vec<u8>,
        votes: Votes,
    ) -> Result<Vec<f32>, CoordinatorError> {
        let (core, id) = (handle.core(), handle.id.as_str());
        let voters = votes.voters.clone();
        let part = spec
            .regions
            .iter()
            .position(|known| known == region)
            .unwrap_or(0) as u64;
        let purpose: [&[u8]; 3] = [b"calibration", id.as_bytes(), &self.number.to_be_bytes()];
        let histograms = self.noise.release(self.quantities, votes, &purpose)?;
        let largest: Vec<f32> = histograms.iter().map(largest).collect();
        let mut batch = Batch::new();
        batch.put_json(Table::Monitors, key, &largest, Expect::Absent)?;
        let charge = Charge {
            part,
            mechanism: mechanism(spec, self.pico_rho > 0),
            unix_ms: core.clock.now_ms(),
            ..Charge::new(id, ChargeKind::Calibration, self.number)
        };
        let pays = |device| DeviceCharge {
            device,
            region: region.clone(),
            pico_rho: self.pico_rho,
        };
        let devices: Vec<DeviceCharge> = voters.into_iter().map(pays).collect();
        let charged = || {
            let (charge, batch) = (charge.clone(), batch.clone());
            core.ledger.charge(charge, &devices, batch)
        };
        handle.with_room(charged).await?;
        Ok(largest)
    }
}

/// Devices that a calibration needs under noise of this variance.
fn devices_needed(variance: f64) -> u64 {
    ((DEVICES_PER_SIGMA * variance.sqrt()).ceil() as u64).max(FEWEST_DEVICES)
}

/// Where the ranges of a region under a version are kept.
fn stored_key(handle: &Monitor, region: &RegionId, model: &Digest) -> Vec<u8> {
    let key = Key::new().text(handle.id.as_str()).text("calibration");
    key.text(region.as_str())
        .text(&model.to_string())
        .into_bytes()
}

/// Waits until all that are enrolled are within reach, or enough are and nobody came for a while;
/// when it ends before, how many there are.
async fn wait_for(
    who: impl Fn() -> Payers,
    enrolled: impl Fn() -> u64,
    needed: u64,
    (patience, settled): (Duration, Duration),
) -> Result<Vec<DeviceId>, u64> {
    let until = Instant::now() + patience;
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let Payers { reachable, devices } = who();
        if reachable > most {
            (most, since) = (reachable, Instant::now());
        }
        let now = Instant::now();
        let enough = devices.len() as u64 >= needed;
        let complete = reachable >= enrolled() || now >= since + settled;
        if enough && (complete || now >= until) {
            return Ok(devices);
        }
        if now >= until {
            return Err(devices.len() as u64);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn too_few(region: &RegionId, there: u64, needed: u64) -> CoordinatorError {
    CoordinatorError::Budget(format!(
        "{there} devices of {region} could pay for and answer the calibration, it needs {needed}: \
         connect more, raise their privacy cap or builds.deadline_ms, or lower \
         builds.calibration_noise_votes"
    ))
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

/// Ranges from the largest activation of each tensor that needs one.
fn ranges(graph: &Graph, largest: &[f32]) -> Result<ActivationRanges, ModelError> {
    let mut ranges = vec![(0.0_f32, 1.0_f32); graph.shapes().len()];
    for (tensor, &largest) in calibrated_tensors(graph).zip(largest) {
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
    use crate::fixtures;

    fn of(devices: usize) -> Payers {
        let devices: Vec<_> = (0..devices).map(fixtures::device).collect();
        Payers {
            reachable: devices.len() as u64,
            devices,
        }
    }

    #[tokio::test]
    async fn devices_that_come_back_late_are_waited_for_until_the_deadline() {
        let long = Duration::from_secs(3_600);
        let short = Duration::from_millis(1);
        let looks = std::cell::Cell::new(0);
        let one_more = || {
            looks.set(looks.get() + 1);
            of(looks.get())
        };
        let found = wait_for(one_more, || 9, 5, (long, long)).await.unwrap();
        assert_eq!(found.len(), 9, "all that are enrolled");
        let found = wait_for(|| of(7), || 9, 5, (long, short)).await.unwrap();
        assert_eq!(found.len(), 7, "two of nine stay away");
        let few = wait_for(|| of(2), || 9, 5, (short, short)).await;
        assert_eq!(few, Err(2));
        let text = too_few(&fixtures::region("eu"), 2, 5).to_string();
        assert!(
            text.contains("2 devices of eu") && text.contains("needs 5"),
            "{text}"
        );
    }

    #[test]
    fn a_calibration_needs_devices_in_proportion_to_its_noise() {
        assert_eq!(devices_needed(0.0), 1);
        assert_eq!(devices_needed(0.25), 6);
        assert_eq!(devices_needed(36.0), 72);
    }

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
