//! Caps: the most that a device may lose over everything, kept in zCDP for a population of devices.
//!
//! There is a cap for all devices and one for each region. A device is under the cap of all, that of the
//! region that it is in, and those of regions that it was in: leaving a region sheds no cap. What was
//! lowered after a device had left does not bind it; what was raised is raised for it too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_privacy::{AccountingError, Adjacency, Rho, rho_for_epsilon};
use tributary_proto::RegionId;

use tributary_recipe::RunSpec;

/// What adds up under a cap, as its mechanism is printed.
pub const ALL_CHARGES: &str = "all charges of a device, zCDP composition, no amplification";

/// The most that any device of a population may lose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cap {
    /// In units of 1e-12 of zCDP: the largest whose epsilon at `delta` is at most `epsilon`.
    pub pico_rho: u64,
    /// As it was asked for.
    pub epsilon: f64,
    /// The delta of that epsilon.
    pub delta: f64,
    /// The run whose recipe set it; empty when an operator did.
    pub run: String,
    /// False while only seeded runs, which keep no secret, have asked for it.
    pub is_promise: bool,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

impl Cap {
    /// The cap of an epsilon at a delta.
    ///
    /// # Errors
    /// When epsilon is not finite and above 0, or delta not within (0, 1).
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, AccountingError> {
        Ok(Self {
            pico_rho: rho_for_epsilon(epsilon, delta)?.pico(),
            epsilon,
            delta,
            run: String::new(),
            is_promise: true,
            unix_ms: 0,
        })
    }

    /// The cap in a sentence, with what its epsilon means.
    pub fn stated(&self) -> String {
        format!(
            "epsilon {} at delta {:e} ({}, {ALL_CHARGES}; rho {})",
            self.epsilon,
            self.delta,
            Adjacency::ZeroOutDevice.words(),
            Rho::from_pico(self.pico_rho)
        )
    }
}

/// What a run lets be seen of its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Nothing without noise.
    Noised,
    /// Everything to whoever knows its seed.
    Seeded,
    /// Everything to everybody.
    Bare,
}

impl Exposure {
    /// That of a run, or of its monitor whose votes are `noised` or not.
    pub fn of(spec: &RunSpec, noised: bool) -> Self {
        match (noised, spec.is_seeded()) {
            (false, _) => Self::Bare,
            (true, true) => Self::Seeded,
            (true, false) => Self::Noised,
        }
    }

    /// True when this cap is in the way. A cap that seeded runs alone have asked for promises nobody
    /// anything that a seed could break.
    pub(super) fn breaks(self, cap: &Cap) -> bool {
        match self {
            Self::Noised => false,
            Self::Seeded => cap.is_promise,
            Self::Bare => true,
        }
    }
}

/// All caps. The region is none for the cap of all devices.
#[derive(Debug, Clone, Default)]
pub(super) struct Caps(BTreeMap<Option<RegionId>, Cap>);

impl Caps {
    pub(super) fn set(&mut self, scope: Option<RegionId>, cap: Cap) {
        self.0.insert(scope, cap);
    }

    /// The cap that was set for this population, not those that bind it as well.
    pub(super) fn get(&self, scope: &Option<RegionId>) -> Option<&Cap> {
        self.0.get(scope)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Option<RegionId>, &Cap)> {
        self.0.iter()
    }

    /// The caps that bind every device of a region.
    pub(super) fn binding(&self, region: &RegionId) -> impl Iterator<Item = &Cap> {
        let region = Some(region.clone());
        self.get(&None).into_iter().chain(self.get(&region))
    }

    /// The least cap of a device that is, and always was, in `region`.
    pub(super) fn of_region(&self, region: &RegionId) -> Option<u64> {
        self.binding(region).map(|cap| cap.pico_rho).min()
    }
}
