//! Simulated devices that hold committed data.

use tributary_device::Hardware;
use tributary_device_sim::{Shard, SimDevice};
use tributary_proto::RegionId;

use super::RunnerError;
use crate::data::{Dataset, Normalisation, Samples, Side, digits, watch};
use crate::partition::{UserShard, sample_by_user};

/// Training windows that a wearable holds.
pub const WINDOWS_PER_DEVICE: usize = 8;
/// Digits that a device holds.
const DIGITS_PER_DEVICE: usize = 24;
/// Subjects in the watch set.
pub const SUBJECTS: u32 = 10;

/// The watch set as devices hold it: scaled by public constants, so that no statistic of their data
/// is published for free.
///
/// # Errors
/// None with the compiled-in data.
pub fn watch_as_held() -> Result<Dataset, RunnerError> {
    let options = watch::WatchOptions {
        normalisation: Normalisation::Public,
        ..watch::WatchOptions::default()
    };
    Ok(watch::load(&options)?)
}

/// Windows of the watch set that share no sample with any training window of [`watch_as_held`], a
/// new one every 10 steps, so that a score is fine-grained.
///
/// # Errors
/// None with the compiled-in data.
pub fn watch_held_out() -> Result<Dataset, RunnerError> {
    let mut options = watch::WatchOptions {
        normalisation: Normalisation::Public,
        ..watch::WatchOptions::default()
    };
    // the gap is a whole window: held-out ones begin after the last training window has ended
    options.windowing.stride = 10;
    options.windowing.gap = options.windowing.length / options.windowing.stride;
    Ok(watch::load(&options)?)
}

/// Index in the watch set's users of a subject's arm.
pub fn wearer(subject: u32, side: Side) -> u32 {
    2 * (subject - 1) + u32::from(side == Side::Left)
}

/// For each device [`WINDOWS_PER_DEVICE`] training windows of its wearer, drawn with `seed`.
///
/// # Errors
/// [`RunnerError::Partition`] for a wearer that does not exist.
pub fn wearable_shards(
    watch: &Dataset,
    wearers: &[u32],
    seed: [u8; 32],
) -> Result<Vec<Shard>, RunnerError> {
    let shards = sample_by_user(&watch.train.users, wearers, WINDOWS_PER_DEVICE, seed)?;
    let shard = |owned: &UserShard| shard(watch.train.select(&owned.samples));
    Ok(shards.iter().map(shard).collect())
}

/// Samples as a device holds them.
pub fn shard(samples: Samples) -> Shard {
    Shard::new(samples.inputs, samples.labels)
}

/// Simulated devices `REGION-1` to `REGION-count` of one region that hold committed data of `task`:
/// `watch` (right arms, subjects in turn) or `digits`.
///
/// # Errors
/// [`RunnerError::Setting`] for another task.
pub fn simulated_devices(
    task: &str,
    region: &RegionId,
    count: u32,
    seed: u64,
) -> Result<Vec<SimDevice>, RunnerError> {
    let purpose = format!("devices of {region}");
    let seed = super::derived_seed(seed, &purpose);
    let shards = match task {
        "watch" => {
            let arm = |number| wearer(number % SUBJECTS + 1, Side::Right);
            wearable_shards(
                &watch_as_held()?,
                &(0..count).map(arm).collect::<Vec<_>>(),
                seed,
            )?
        }
        "digits" => digit_shards(count, seed)?,
        other => {
            let problem = format!("is {other:?}");
            return Err(RunnerError::setting("task", problem, "use watch or digits"));
        }
    };
    let hardware = Hardware::int8("simulated", "cortex-m4", 64 * 1024, 256 * 1024);
    let device = |(number, shard): (usize, Shard)| {
        let id = device_id(region, number + 1)?;
        Ok(SimDevice::new(
            id,
            region.clone(),
            hardware.clone(),
            task,
            shard,
        ))
    };
    shards.into_iter().enumerate().map(device).collect()
}

/// The id of a region's device.
pub(crate) fn device_id(
    region: &RegionId,
    number: usize,
) -> Result<tributary_proto::DeviceId, RunnerError> {
    let id = format!("{region}-{number:05}");
    id.parse().map_err(|error: tributary_proto::IdError| {
        RunnerError::setting("region", error.to_string(), "choose a shorter name")
    })
}

fn digit_shards(count: u32, seed: [u8; 32]) -> Result<Vec<Shard>, RunnerError> {
    let digits = digits::load()?;
    // the set names no writers: all devices draw from one
    let (writers, devices) = (vec![0; digits.train.len()], vec![0; count as usize]);
    let shards = sample_by_user(&writers, &devices, DIGITS_PER_DEVICE, seed)?;
    Ok(shards
        .iter()
        .map(|owned| shard(digits.train.select(&owned.samples)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_windows_share_no_sample_with_training_windows() {
        let training = watch::WatchOptions::default().windowing;
        let mut held_out = training;
        held_out.stride = 10;
        held_out.gap = held_out.length / held_out.stride;
        for steps in 0..4_000 {
            let last = training.split(steps).unwrap().train.last();
            let test = held_out.split(steps).unwrap().test;
            if let (Some(last), false) = (last, test.is_empty()) {
                assert!(
                    training.steps(last).end <= held_out.steps(test.start).start,
                    "{steps}"
                );
            }
        }
    }

    #[test]
    fn simulated_devices_repeat_with_their_seed_and_differ_without() {
        let region: RegionId = "eu".parse().unwrap();
        let devices = |seed| simulated_devices("watch", &region, 12, seed).unwrap();
        let (first, again, other) = (devices(1), devices(1), devices(2));
        assert_eq!(first[11].device_id.as_str(), "eu-00012");
        assert_eq!(first[3].data.labels.len(), WINDOWS_PER_DEVICE);
        assert_eq!(first[3].data.inputs, again[3].data.inputs);
        assert_ne!(first[3].data.inputs, other[3].data.inputs);
    }

    #[test]
    fn a_task_without_committed_data_is_refused() {
        let region: RegionId = "eu".parse().unwrap();
        let error = simulated_devices("weather", &region, 1, 0).unwrap_err();
        assert!(error.to_string().contains("watch or digits"), "{error}");
    }
}
