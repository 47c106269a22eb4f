//! What a device reports of its hardware.

use serde::{Deserialize, Serialize};

/// The build format that this agent runs.
pub const INT8_FORMAT: &str = "tributary-int8-v1";

/// What a device reports of its own hardware; decides which builds fit it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Short name of the hardware class, for example `wrist-large`.
    pub name: String,
    /// Processor core, for example `cortex-m4`.
    pub core: String,
    /// Bytes of RAM granted to inference.
    pub ram_bytes: u64,
    /// Bytes of flash in one model slot; a device has two.
    pub flash_slot_bytes: u64,
    /// Build formats that the device can run.
    pub formats: Vec<String>,
}

impl Hardware {
    /// Hardware that can run int8 bundles.
    pub fn int8(name: &str, core: &str, ram_bytes: u64, flash_slot_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            core: core.to_owned(),
            ram_bytes,
            flash_slot_bytes,
            formats: vec![INT8_FORMAT.to_owned()],
        }
    }
}
