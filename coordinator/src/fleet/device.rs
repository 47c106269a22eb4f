//! What is kept of a device.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tributary_proto::RegionId;
use tributary_proto::v1::DeviceProfile;

use super::as_itself;

/// What is kept of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its region. Only an operator moves it.
    pub region: RegionId,
    /// The region that it enrolled in and still names when it enrols again; absent if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) enrolled_in: Option<RegionId>,
    /// Its hardware.
    #[serde(with = "as_itself")]
    pub profile: Arc<Profile>,
    /// The tasks whose data it holds.
    #[serde(with = "as_itself")]
    pub tasks: Arc<Vec<String>>,
    /// SHA-256 of its token.
    pub(super) token: [u8; 32],
    /// What it said of itself before, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Former>,
}

/// What a device said of itself until it enrolled again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Former {
    /// Its hardware.
    #[serde(with = "as_itself")]
    pub profile: Arc<Profile>,
    /// The tasks whose data it held.
    #[serde(with = "as_itself")]
    pub tasks: Arc<Vec<String>>,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
}

/// A device's hardware, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Profile {
    /// Name of the hardware class.
    pub name: String,
    /// Processor core.
    pub core: String,
    /// Bytes of RAM for inference.
    pub ram_bytes: u64,
    /// Bytes of one model slot.
    pub flash_slot_bytes: u64,
    /// Build formats that it runs.
    pub formats: Vec<String>,
}

impl From<DeviceProfile> for Profile {
    fn from(wire: DeviceProfile) -> Self {
        Self {
            name: wire.name,
            core: wire.core,
            ram_bytes: wire.ram_bytes,
            flash_slot_bytes: wire.flash_slot_bytes,
            formats: wire.formats,
        }
    }
}
