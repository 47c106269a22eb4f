//! Who pays for votes, up to which cap, and by which mechanism.

use std::time::Duration;

use tributary_aggregator::{Mechanism, rho_for_epsilon};
use tributary_proto::{DeviceId, RegionId};

use crate::CoordinatorError;
use crate::core::Core;
use crate::spec::RunSpec;

/// Devices asked in one window and region: what one commit can charge.
pub const MAX_ASKED: usize = 12_000;
/// A seeded window waits for everybody; it is given up after so many deadlines.
const SEEDED_PATIENCE: u32 = 10;

/// What a recipe allows a device to spend, in units of 1e-12 of zCDP.
///
/// # Errors
/// When it can't be represented.
pub fn cap(spec: &RunSpec) -> Result<Option<u64>, CoordinatorError> {
    let privacy = &spec.privacy;
    let cap = privacy
        .epsilon
        .map(|epsilon| rho_for_epsilon(epsilon, privacy.delta))
        .transpose()?;
    Ok(cap.map(|rho| rho.pico()))
}

/// How long a poll waits for answers.
pub fn patience(spec: &RunSpec, deadline_ms: u64) -> Duration {
    let deadline = Duration::from_millis(deadline_ms);
    if spec.is_seeded() {
        deadline * SEEDED_PATIENCE
    } else {
        deadline
    }
}

/// What protects the votes that a run's monitor asks for.
pub fn mechanism(spec: &RunSpec) -> Mechanism {
    match spec.is_seeded() {
        true => Mechanism::SeededNotPrivate,
        false => Mechanism::DiscreteGaussian,
    }
}

/// Devices of a region that can be asked.
pub struct Payers {
    /// How many are within reach.
    pub reachable: u64,
    /// Those that can pay, in the order of their ids.
    pub devices: Vec<DeviceId>,
}

/// Reachable devices of a region, and those that can pay.
pub fn payers(
    core: &Core,
    region: &RegionId,
    task: &str,
    pico_rho: u64,
    cap: Option<u64>,
) -> Payers {
    let mut devices = core.fleet.reachable(region, task);
    let reachable = devices.len() as u64;
    devices.retain(|device| core.ledger.can_pay(device, pico_rho, cap));
    devices.sort_unstable();
    devices.truncate(MAX_ASKED);
    Payers { reachable, devices }
}
