//! Who may change a cap, and how: lowering is for anybody, raising takes a reason.

use tributary_proto::RegionId;

use super::caps::Cap;
use super::change::Change;
use super::decision::{Decision, DecisionKind};
use super::hold::Hold;
use crate::CoordinatorError;

/// Longest reason, in bytes.
const MAX_REASON: usize = 500;

/// Checks a reason that somebody gave for going beyond a cap.
///
/// # Errors
/// [`CoordinatorError::Invalid`] when it is empty or too long.
pub fn check_reason(reason: &str) -> Result<(), CoordinatorError> {
    let fits = !reason.trim().is_empty() && reason.len() <= MAX_REASON;
    if fits {
        return Ok(());
    }
    Err(CoordinatorError::Invalid {
        field: "reason",
        problem: format!("has {} bytes", reason.trim().len()),
        remedy: "say why in 1 to 500 bytes: it is kept and shown by `tributary privacy show`",
    })
}

impl Hold {
    /// What an operator's new cap changes. With `raise`, the reason for it, it may be above the one that
    /// holds; without a region it is then raised for all regions.
    ///
    /// # Errors
    /// [`CoordinatorError::Budget`] when it is above the cap that holds and is not to raise it, or is to
    /// raise it and does not.
    pub fn set_cap(
        &self,
        region: Option<RegionId>,
        cap: &Cap,
        raise: Option<&str>,
    ) -> Result<Vec<Change>, CoordinatorError> {
        let books = self.lock();
        let own = books.caps.get(&region);
        let all = books.caps.get(&None);
        let holds = match &region {
            Some(region) => books.caps.binding(region).min_by_key(|cap| cap.pico_rho),
            None => own,
        };
        let above = holds.filter(|holds| cap.pico_rho > holds.pico_rho);
        if let (Some(holds), None) = (above, raise) {
            return Err(refused(cap, holds, "raise it with --raise --reason TEXT"));
        }
        if let (Some(holds), Some(_)) = (holds, raise)
            && cap.pico_rho < holds.pico_rho
        {
            return Err(CoordinatorError::Budget(format!(
                "{} is below the cap that holds, {}: leave --raise out to lower it",
                cap.stated(),
                holds.stated()
            )));
        }
        if let (Some(_), Some(all)) = (&region, all)
            && cap.pico_rho > all.pico_rho
        {
            return Err(refused(
                cap,
                all,
                "raise the cap of all devices: leave --region out",
            ));
        }
        let mut changes = Vec::new();
        let kind = match above {
            Some(_) => DecisionKind::Raised,
            None => DecisionKind::Set,
        };
        let reason = raise.unwrap_or_default();
        push(&mut changes, region.clone(), cap, own, (kind, reason));
        if region.is_none() && raise.is_some() {
            let lower = books.caps.iter();
            let lower =
                lower.filter(|(scope, known)| scope.is_some() && known.pico_rho < cap.pico_rho);
            for (scope, known) in lower {
                let raised = (DecisionKind::Raised, reason);
                push(&mut changes, scope.clone(), cap, Some(known), raised);
            }
        }
        Ok(changes)
    }

    /// What the epsilon of a recipe that asks `regions` changes: their caps are at most this, for good.
    pub fn lower(&self, regions: &[RegionId], cap: &Cap) -> Vec<Change> {
        let books = self.lock();
        let mut changes = Vec::new();
        for region in regions {
            let scope = Some(region.clone());
            match books.caps.get(&scope) {
                Some(known) if known.pico_rho <= cap.pico_rho => {
                    if cap.is_promise && !known.is_promise {
                        let promised = Cap {
                            is_promise: true,
                            ..known.clone()
                        };
                        changes.push(Change::Cap(scope, promised));
                    }
                }
                known => push(&mut changes, scope, cap, known, (DecisionKind::Lowered, "")),
            }
        }
        changes
    }
}

/// Lets a run do without privacy on devices under a cap.
pub fn permit(run: &str, reason: &str, unix_ms: u64) -> Change {
    Change::Decide(Decision {
        kind: DecisionKind::WithoutPrivacy,
        region: None,
        run: run.to_owned(),
        epsilon: 0.0,
        delta: 0.0,
        pico_rho: None,
        before_pico_rho: None,
        reason: reason.to_owned(),
        unix_ms,
    })
}

fn push(
    changes: &mut Vec<Change>,
    region: Option<RegionId>,
    cap: &Cap,
    before: Option<&Cap>,
    (kind, reason): (DecisionKind, &str),
) {
    changes.push(Change::Cap(region.clone(), cap.clone()));
    changes.push(Change::Decide(Decision {
        kind,
        region,
        run: cap.run.clone(),
        epsilon: cap.epsilon,
        delta: cap.delta,
        pico_rho: Some(cap.pico_rho),
        before_pico_rho: before.map(|cap| cap.pico_rho),
        reason: reason.to_owned(),
        unix_ms: cap.unix_ms,
    }));
}

fn refused(cap: &Cap, holds: &Cap, remedy: &str) -> CoordinatorError {
    CoordinatorError::Budget(format!(
        "{} is above the cap that holds, {}: {remedy}",
        cap.stated(),
        holds.stated()
    ))
}
