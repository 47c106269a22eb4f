//! The states of a region and the legal steps between them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the monitor says of a region after a window or a step.
///
/// ```text
///            +-> Ok <-> Warning
/// WarmUp ----+-> Warning -> Drift, Ok
///            +-> Drift -> Ok (calm by itself) | Mitigating
/// Mitigating -> Validating | Drift (failed)
/// Validating -> Cooldown | Drift (failed)
/// Cooldown   -> Ok | Warning | Drift, once its windows are over
/// any        -> InsufficientData, which keeps the state behind it and its timers
/// any        -> WarmUp by an explicit rebase
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The reference is being built.
    WarmUp,
    /// Too few devices, or too much noise to see a shift worth acting on.
    InsufficientData,
    /// No sign of drift.
    Ok,
    /// A sign of drift that noise gives now and then.
    Warning,
    /// Drift.
    Drift,
    /// A playbook is at work.
    Mitigating,
    /// The mitigated model is on trial; a new reference is being built.
    Validating,
    /// The mitigation holds; tests run against the new reference but are muted.
    Cooldown,
}

impl Verdict {
    /// Whether a region may go from this state to `next` (both the state behind an
    /// [`Verdict::InsufficientData`], see [`crate::RegionMonitor::state`]). Staying is always legal.
    pub fn may_become(self, next: Self) -> bool {
        use Verdict::{
            Cooldown, Drift, InsufficientData, Mitigating, Ok, Validating, WarmUp, Warning,
        };
        match (self, next) {
            (InsufficientData, _) | (_, InsufficientData) => true,
            (from, to) if from == to => true,
            (_, WarmUp) => true,
            (WarmUp | Cooldown, Ok | Warning | Drift) => true,
            (Ok, Warning | Drift) | (Warning, Ok | Drift) => true,
            (Drift, Ok | Mitigating) => true,
            (Mitigating, Validating | Drift) | (Validating, Cooldown | Drift) => true,
            _ => false,
        }
    }

    /// Lower-case name as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warm-up",
            Self::InsufficientData => "insufficient-data",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Drift => "drift",
            Self::Mitigating => "mitigating",
            Self::Validating => "validating",
            Self::Cooldown => "cooldown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Version of a region's reference; rises by one with each new reference.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct ReferenceVersion(pub u32);

impl fmt::Display for ReferenceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Name of one drift of one region: `region/r1/w17`. Playbooks are idempotent by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DriftId(pub String);

impl DriftId {
    /// The drift that was first seen in `window`, against reference `version`.
    pub fn new(region: &str, version: ReferenceVersion, window: u64) -> Self {
        Self(format!("{region}/{version}/w{window}"))
    }
}

impl fmt::Display for DriftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
