//! What one simulated device is made of.

use tributary_device::{Hardware, SessionMode, Token};
use tributary_proto::{DeviceId, RegionId};

use crate::behaviour::Behaviour;
use crate::shard::Shard;

/// A device to simulate.
#[derive(Debug, Clone)]
pub struct SimDevice {
    /// Its id.
    pub device_id: DeviceId,
    /// Its token; derived from the fleet's seed, or drawn from the operating system, when `None`.
    pub token: Option<Token>,
    /// Its region.
    pub region: RegionId,
    /// Its hardware.
    pub hardware: Hardware,
    /// The tasks that its data serves.
    pub tasks: Vec<String>,
    /// Its data.
    pub data: Shard,
    /// Its data after a drift of its region; the same data when `None`.
    pub shifted: Option<Shard>,
    /// Speed, drop-out and faults.
    pub behaviour: Behaviour,
    /// Stream or polling.
    pub mode: SessionMode,
}

impl SimDevice {
    /// An honest, immediate device that holds a stream.
    pub fn new(
        device_id: DeviceId,
        region: RegionId,
        hardware: Hardware,
        task: &str,
        data: Shard,
    ) -> Self {
        Self {
            device_id,
            token: None,
            region,
            hardware,
            tasks: vec![task.to_owned()],
            data,
            shifted: None,
            behaviour: Behaviour::default(),
            mode: SessionMode::Stream,
        }
    }
}
