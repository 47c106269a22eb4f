//! Why an event or an upload does not fit.

/// Why an event or an upload does not fit the state. Expected, counted, told to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The run is over.
    #[error("the run is over: wait for the next assignment")]
    RunOver,
    /// Another round is open.
    #[error("this round is not open: drop the update and wait for the next assignment")]
    WrongRound,
    /// The round is in another phase.
    #[error("the round does not collect any more: wait for the next assignment")]
    WrongPhase,
    /// The device holds no assignment.
    #[error("the device holds no assignment in this round: wait for one")]
    NotAssigned,
    /// The lease has ended.
    #[error("the lease has expired: drop the update and wait for the next assignment")]
    LeaseExpired,
    /// The device is counted already.
    #[error("the device is counted in this round already: nothing is left to do")]
    Duplicate,
    /// The round has all that it wants.
    #[error("the round has all the contributions it wants: drop the update")]
    GoalMet,
    /// The contribution could not be made durable.
    #[error("the coordinator could not store the update: send it again")]
    Interrupted,
    /// The round's buffer is full or not open yet; the update fits the next.
    #[error("the next buffer is about to open: send the update again in a moment")]
    BetweenBuffers,
    /// The folder is older than what devices have seen.
    #[error("the coordinator has lost a part of its past and stopped: keep the update")]
    Halted,
    /// Fewer contributions than the minimum.
    #[error("the round has fewer contributions than its minimum")]
    BelowMinimum,
}
