//! `tributary device`: simulated devices on real recordings, until they are told to stop.
//!
//! - `flags`: what can be chosen; `shards`: the data that devices hold
//! - `simulation`, `status`: the fleet, and what it is doing
//! - `check`: what is wrong with an encoded update

mod check;
mod flags;
mod shards;
#[cfg(test)]
mod shipped_recipes;
mod simulation;
mod status;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::flags::DeviceArguments;
use crate::exit::{Exit, Failure};
use crate::global::Global;
use crate::output::Output;

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
        (None, Some(arguments)) => simulation::simulate(arguments, global, output).await,
        // the parser wants --count and --region where there is no verb
        (None, None) => Err(Failure::new(Exit::Usage, "name --count and --region").into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::arguments::Arguments;
    use crate::commands::Command;

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
