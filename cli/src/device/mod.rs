//! `tributary device`: simulated devices on real recordings, until they are told to stop.

mod check;
mod shards;
#[cfg(test)]
mod shipped_recipes;
mod status;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use sha2::{Digest, Sha256};
use tributary_device::{Hardware, SessionMode, Token};
use tributary_device_sim::{Behaviour, Fleet, FleetConfig, FleetHandle, Pace, Shard, SimDevice};
use tributary_proto::{DeviceId, RegionId};

use crate::arguments::Global;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::signals::stop_signal;

/// Most devices of one command; each is a task with its own shard of data.
const MAX_DEVICES: u64 = 100_000;

/// Examples of a device, and the milliseconds of a step: small enough that devices are done in time with every
/// recipe of the repository.
const EXAMPLES: u32 = 8;
const STEP_MS: u64 = 1;

const AFTER: &str = "\
Examples:
  tributary device --count 200 --region eu
  tributary device --count 50 --region us --profile wrist-large,wrist-small
  tributary device --count 50 --region us --drop-out 0.1 --step-ms 3
  tributary device --count 100 --region west --arm left
  tributary device --count 20 --region eu --seed 7 --state-dir devices/
  tributary device --count 20 --region eu --task digits
  tributary device --count 20 --region eu --task fashion --data-dir fashion/

Every device is a whole agent that enrols, trains, uploads, votes and installs
over gRPC; only its data and its speed are simulated. It waits while the
coordinator is away. Ctrl-c stops it and prints what happened.";

/// `device`: simulated devices, or what a maker of real ones needs.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = AFTER,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct DeviceCommand {
    /// The verb; none simulates devices.
    #[command(subcommand)]
    verb: Option<DeviceVerb>,
    /// Flags of the simulation.
    #[command(flatten)]
    simulated: Option<DeviceArguments>,
}

/// What is done without devices.
#[derive(Debug, Clone, Subcommand)]
enum DeviceVerb {
    /// Say what is wrong with an encoded update before it is sent
    CheckUpdate(check::CheckArguments),
}

/// Runs the verb.
pub async fn dispatch(command: DeviceCommand, global: &Global, output: Output) -> Result<Exit> {
    match (command.verb, command.simulated) {
        (Some(DeviceVerb::CheckUpdate(arguments)), _) => check::check(&arguments, output),
        (None, Some(arguments)) => simulate(arguments, global, output).await,
        // the parser wants --count and --region where there is no verb
        (None, None) => Err(Failure::new(Exit::Usage, "name --count and --region").into()),
    }
}

/// Flags of the simulation.
#[derive(Debug, Clone, Args)]
pub struct DeviceArguments {
    /// How many devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_DEVICES))]
    count: u64,
    /// The region that they belong to
    #[arg(long, value_name = "NAME")]
    region: RegionId,
    /// Whose data they hold: `watch`, `digits`, or a name of your own with --data-dir
    #[arg(long, value_name = "TASK", default_value = "watch")]
    task: String,
    /// Folder with IDX files (MNIST, Fashion-MNIST), plain or .gz
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Examples that each device holds
    #[arg(long, value_name = "N", default_value_t = EXAMPLES, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    examples: u32,
    /// The arm that wears the watch; `left` is a real shift for a model trained on right arms
    #[arg(long, value_enum, default_value = "right")]
    arm: Arm,
    /// Hardware, in turn over the devices
    #[arg(long, value_enum, value_delimiter = ',', default_value = "wrist-large")]
    profile: Vec<Profile>,
    /// Poll instead of holding a stream
    #[arg(long)]
    polling: bool,
    /// Share of assignments that a device gives back, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    drop_out: f64,
    /// Milliseconds that a device takes for one training step; all steps together must end before the
    /// run's privacy.answer_window_ms begins, or the answer has nothing in it
    #[arg(long, value_name = "MS", default_value_t = STEP_MS)]
    step_ms: u64,
    /// Repeats ids, data and drop-outs; started again, the same devices come back
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder in which every device keeps its state of runs and counts its participations, so that
    /// both outlast a restart with the same --seed
    #[arg(long, value_name = "DIR", requires = "seed")]
    state_dir: Option<PathBuf>,
    /// Stop by itself after this long
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
}

/// The arm that wears the watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arm {
    Right,
    Left,
}

/// Hardware classes that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Cortex-M4 with 2 KiB of RAM and 16 KiB of flash for a model
    WristLarge,
    /// Cortex-M0+ with 512 bytes of RAM and 5 KiB of flash for a model
    WristSmall,
}

impl Profile {
    fn hardware(self) -> Hardware {
        match self {
            Self::WristLarge => Hardware::int8("wrist-large", "cortex-m4", 2_048, 16_384),
            Self::WristSmall => Hardware::int8("wrist-small", "cortex-m0plus", 512, 5_120),
        }
    }
}

/// Runs the devices until a signal, or until all of them were refused.
async fn simulate(arguments: DeviceArguments, global: &Global, output: Output) -> Result<Exit> {
    crate::client::endpoint(&global.coordinator)?;
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

/// Whether nobody is left: every device was refused for good.
fn is_deserted(fleet: &FleetHandle) -> bool {
    let stats = fleet.stats();
    stats.refused >= stats.devices
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

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

    #[test]
    fn an_update_is_checked_without_any_flag_of_the_simulation() {
        let line = "tributary device check-update u.bin --codec int8 --clip 0.5 --values 3";
        let parsed = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Device(command) = parsed.command else {
            panic!("parsed as device")
        };
        assert!(command.verb.is_some() && command.simulated.is_none());
        let line = "tributary device check-update u.bin --codec zip --clip 0.5 --values 3";
        assert!(Arguments::try_parse_from(line.split(' ')).is_err());
        assert!(Arguments::try_parse_from(["tributary", "device"]).is_err());
    }

    #[test]
    fn impossible_flags_are_refused_by_the_parser() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("tributary device --count 1 --region eu --seed 1").is_ok());
        for line in [
            "tributary device --count 0 --region eu",
            "tributary device --count 1 --region e/u",
            "tributary device --count 1 --region eu --profile huge",
            "tributary device --count 1 --region eu --examples 0",
            "tributary device --count 1 --region eu --seed -1",
            "tributary device --count 1 --region eu --state-dir devices",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
