//! The data of simulated devices.

use anyhow::{Result, bail};
use tributary_device_sim::Shard;
use tributary_experiments::data::{Dataset, Samples, Side, digits, idx};
use tributary_experiments::partition::{PartitionError, sample_by_user};
use tributary_experiments::runner::watch_as_held;

use super::flags::{Arm, DeviceArguments};

/// One shard per device. On the watch set a device holds windows of one subject, the subjects in
/// turn; elsewhere its examples are drawn from the whole training set.
pub fn shards(arguments: &DeviceArguments, seed: [u8; 32]) -> Result<Vec<Shard>> {
    let set = load(arguments)?;
    let (owners, users) = match arguments.task.as_str() {
        "watch" if arguments.data_dir.is_none() => {
            (set.train.users.clone(), wearers(&set, arguments))
        }
        _ => (vec![0; set.train.len()], vec![0]),
    };
    let count = arguments.count as usize;
    let devices: Vec<u32> = users.iter().copied().cycle().take(count).collect();
    let drawn = sample_by_user(&owners, &devices, arguments.examples as usize, seed);
    let drawn = drawn.map_err(|error| match error {
        PartitionError::TooFewSamples { .. } => anyhow::Error::from(error)
            .context(format!("--examples {}: use fewer", arguments.examples)),
        error => anyhow::Error::from(error).context("the devices' data"),
    })?;
    Ok(drawn
        .iter()
        .map(|shard| to_shard(set.train.select(&shard.samples)))
        .collect())
}

fn load(arguments: &DeviceArguments) -> Result<Dataset> {
    match (&arguments.data_dir, arguments.task.as_str()) {
        (Some(folder), name) => Ok(idx::load(folder, name)?),
        (None, "watch") => Ok(watch_as_held()?),
        (None, "digits") => Ok(digits::load()?),
        (None, task) => bail!(
            "--task {task:?} comes with no data: use watch or digits, or name a folder of IDX \
             files with --data-dir"
        ),
    }
}

/// The users who wear the watch on the chosen arm.
fn wearers(set: &Dataset, arguments: &DeviceArguments) -> Vec<u32> {
    let side = match arguments.arm {
        Arm::Right => Side::Right,
        Arm::Left => Side::Left,
    };
    let worn = (0u32..)
        .zip(&set.users)
        .filter(|(_, user)| user.side == side);
    worn.map(|(index, _)| index).collect()
}

fn to_shard(samples: Samples) -> Shard {
    Shard::new(samples.inputs, samples.labels)
}
