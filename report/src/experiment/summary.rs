//! The numbers of a whole run; also what `tributary demo --format json` prints.

use serde::{Deserialize, Serialize};

use crate::nullable;

/// Numbers of the whole run. `None` means not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Devices in the fleet.
    pub devices: u64,
    /// Regions, in the order in which they are coloured.
    pub regions: Vec<String>,
    /// Rounds released, retraining included.
    pub rounds: u64,
    /// The variant that the milestones are of, where several are compared; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub headline: String,
    /// Held-out accuracy at the milestones.
    pub accuracy: AccuracySummary,
    /// Privacy spent on the most charged device.
    pub privacy: PrivacySummary,
    /// Drift, where it was tried.
    pub drift: Option<DriftSummary>,
    /// Builds for device profiles.
    pub builds: Vec<Build>,
    /// Digest of the last model version, 64 hex digits; may be empty.
    pub model_digest: String,
    /// Its marks: `SEEDED` where noise is known, `NO NOISE` where there was none, `RESTORED` where earlier
    /// spending was lost with a data folder, also in what it comes from.
    #[serde(default)]
    pub marks: Vec<String>,
    /// Path of the HTML page; may be empty.
    pub report: String,
    /// Bytes of the whole run.
    pub wire_bytes: WireBytes,
    /// Duration in seconds.
    pub wall_s: Option<f64>,
    /// Largest resident memory of the process in bytes.
    pub peak_rss_bytes: Option<u64>,
}

/// Held-out accuracy, 0 to 1, at the milestones of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccuracySummary {
    /// Before the first round.
    pub initial: Option<f64>,
    /// After training.
    pub trained: Option<f64>,
    /// Of the trained model on the drifted region.
    pub drifted: Option<f64>,
    /// Of the retrained model on the drifted region.
    pub recovered: Option<f64>,
    /// Of its 8-bit build.
    pub recovered_int8: Option<f64>,
}

/// A privacy statement. All five parts belong together: an epsilon without them means nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrivacySummary {
    /// Epsilon at `delta`, all charges included.
    #[serde(with = "nullable")]
    pub epsilon: f64,
    /// Delta.
    #[serde(with = "nullable")]
    pub delta: f64,
    /// zCDP.
    #[serde(with = "nullable")]
    pub rho: f64,
    /// Which data sets count as neighbours, e.g. `zero-out-one-device`.
    pub adjacency: String,
    /// The noise, e.g. `discrete Gaussian, uniform mean`.
    pub mechanism: String,
}

/// What became of the drift.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftSummary {
    /// Region that drifted.
    pub region: String,
    /// Window in which it began.
    pub injected_window: u64,
    /// Window in which it was called; `None` when it was missed.
    pub detected_window: Option<u64>,
    /// Calls of drift in other regions or before it began.
    pub false_alarms: u64,
}

/// A model built for a device profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Region it is for.
    pub region: String,
    /// Device profile.
    pub profile: String,
    /// Format, e.g. `int8`, `int8 half width`.
    pub format: String,
    /// Bytes of the bundle in flash.
    pub bytes: u64,
    /// Bytes of working memory.
    pub arena_bytes: u64,
    /// Flash slot of the profile in bytes.
    pub slot_bytes: Option<u64>,
    /// Working memory of the profile in bytes.
    pub ram_bytes: Option<u64>,
    /// Devices that run it now.
    pub installed_on: u64,
    /// Held-out accuracy, 0 to 1.
    pub accuracy: Option<f64>,
    /// Why this build was chosen, e.g. `full 8-bit does not fit: needs 7,412 B, slot has 6,144 B`.
    pub decision: String,
}

/// Bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireBytes {
    /// From the coordinator to devices.
    pub down: u64,
    /// From devices to the coordinator.
    pub up: u64,
}
