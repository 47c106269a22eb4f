//! The command line. Verbs define their own flags; this file lists the verbs.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::demo::DemoArguments;
use crate::device::DeviceCommand;
use crate::drift::DriftVerb;
use crate::experiment::ExperimentVerb;
use crate::fleet::FleetVerb;
use crate::model::ModelVerb;
use crate::monitor::MonitorVerb;
use crate::output::Format;
use crate::privacy::PrivacyVerb;
use crate::restore::RestoreArguments;
use crate::run::RunVerb;
use crate::serve::ServeArguments;
use crate::store::StoreVerb;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::BrightBlack.on_default());

const AFTER: &str = "\
Examples:
  tributary demo
  tributary serve --data tributary-data
  tributary device --count 200 --region eu
  tributary run start experiments/recipes/quickstart.toml
  tributary run watch RUN
  tributary run show RUN --format json

Exit codes:
  0  done; for `run watch`: the run completed
  1  the command or the run failed
  2  the command line is wrong
  3  the coordinator does not answer
  4  the coordinator refused: unknown id, bad argument, budget
  5  incomplete: the run was stopped before its last round

Environment:
  TRIBUTARY_COORDINATOR  the coordinator's address
  NO_COLOR               no colours when it is set
  RUST_LOG               what is logged to standard error, for example `info`";

/// Federated learning and drift monitoring for fleets of devices.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, styles = STYLES, after_help = AFTER)]
#[command(
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Reads the command line; ends the process when it is wrong or asks for help.
    pub fn read() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The command line, with help that lists only the flags that a verb has a use for.
fn command() -> clap::Command {
    let command = Arguments::command();
    let hidden = command
        .get_arguments()
        .find(|flag| flag.get_id() == "coordinator")
        .map(|flag| flag.clone().hide(true));
    match hidden {
        Some(hidden) => hide_coordinator(command, "", &hidden),
        None => command,
    }
}

/// Verbs that talk to no coordinator, or have one of their own; with all below them.
const ALONE: [&str; 9] = [
    "demo",
    "serve",
    "experiment",
    "store",
    "restore",
    "privacy epsilon",
    "privacy delta",
    "privacy noise",
    "privacy plan",
];

/// Gives the verbs that stand alone the flag as one that help leaves out. It must happen before clap builds the
/// verbs: a verb that has a flag of this name keeps its own, and a flag that is exchanged later shifts the
/// places under which clap finds `--help` and `--version`.
fn hide_coordinator(command: clap::Command, path: &str, hidden: &clap::Arg) -> clap::Command {
    let verbs: Vec<String> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    verbs.into_iter().fold(command, |command, verb| {
        let path = format!("{path} {verb}").trim_start().to_owned();
        command.mut_subcommand(verb, |verb| match ALONE.contains(&path.as_str()) {
            true => verb.arg(hidden.clone()),
            false => hide_coordinator(verb, &path, hidden),
        })
    })
}

/// What holds for every verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How the answer is printed on standard output
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "human",
        value_name = "FORMAT"
    )]
    pub format: Format,
    /// The coordinator to talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TRIBUTARY_COORDINATOR",
        default_value = "http://127.0.0.1:7070"
    )]
    pub coordinator: String,
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_coordinator_stands_in_the_help_of_those_who_ask_one() {
        let help = |path: &[&str]| {
            let mut command = command();
            command.build();
            let mut verb = &mut command;
            for name in path {
                verb = verb.find_subcommand_mut(name).unwrap();
            }
            verb.render_long_help().to_string()
        };
        for alone in [
            &["demo"][..],
            &["serve"],
            &["experiment", "run"],
            &["privacy", "epsilon"],
        ] {
            assert!(!help(alone).contains("--coordinator"), "{alone:?}");
            assert!(help(alone).contains("--format"), "{alone:?}");
        }
        for asking in [
            &["run", "ls"][..],
            &["device"],
            &["privacy", "show"],
            &["monitor", "stop"],
        ] {
            assert!(help(asking).contains("--coordinator"), "{asking:?}");
        }
        // hidden, it is still read, also before the verb
        let words = ["tributary", "--coordinator", "http://[::1]:1", "run", "ls"];
        let matches = command().try_get_matches_from(words).unwrap();
        let read = Arguments::from_arg_matches(&matches).unwrap();
        assert_eq!(read.global.coordinator, "http://[::1]:1");
    }

    #[test]
    fn every_verb_answers_to_help_and_to_version() {
        use clap::error::ErrorKind;

        fn walk(verb: &clap::Command, path: &[String], seen: &mut usize) {
            for (flag, kind) in [
                ("--help", ErrorKind::DisplayHelp),
                ("-h", ErrorKind::DisplayHelp),
                ("--version", ErrorKind::DisplayVersion),
                ("-V", ErrorKind::DisplayVersion),
            ] {
                let words = path.iter().map(String::as_str).chain([flag]);
                let answer = command().try_get_matches_from(words).unwrap_err();
                assert_eq!(answer.kind(), kind, "{path:?} {flag}: {answer}");
                let usage = format!("Usage: {}", path.join(" "));
                let is_its_own = answer.to_string().contains(&usage);
                assert_eq!(
                    is_its_own,
                    kind == ErrorKind::DisplayHelp,
                    "{path:?} {flag}"
                );
            }
            *seen += 1;
            for below in verb.get_subcommands() {
                let path = [path, &[below.get_name().to_owned()]].concat();
                walk(below, &path, seen);
            }
        }
        let mut seen = 0;
        walk(&Arguments::command(), &["tributary".to_owned()], &mut seen);
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn what_stands_below_the_flags_fits_80_columns() {
        fn check(command: &clap::Command) {
            let below = command.get_after_help().map(ToString::to_string);
            for line in below.unwrap_or_default().lines() {
                let length = line.chars().count();
                assert!(length <= 80, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }

    #[test]
    fn every_verb_shows_examples_in_its_help() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let verbs: Vec<_> = command
                .get_subcommands()
                .filter(|verb| verb.get_name() != "help")
                .collect();
            if verbs.is_empty() {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(help.contains("Examples:\n  tributary "), "{path}: {help}");
            }
            verbs.into_iter().for_each(|verb| check(verb, &path));
        }
        check(&Arguments::command(), "");
    }

    #[test]
    fn global_flags_are_accepted_behind_the_verb() {
        let words = [
            "tributary",
            "run",
            "ls",
            "--format",
            "json",
            "--coordinator",
            "http://[::1]:1",
        ];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(arguments.global.format, Format::Json);
        assert_eq!(arguments.global.coordinator, "http://[::1]:1");
    }
}
