//! Where a run comes from.

use tributary_proto::RunId;

/// Where a run comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Chosen by the caller: the same key never starts two runs. Empty for none.
    pub idempotency_key: String,
    /// The drift that a playbook answers.
    pub drift_id: Option<String>,
    /// The run whose playbook starts this one: it draws on what that has reserved.
    pub playbook_of: Option<RunId>,
    /// Why it may do without privacy on devices under a cap; empty when it may not.
    pub allow_no_privacy: String,
}
