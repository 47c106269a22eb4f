//! What a device remembers from one order to the next.

use std::collections::VecDeque;
use std::sync::Arc;

use tributary_proto::v1::{Assignment, SummaryReport};

use crate::agent::job::Finished;
use crate::install::library::LoadedModel;
use crate::state::ticket::Place;

/// What a device remembers from one order to the next.
#[derive(Default)]
pub(crate) struct Recent {
    /// The models of the last orders, the newest at the end.
    pub(crate) models: VecDeque<Arc<LoadedModel>>,
    /// The last update that was made, until it is counted.
    pub(crate) finished: Option<(Origin, Finished)>,
    /// The last update that was counted.
    pub(crate) counted: Option<Counted>,
    /// The last votes, and what they answer.
    pub(crate) votes: Option<(Place, SummaryReport)>,
}

/// What an update was trained for and from. It answers every attempt of its round that starts from
/// the same versions: a coordinator that lost it takes it as well as a new one.
#[derive(PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) run_id: String,
    pub(crate) round: u32,
    pub(crate) model_digest: String,
    pub(crate) auxiliary_digests: Vec<String>,
}

impl Origin {
    pub(crate) fn of(order: &Assignment) -> Self {
        Self {
            run_id: order.run_id.clone(),
            round: order.round,
            model_digest: order.model_digest.clone(),
            auxiliary_digests: order.auxiliary_digests.clone(),
        }
    }
}

/// The last update that was counted, with the attempt: a round that was given up after it forgot it.
pub(crate) struct Counted {
    pub(crate) run_id: String,
    pub(crate) round: u32,
    pub(crate) attempt: u32,
}

impl Counted {
    pub(crate) fn answers(&self, order: &Assignment) -> bool {
        self.run_id == order.run_id && self.round == order.round && self.attempt == order.attempt
    }
}
