//! Taking a turn in a run that limits them: checked before the work, recorded before the first byte.

use std::fmt;
use std::sync::Arc;

use crate::state::clock::Clock;
use crate::state::identity::Identity;
use crate::state::participation::{LimitError, ParticipationRequest, Participations};
use crate::state::record::{ParticipationRecord, RecordError};

/// An update's right to leave the device.
#[derive(Clone)]
pub(crate) struct Permit {
    run_id: String,
    /// None in runs without limits and without noise of the device's own.
    turn: Option<ParticipationRequest>,
    /// Whether the record has these bytes for this attempt.
    taken: bool,
    record: Arc<dyn ParticipationRecord>,
    clock: Arc<dyn Clock>,
}

/// Why a turn can't be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PermitError {
    /// The device takes no further part.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// What it took part in can't be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record panicked.
    #[error("the record of participations crashed; see the panic message above")]
    Crashed,
}

impl PermitError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Limit(limit) => limit.reason(),
            Self::Record(error) => error.reason(),
            Self::Crashed => "crashed",
        }
    }

    /// Logs it once, where the turn was asked for.
    pub(crate) fn log(&self, identity: &Identity, run: &str) {
        let device = identity.hashed_id();
        match self {
            Self::Limit(limit) => tracing::debug!(device, run, %limit, "assignment given back"),
            Self::Record(error) => {
                tracing::warn!(device, %error, "no part in a run with limits");
            }
            Self::Crashed => {}
        }
    }
}

impl Permit {
    /// The right to take `turn`; without limits and without noise of the device's own nothing is recorded.
    pub(crate) fn new(
        run_id: &str,
        turn: ParticipationRequest,
        record: Arc<dyn ParticipationRecord>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            run_id: run_id.to_owned(),
            turn: (turn.limits.is_limited() || turn.noised).then_some(turn),
            taken: false,
            record,
            clock,
        }
    }

    /// The run.
    pub(crate) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The same bytes answer an attempt of the same round.
    pub(crate) fn renew(&mut self, attempt: u32) {
        if let Some(turn) = &mut self.turn
            && turn.attempt != attempt
        {
            turn.attempt = attempt;
            turn.resent |= self.taken;
            self.taken = false;
        }
    }

    /// Whether the device may work for this pass at all.
    pub(crate) async fn check(&self) -> Result<(), PermitError> {
        match self.turn {
            Some(turn) => self.with_record(turn, false).await,
            None => Ok(()),
        }
    }

    /// Makes the participation durable, unless the record has it already.
    pub(crate) async fn take(&mut self) -> Result<(), PermitError> {
        if let Some(turn) = self.turn
            && !self.taken
        {
            self.with_record(turn, true).await?;
            self.taken = true;
        }
        Ok(())
    }

    /// Files may be read and synced: done on a thread of its own, not among the trainings, which an
    /// opened upload must not wait for.
    async fn with_record(
        &self,
        turn: ParticipationRequest,
        store: bool,
    ) -> Result<(), PermitError> {
        let record = Arc::clone(&self.record);
        let now_ms = self.clock.now_ms();
        let run_id = self.run_id.clone();
        let work = move || take(record.as_ref(), &run_id, &turn, now_ms, store);
        match tokio::task::spawn_blocking(work).await {
            Ok(taken) => taken.map(|_| ()),
            Err(_) => Err(PermitError::Crashed),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("run_id", &self.run_id)
            .field("turn", &self.turn)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// Checks a turn against the record and, with `store`, writes it there. The device works off one
/// order at a time, so nothing comes between.
fn take(
    record: &dyn ParticipationRecord,
    run_id: &str,
    turn: &ParticipationRequest,
    now_ms: u64,
    store: bool,
) -> Result<Participations, PermitError> {
    let after = record.load(run_id)?.after(turn, now_ms)?;
    if store {
        record.store(run_id, &after)?;
    }
    Ok(after)
}
