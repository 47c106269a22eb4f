//! Taking a turn in a run that limits them: checked before the work, recorded before the first byte.

use std::sync::Arc;

use tributary_proto::v1::Assignment;

use crate::agent::Core;
use crate::assignment::{Abandoned, failed};
use crate::participation::{LimitError, Participations, Turn};
use crate::plan::LocalPlan;
use crate::record::{ParticipationRecord, RecordError};

/// An update's right to leave the device.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    run_id: String,
    /// None in runs without limits and without noise of the device's own.
    turn: Option<Turn>,
    /// Whether the record has these bytes for this attempt.
    taken: bool,
}

impl Pass {
    /// What an order asks for. In a seeded run a simulated device has no pause: virtual time does
    /// not pass.
    pub(crate) fn new(order: &Assignment, plan: &LocalPlan, simulated: bool) -> Self {
        let mut limits = plan.privacy.limits;
        if simulated && !plan.seed.is_empty() {
            limits.min_interval_ms = 0;
        }
        let turn = Turn {
            round: order.round,
            attempt: order.attempt,
            limits,
            noised: plan.privacy.is_noised(),
            resent: false,
        };
        Self {
            run_id: order.run_id.clone(),
            turn: (limits.is_limited() || turn.noised).then_some(turn),
            taken: false,
        }
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
}

/// Why a turn can't be taken.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Core {
    /// Whether the device may work for this pass at all.
    pub(crate) async fn check_limits(&self, pass: &Pass) -> Result<(), Abandoned> {
        match pass.turn {
            Some(turn) => self.with_record(pass, turn, false).await,
            None => Ok(()),
        }
    }

    /// Makes the participation durable, unless the record has it already.
    pub(crate) async fn take_turn(&self, pass: &mut Pass) -> Result<(), Abandoned> {
        if let Some(turn) = pass.turn
            && !pass.taken
        {
            self.with_record(pass, turn, true).await?;
            pass.taken = true;
        }
        Ok(())
    }

    /// Files may be read and synced: done on a thread of its own, not among the trainings, which an
    /// opened upload must not wait for.
    async fn with_record(&self, pass: &Pass, turn: Turn, store: bool) -> Result<(), Abandoned> {
        let record = Arc::clone(&self.record);
        let now_ms = self.environment.clock.now_ms();
        let run_id = pass.run_id.clone();
        let work = move || take(record.as_ref(), &run_id, &turn, now_ms, store);
        let outcome = tokio::task::spawn_blocking(work).await;
        let error = match outcome {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(failed("crashed")),
        };
        let device = self.identity.hashed_id();
        Err(match error {
            TurnError::Limit(limit) => {
                tracing::debug!(device, run = pass.run_id, %limit, "assignment given back");
                Abandoned {
                    reason: "limit",
                    ..failed(limit.reason())
                }
            }
            TurnError::Record(error) => {
                tracing::warn!(device, %error, "no part in a run with limits");
                failed(error.reason())
            }
        })
    }
}

/// Checks a turn against the record and, with `store`, writes it there. The device works off one
/// order at a time, so nothing comes between.
fn take(
    record: &dyn ParticipationRecord,
    run_id: &str,
    turn: &Turn,
    now_ms: u64,
    store: bool,
) -> Result<Participations, TurnError> {
    let after = record.load(run_id)?.after(turn, now_ms)?;
    if store {
        record.store(run_id, &after)?;
    }
    Ok(after)
}
