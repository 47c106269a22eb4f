//! Simulated devices, from flags to the end of the fleet.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tributary_device::{SessionMode, Token};
use tributary_device_sim::{Behaviour, Fleet, FleetConfig, Pace, Shard, SimDevice};
use tributary_proto::{DeviceId, RegionId};

use super::flags::DeviceArguments;
use super::{shards, status};
use crate::client::endpoint;
use crate::exit::{Exit, Failure};
use crate::global::Global;
use crate::output::Output;
use crate::signals::stop_signal;

/// Runs the devices until a signal, or until all of them were refused.
pub async fn simulate(arguments: DeviceArguments, global: &Global, output: Output) -> Result<Exit> {
    endpoint(&global.coordinator)?;
    let limit = arguments.seconds.map(Duration::from_secs);
    let devices = tokio::task::block_in_place(|| devices(&arguments))?;
    let fleet = Fleet::start(config(&arguments, global), devices).context("starting devices")?;
    let ended = tokio::select! {
        stopped = stop_signal() => stopped.map(|()| Ended::Asked),
        () = sleep(limit) => Ok(Ended::InTime),
        () = status::show(&fleet, &arguments, &global.coordinator, output) => Ok(Ended::Refused),
    };
    let stats = fleet.shutdown().await;
    output.answer(&stats, status::summary)?;
    match ended? {
        Ended::InTime if !status::has_answered(&stats) => {
            let silent = status::no_coordinator(&global.coordinator);
            Err(Failure::new(Exit::Unreachable, silent).into())
        }
        Ended::Asked | Ended::InTime => Ok(Exit::Done),
        Ended::Refused => Err(all_refused(&arguments).into()),
    }
}

/// Why the simulation ended.
enum Ended {
    /// A signal asked for it.
    Asked,
    /// The time that `--for` gave is over.
    InTime,
    /// The coordinator refused every device.
    Refused,
}

fn all_refused(arguments: &DeviceArguments) -> Failure {
    let remedy = match arguments.seed {
        Some(_) => "their ids may belong to other tokens or another region; use another --seed",
        None => "see the warnings above",
    };
    let sentence = format!(
        "the coordinator refused all {} devices: {remedy}",
        arguments.count
    );
    Failure::new(Exit::Refused, sentence)
}

async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn config(arguments: &DeviceArguments, global: &Global) -> FleetConfig {
    FleetConfig {
        // more with its devices
        connections: 1,
        seed: arguments
            .seed
            .map(|seed| derive(seed, &arguments.region, "fleet")),
        cpu_permits: std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
        ..FleetConfig::new(&global.coordinator)
    }
}

fn devices(arguments: &DeviceArguments) -> Result<Vec<SimDevice>> {
    let (seed, name) = match arguments.seed {
        Some(seed) => (derive(seed, &arguments.region, "data"), format!("s{seed}")),
        None => {
            let random = *Token::from_os()?.secret();
            (random, hex::encode(&random[..4]))
        }
    };
    let shards = shards::shards(arguments, seed)?;
    let behaviour = behaviour(arguments);
    let device = |(number, shard): (usize, Shard)| {
        let device_id: DeviceId = format!("{}-{name}-{number}", arguments.region)
            .parse()
            .context("--region leaves no room for the devices' numbers: choose a shorter one")?;
        let hardware = arguments.profile[number % arguments.profile.len()].hardware();
        let region = arguments.region.clone();
        // ids have no slash, and the region before the first dash keeps `..` out
        let folder = arguments.state_dir.as_ref();
        let folder = folder.map(|folder| folder.join(device_id.as_str()));
        Ok(SimDevice {
            folder,
            behaviour,
            mode: if arguments.polling {
                SessionMode::Poll
            } else {
                SessionMode::Stream
            },
            ..SimDevice::new(device_id, region, hardware, &arguments.task, shard)
        })
    };
    shards.into_iter().enumerate().map(device).collect()
}

fn behaviour(arguments: &DeviceArguments) -> Behaviour {
    Behaviour {
        seconds_per_step: arguments.step_ms as f64 / 1_000.0,
        pace: if arguments.step_ms > 0 {
            Pace::Real
        } else {
            Pace::Immediate
        },
        drop_out: arguments.drop_out,
        fault: None,
    }
}

/// 32 bytes from a seed; another region or purpose gets others.
fn derive(seed: u64, region: &RegionId, purpose: &str) -> [u8; 32] {
    Sha256::digest(format!("tributary device {purpose} {seed} {region}")).into()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;
    use crate::commands::Command;

    fn arguments(words: &[&str]) -> DeviceArguments {
        let start = ["tributary", "device", "--count", "6", "--region", "eu"];
        let parsed = Arguments::try_parse_from(start.iter().chain(words)).unwrap();
        let Command::Device(arguments) = parsed.command else {
            panic!("parsed as device")
        };
        arguments.simulated.unwrap()
    }

    #[test]
    fn each_device_holds_eight_real_windows_of_one_subject() {
        let devices = devices(&arguments(&["--seed", "1"])).unwrap();
        assert_eq!(devices.len(), 6);
        for device in &devices {
            assert_eq!(device.data.labels.len(), 8);
            assert_eq!(device.data.inputs.len(), 8 * 150);
            assert!(device.data.inputs.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_seed_repeats_ids_and_data_and_another_region_gets_its_own() {
        let ids = |words: &[&str]| -> Vec<(String, Vec<f32>)> {
            let devices = devices(&arguments(words)).unwrap();
            let pair =
                |device: SimDevice| (device.device_id.to_string(), device.data.inputs.to_vec());
            devices.into_iter().map(pair).collect()
        };
        assert_eq!(ids(&["--seed", "1"]), ids(&["--seed", "1"]));
        assert_ne!(ids(&["--seed", "1"]), ids(&["--seed", "2"]));
        assert_ne!(ids(&[])[0].0, ids(&[])[0].0);
    }

    #[test]
    fn with_a_state_folder_every_device_has_a_folder_of_its_own_that_a_seed_finds_again() {
        let folders = || -> Vec<Option<PathBuf>> {
            let words = ["--seed", "1", "--state-dir", "kept"];
            let devices = devices(&arguments(&words)).unwrap();
            devices.into_iter().map(|device| device.folder).collect()
        };
        assert_eq!(folders(), folders());
        assert_eq!(folders()[2], Some(PathBuf::from("kept/eu-s1-2")));
        assert_eq!(
            devices(&arguments(&["--seed", "1"])).unwrap()[0].folder,
            None
        );
    }

    #[test]
    fn profiles_take_turns() {
        let words = ["--profile", "wrist-large,wrist-small", "--task", "digits"];
        let devices = devices(&arguments(&words)).unwrap();
        let names: Vec<&str> = devices
            .iter()
            .map(|device| device.hardware.name.as_str())
            .collect();
        assert_eq!(names[..3], ["wrist-large", "wrist-small", "wrist-large"]);
        assert_eq!(devices[0].data.inputs.len(), 8 * 64);
    }
}
