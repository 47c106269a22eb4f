//! Who pays for votes, and by which mechanism.

use std::time::Duration;

use tributary_privacy::Mechanism;
use tributary_proto::{DeviceId, RegionId};

use crate::core::Core;
use crate::ledger::{ChargeKind, Exposure};
use tributary_recipe::RunSpec;

/// Devices asked in one window and region: what one commit can charge.
pub const MAX_ASKED: usize = 12_000;
/// A seeded window waits for everybody; it is given up after so many deadlines.
const SEEDED_PATIENCE: u32 = 10;

/// How long a poll waits for answers.
pub fn patience(spec: &RunSpec, deadline_ms: u64) -> Duration {
    let deadline = Duration::from_millis(deadline_ms);
    if spec.is_seeded() {
        deadline * SEEDED_PATIENCE
    } else {
        deadline
    }
}

/// What protects the votes that a run's monitor asks for, with or without noise on their sums.
pub fn mechanism(spec: &RunSpec, noised: bool) -> Mechanism {
    match (noised, spec.is_seeded()) {
        (false, _) => Mechanism::None,
        (true, true) => Mechanism::SeededNotPrivate,
        (true, false) => Mechanism::DiscreteGaussian,
    }
}

/// Devices of a region that can be asked.
pub struct Payers {
    /// How many are within reach.
    pub reachable: u64,
    /// Those that can pay, in the order of their ids.
    pub devices: Vec<DeviceId>,
}

/// Reachable devices of a region, and those that the monitor of a run may ask: they can pay `pico_rho` in
/// `draw`, the account of this kind, and where nothing protects what they say they are under no cap.
pub fn payers(
    core: &Core,
    (spec, run): (&RunSpec, &str),
    region: &RegionId,
    draw: (&str, ChargeKind),
    pico_rho: u64,
) -> Payers {
    let exposure = Exposure::of(spec, pico_rho > 0);
    let permitted = core.ledger.is_permitted(run);
    let mut devices = core.fleet.reachable(region, &spec.task);
    let reachable = devices.len() as u64;
    devices.retain(|device| {
        core.ledger.can_pay(device, region, draw, pico_rho)
            && (permitted || core.ledger.may_expose(device, region, exposure))
    });
    devices.sort_unstable();
    devices.truncate(MAX_ASKED);
    Payers { reachable, devices }
}
