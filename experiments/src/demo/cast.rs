//! The devices of the demo, and the windows that nobody trains on.

use tributary_device_sim::{Behaviour, SimDevice};
use tributary_proto::RegionId;

use super::config::{
    DRIFTING, DROP_OUT, DemoConfig, LARGE_OF_TEN, REGIONS, region_of, subject, wrist_large,
    wrist_small,
};
use crate::data::{Dataset, Side};
use crate::runner::{
    HeldOut, RunnerError, SUBJECTS, derived_seed, device_id, watch_as_held, watch_held_out,
    wearable_shards, wearer,
};

/// The wearables: each holds training windows of its subject's right arm, and in the drifting region
/// also of the left arm, for later.
///
/// # Errors
/// [`RunnerError`] when the compiled-in data can't be dealt out.
pub(super) fn wearables(config: &DemoConfig, task: &str) -> Result<Vec<SimDevice>, RunnerError> {
    let watch = watch_as_held()?;
    let numbers = 0..config.devices;
    let right = arms(config, Side::Right, &watch)?;
    let left = arms(config, Side::Left, &watch)?;
    let mut devices = Vec::with_capacity(right.len());
    for ((number, right), left) in numbers.zip(right).zip(left) {
        let region: RegionId = region_id(region_of(subject(number)))?;
        let large = number / SUBJECTS % 10 < LARGE_OF_TEN;
        let hardware = if large { wrist_large() } else { wrist_small() };
        let id = device_id(&region, number as usize + 1)?;
        let drifts = region.as_str() == DRIFTING;
        let mut device = SimDevice::new(id, region, hardware, task, right);
        device.shifted = drifts.then_some(left);
        device.behaviour = Behaviour {
            drop_out: DROP_OUT,
            ..Behaviour::default()
        };
        devices.push(device);
    }
    Ok(devices)
}

fn arms(
    config: &DemoConfig,
    side: Side,
    watch: &Dataset,
) -> Result<Vec<tributary_device_sim::Shard>, RunnerError> {
    let wearers: Vec<u32> = (0..config.devices)
        .map(|number| wearer(subject(number), side))
        .collect();
    // who holds which public window is no secret: without a seed it is always the same
    let seed = derived_seed(config.seed.unwrap_or(0), &format!("{side} arms"));
    wearable_shards(watch, &wearers, seed)
}

pub(super) fn region_id(name: &str) -> Result<RegionId, RunnerError> {
    name.parse().map_err(|error: tributary_proto::IdError| {
        RunnerError::setting("region", error.to_string(), "choose another name")
    })
}

/// Held-out windows before and after the drift.
pub(super) struct Judges {
    /// Right arms of all subjects, by region.
    pub(super) right: HeldOut,
    /// Left arms of the drifting region.
    pub(super) left: HeldOut,
}

/// The held-out windows.
///
/// # Errors
/// None with the compiled-in data.
pub(super) fn judges() -> Result<Judges, RunnerError> {
    let windows = watch_held_out()?;
    let of = |region: &str, side| {
        let samples =
            windows.test_of(|user| user.side == side && region_of(user.subject) == region);
        (region.to_owned(), samples)
    };
    Ok(Judges {
        right: HeldOut::new(
            REGIONS
                .iter()
                .map(|(region, _)| of(region, Side::Right))
                .collect(),
        )?,
        left: HeldOut::new(vec![of(DRIFTING, Side::Left)])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drifting_region_has_other_data_for_later() {
        let config = DemoConfig {
            devices: 200,
            ..DemoConfig::default()
        };
        let devices = wearables(&config, "watch").unwrap();
        assert_eq!(devices.len(), 200);
        for device in &devices {
            let drifts = device.region.as_str() == DRIFTING;
            assert_eq!(device.shifted.is_some(), drifts);
            assert_eq!(device.data.labels.len(), 8);
        }
        let small = |region: &str| {
            let here = devices
                .iter()
                .filter(|device| device.region.as_str() == region);
            here.filter(|device| device.hardware.name == "wrist-small")
                .count()
        };
        assert_eq!([small("north"), small("east"), small("west")], [24, 18, 18]);
    }

    #[test]
    fn scores_after_the_drift_are_finer_than_a_hundredth() {
        assert!(judges().unwrap().left.len() > 500);
    }
}
