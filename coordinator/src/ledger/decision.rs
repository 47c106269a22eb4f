//! A decision about caps, kept for good.

use serde::{Deserialize, Serialize};
use tributary_proto::RegionId;

/// What was decided about a cap, or in spite of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// A cap was set, or lowered, by an operator.
    Set,
    /// A recipe lowered the cap of the devices that it asks.
    Lowered,
    /// An operator raised a cap.
    Raised,
    /// A run may do without privacy on devices that are under a cap.
    WithoutPrivacy,
}

impl DecisionKind {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Lowered => "lowered",
            Self::Raised => "raised",
            Self::WithoutPrivacy => "without-privacy",
        }
    }
}

/// A decision, kept for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub kind: DecisionKind,
    /// The region that it is about; none for all devices.
    pub region: Option<RegionId>,
    /// The run that it is about; empty when none.
    pub run: String,
    /// The epsilon that was asked for; 0 when none.
    pub epsilon: f64,
    /// Its delta.
    pub delta: f64,
    /// The cap from then on, in units of 1e-12 of zCDP; none when it is not about one.
    pub pico_rho: Option<u64>,
    /// The cap before; none when there was none.
    pub before_pico_rho: Option<u64>,
    /// Why, in the words of who decided; may be empty.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}
