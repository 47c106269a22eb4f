//! What a release needs, and what comes of it.

use std::sync::Arc;

use tributary_model::ModelFile;
use tributary_proto::DeviceId;

use crate::engine::Signs;
use crate::run::Format;
use crate::run::collect::Sealed;
use crate::run::costs::RunCosts;
use crate::run::server_state::ServerState;

/// The contributions of a round.
pub enum Collected {
    /// Exact integer sums. Nothing else of the round leaves the actor.
    Sums(Arc<Sealed>),
    /// Single updates, decoded, in the order of their devices' ids, for a robust rule.
    Updates(Vec<(DeviceId, Vec<f32>)>),
}

/// What a release needs, moved off the actor's thread. The models are moved, not copied: a large one
/// is in memory once.
pub struct Release {
    /// The contributions.
    pub collected: Collected,
    /// What they are made of.
    pub format: Arc<Format>,
    /// The planned number of contributions.
    pub cohort: u32,
    /// Number of regions.
    pub regions: usize,
    /// The price and the noise.
    pub costs: RunCosts,
    /// The versions that devices started from: one, or one per region or cluster.
    pub bases: Vec<ModelFile>,
    /// Optimisers and centre before this round.
    pub server: ServerState,
    /// The server's control variate (SCAFFOLD).
    pub control: Option<Vec<f32>>,
    /// Number of all devices, of which the control variate is the mean.
    pub population: u32,
    /// FLTrust's device.
    pub trusted: Option<DeviceId>,
    /// Seed of what a robust rule draws (the groups of bucketing).
    pub rule_seed: u64,
    /// Seed of the noise in a seeded run.
    pub noise_seed: Option<[u8; 32]>,
    /// How the round goes about its clip.
    pub clip: RoundClip,
    /// Standard deviation of the noise that each device adds itself, in the units of the parameters; else
    /// 0.
    pub local_noise: f64,
    /// The mean update of the round before.
    pub before: Option<Vec<f32>>,
}

/// How a round goes about its clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundClip {
    /// The clip of the round.
    pub now: f32,
    /// True when the round moves it.
    pub moves: bool,
    /// True when the round releases nothing else.
    pub only: bool,
}

/// New versions and the server's new state.
pub struct Released {
    /// The version of the whole run.
    pub main: ModelFile,
    /// The versions of regions or clusters; empty when there is one model.
    pub variants: Vec<ModelFile>,
    /// The server's new control variate.
    pub control: Option<Vec<f32>>,
    /// The clip of the rounds to come, where it moves.
    pub clip: Option<f32>,
    /// What the release says of the run's health.
    pub signs: Option<Signs>,
    /// The mean update; none when the round released none.
    pub step: Option<Vec<f32>>,
    /// Optimisers, centre and correlated noise.
    pub server: ServerState,
    /// The same as stored bytes.
    pub stored: Vec<u8>,
}
