//! Fields of `fleet`.

use serde::Serialize;
use tributary_proto::v1;

/// `fleet ls`: devices by region and profile.
#[derive(Debug, Serialize)]
pub struct FleetView {
    /// Devices enrolled.
    pub enrolled: u64,
    /// Devices with an open session.
    pub connected: u64,
    /// By region and profile.
    pub groups: Vec<FleetGroupView>,
}

/// Devices of one region and profile.
#[derive(Debug, Serialize)]
pub struct FleetGroupView {
    /// The region.
    pub region: String,
    /// The profile.
    pub profile: String,
    /// Devices enrolled.
    pub enrolled: u64,
    /// Devices with an open session.
    pub connected: u64,
}

/// `fleet move`: a device where it is now.
#[derive(Debug, Serialize)]
pub struct MovedView {
    /// The device.
    pub device: String,
    /// Where it was; the same as `region` when it was there already.
    pub from_region: String,
    /// Where it is.
    pub region: String,
}

impl From<v1::MoveDeviceResponse> for MovedView {
    fn from(moved: v1::MoveDeviceResponse) -> Self {
        Self {
            device: moved.device_id,
            from_region: moved.from_region,
            region: moved.region,
        }
    }
}

impl From<v1::GetFleetResponse> for FleetView {
    fn from(fleet: v1::GetFleetResponse) -> Self {
        let group = |group: v1::FleetGroup| FleetGroupView {
            region: group.region,
            profile: group.profile,
            enrolled: group.enrolled,
            connected: group.connected,
        };
        Self {
            enrolled: fleet.groups.iter().map(|group| group.enrolled).sum(),
            connected: fleet.groups.iter().map(|group| group.connected).sum(),
            groups: fleet.groups.into_iter().map(group).collect(),
        }
    }
}
