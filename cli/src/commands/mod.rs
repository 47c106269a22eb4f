//! The verbs, each in a file or folder of its own, with its flags, its help and what it prints.
//!
//! | module | holds |
//! |---|---|
//! | [`demo`], [`experiment`] | verbs that play a story of their own |
//! | [`serve`], [`device`] | verbs that run until they are stopped |
//! | [`run`], [`model`], [`fleet`], [`drift`], [`monitor`], [`privacy`] | verbs that ask a coordinator |
//! | [`store`], [`restore`] | verbs for a data folder that no coordinator uses |

mod demo;
mod device;
mod drift;
mod experiment;
mod fleet;
mod model;
mod monitor;
mod privacy;
mod restore;
mod run;
mod serve;
mod store;

use anyhow::Result;
use clap::Subcommand;

use self::demo::DemoArguments;
use self::device::DeviceCommand;
use self::drift::DriftVerb;
use self::experiment::ExperimentVerb;
use self::fleet::FleetVerb;
use self::model::ModelVerb;
use self::monitor::MonitorVerb;
use self::privacy::PrivacyVerb;
use self::restore::RestoreArguments;
use self::run::RunVerb;
use self::serve::ServeArguments;
use self::store::StoreVerb;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::Output;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See the whole promise happen, in about a minute
    Demo(DemoArguments),
    /// Serve a coordinator from a data folder
    Serve(ServeArguments),
    /// Make a data folder safe that was put back from a copy
    Restore(RestoreArguments),
    /// Simulate devices that take part, on real recordings
    Device(DeviceCommand),
    /// Start, list, show, watch and stop training runs
    #[command(arg_required_else_help = true)]
    Run {
        /// The verb.
        #[command(subcommand)]
        verb: RunVerb,
    },
    /// List, show, export and import model versions
    #[command(arg_required_else_help = true)]
    Model {
        /// The verb.
        #[command(subcommand)]
        verb: ModelVerb,
    },
    /// Count the enrolled and connected devices, and move one to another region
    #[command(arg_required_else_help = true)]
    Fleet {
        /// The verb.
        #[command(subcommand)]
        verb: FleetVerb,
    },
    /// Show what the drift monitors see
    #[command(arg_required_else_help = true)]
    Drift {
        /// The verb.
        #[command(subcommand)]
        verb: DriftVerb,
    },
    /// List and end the drift monitors
    #[command(arg_required_else_help = true)]
    Monitor {
        /// The verb.
        #[command(subcommand)]
        verb: MonitorVerb,
    },
    /// Show the privacy that was spent and what remains, and calculate what a plan costs
    #[command(arg_required_else_help = true)]
    Privacy {
        /// The verb.
        #[command(subcommand)]
        verb: PrivacyVerb,
    },
    /// Check, repair and migrate the metadata of a data folder while no coordinator uses it
    #[command(arg_required_else_help = true)]
    Store {
        /// The verb.
        #[command(subcommand)]
        verb: StoreVerb,
    },
    /// Run recipes with several variants and report on them
    #[command(arg_required_else_help = true)]
    Experiment {
        /// The verb.
        #[command(subcommand)]
        verb: ExperimentVerb,
    },
}

/// Does what was asked.
pub async fn dispatch(command: Command, global: &Global, output: Output) -> Result<Exit> {
    match command {
        Command::Demo(demo) => Box::pin(demo::play(demo, output)).await,
        Command::Experiment { verb } => Box::pin(experiment::dispatch(verb, output)).await,
        Command::Serve(serve) => serve::serve(serve, output).await,
        Command::Restore(restore) => restore::restore(restore, output).await,
        Command::Device(device) => device::dispatch(device, global, output).await,
        Command::Run { verb } => run::dispatch(verb, global, output).await,
        Command::Model { verb } => model::dispatch(verb, global, output).await,
        Command::Fleet { verb } => fleet::dispatch(verb, global, output).await,
        Command::Drift { verb } => drift::dispatch(verb, global, output).await,
        Command::Store { verb } => store::dispatch(verb, output).await,
        Command::Monitor { verb } => monitor::dispatch(verb, global, output).await,
        Command::Privacy { verb } => privacy::dispatch(verb, global, output).await,
    }
}
