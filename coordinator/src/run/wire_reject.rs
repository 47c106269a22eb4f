//! Refusals of the engine on the wire.

use tributary_proto::v1::{self, RejectReason};

use crate::engine::Reject;

/// The reason on the wire of an engine's refusal.
pub fn wire_reason(reject: Reject) -> RejectReason {
    match reject {
        Reject::RunOver => RejectReason::UnknownRun,
        Reject::WrongRound | Reject::WrongPhase | Reject::BelowMinimum => RejectReason::WrongRound,
        Reject::NotAssigned => RejectReason::NotAssigned,
        Reject::LeaseExpired => RejectReason::LeaseExpired,
        Reject::Duplicate => RejectReason::Duplicate,
        Reject::GoalMet => RejectReason::GoalMet,
        Reject::Interrupted | Reject::BetweenBuffers => RejectReason::Busy,
        Reject::Halted => RejectReason::Halted,
    }
}

/// An engine's refusal as a message.
pub fn wire_reject(reject: Reject) -> v1::Reject {
    let retry_after_ms = match reject {
        Reject::Interrupted => 1_000,
        Reject::BetweenBuffers => 50,
        Reject::Halted => 60_000,
        _ => 0,
    };
    v1::Reject {
        reason: wire_reason(reject).into(),
        message: reject.to_string(),
        retry_after_ms,
        ..v1::Reject::default()
    }
}
