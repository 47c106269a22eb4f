//! What one simulated device is made of.

use std::path::PathBuf;
use std::sync::Arc;

use tributary_device::{
    DeviceMemory, Hardware, ParticipationRecord, SessionMode, StateFolder, TicketRecord, Token,
    VolatileMemory, VolatileRecord, VolatileTickets,
};
use tributary_proto::{DeviceId, RegionId};

use crate::behaviour::Behaviour;
use crate::error::FleetError;
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
    /// Values of an example, as the device declares them whatever its data are at the moment.
    pub features: Option<usize>,
    /// Its data.
    pub data: Shard,
    /// Its data after a drift of its region; the same data when `None`.
    pub shifted: Option<Shard>,
    /// Speed, drop-out and faults.
    pub behaviour: Behaviour,
    /// Stream or polling.
    pub mode: SessionMode,
    /// Where it keeps its state of runs and its record of participations over restarts; in memory
    /// when `None`.
    pub folder: Option<PathBuf>,
}

impl SimDevice {
    /// An honest, immediate device that holds a stream, and declares the width of its data.
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
            features: data.features(),
            data,
            shifted: None,
            behaviour: Behaviour::default(),
            mode: SessionMode::Stream,
            folder: None,
        }
    }

    /// What the device keeps from round to round: in its folder, or until the process ends.
    pub(crate) fn kept(&self) -> Result<Kept, FleetError> {
        let Some(folder) = &self.folder else {
            return Ok(Kept {
                memory: Arc::new(VolatileMemory::default()),
                record: Arc::new(VolatileRecord::default()),
                tickets: Arc::new(VolatileTickets::default()),
            });
        };
        let folder = StateFolder::open(folder)?;
        Ok(Kept {
            memory: Arc::new(folder.memory()?),
            record: Arc::new(folder.record()?),
            tickets: Arc::new(folder.tickets()?),
        })
    }
}

/// State of runs, the count of participations in them, and what was answered.
pub(crate) struct Kept {
    pub(crate) memory: Arc<dyn DeviceMemory>,
    pub(crate) record: Arc<dyn ParticipationRecord>,
    pub(crate) tickets: Arc<dyn TicketRecord>,
}
