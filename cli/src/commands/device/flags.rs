//! Flags of the simulation.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tributary_device::Hardware;
use tributary_proto::RegionId;

/// Most devices of one command; each is a task with its own shard of data.
const MAX_DEVICES: u64 = 100_000;
/// Examples of a device, and the milliseconds of a step: small enough that devices are done in time with every
/// recipe of the repository.
const EXAMPLES: u32 = 8;
const STEP_MS: u64 = 1;

/// Flags of the simulation.
#[derive(Debug, Clone, Args)]
pub struct DeviceArguments {
    /// How many devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_DEVICES))]
    pub(crate) count: u64,
    /// The region that they belong to
    #[arg(long, value_name = "NAME")]
    pub(crate) region: RegionId,
    /// Whose data they hold: `watch`, `digits`, or a name of your own with --data-dir
    #[arg(long, value_name = "TASK", default_value = "watch")]
    pub(crate) task: String,
    /// Folder with IDX files (MNIST, Fashion-MNIST), plain or .gz
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Examples that each device holds
    #[arg(long, value_name = "N", default_value_t = EXAMPLES, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) examples: u32,
    /// The arm that wears the watch; `left` is a real shift for a model trained on right arms
    #[arg(long, value_enum, default_value = "right")]
    pub(crate) arm: Arm,
    /// Hardware, in turn over the devices
    #[arg(long, value_enum, value_delimiter = ',', default_value = "wrist-large")]
    pub(crate) profile: Vec<Profile>,
    /// Poll instead of holding a stream
    #[arg(long)]
    pub(crate) polling: bool,
    /// Share of assignments that a device gives back, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) drop_out: f64,
    /// Milliseconds that a device takes for one training step; all steps together must end before the
    /// run's privacy.answer_window_ms begins, or the answer has nothing in it
    #[arg(long, value_name = "MS", default_value_t = STEP_MS)]
    pub(crate) step_ms: u64,
    /// Repeats ids, data and drop-outs; started again, the same devices come back
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Folder in which every device keeps its state of runs and counts its participations, so that
    /// both outlast a restart with the same --seed
    #[arg(long, value_name = "DIR", requires = "seed")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Stop by itself after this long
    #[arg(long = "for", value_name = "SECONDS")]
    pub(crate) seconds: Option<u64>,
}

/// The arm that wears the watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arm {
    Right,
    Left,
}

/// Hardware classes that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Cortex-M4 with 2 KiB of RAM and 16 KiB of flash for a model
    WristLarge,
    /// Cortex-M0+ with 512 bytes of RAM and 5 KiB of flash for a model
    WristSmall,
}

impl Profile {
    /// What a device of this class reports of itself.
    pub(crate) fn hardware(self) -> Hardware {
        match self {
            Self::WristLarge => Hardware::int8("wrist-large", "cortex-m4", 2_048, 16_384),
            Self::WristSmall => Hardware::int8("wrist-small", "cortex-m0plus", 512, 5_120),
        }
    }
}
