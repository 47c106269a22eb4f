//! Caps, reservations and decisions about them.

use serde::Serialize;
use tributary_proto::v1;

use crate::output::count;

/// `privacy cap`.
#[derive(Debug, Serialize)]
pub struct CapsView {
    /// All caps from now on.
    pub caps: Vec<CapView>,
    /// What the operator may not have meant, as sentences.
    pub warnings: Vec<String>,
    /// Devices that have spent more already and are not asked again.
    pub devices_beyond: u64,
}

/// The most that any device of a population may lose over everything.
#[derive(Debug, Serialize)]
pub struct CapView {
    /// The region; empty for all devices.
    pub region: String,
    /// As it was asked for.
    pub epsilon: f64,
    /// The delta of that epsilon.
    pub delta: f64,
    /// The cap in zCDP.
    pub rho: f64,
    /// What one neighbour differs in, for that rho.
    pub adjacency: String,
    /// What adds up to that rho.
    pub mechanism: String,
    /// The run whose recipe lowered it; empty when an operator set it.
    pub run: String,
    /// Milliseconds since 1970 when it was set.
    pub unix_ms: u64,
}

/// What one run has set aside on every device of its regions.
#[derive(Debug, Serialize)]
pub struct ReservationView {
    /// The run.
    pub run: String,
    /// The regions.
    pub regions: Vec<String>,
    /// By purpose.
    pub parts: Vec<PartView>,
}

/// What is set aside for one purpose.
#[derive(Debug, Serialize)]
pub struct PartView {
    /// `training`, `windows`, `playbooks` or `calibrations`.
    pub name: String,
    /// Most that is charged to one device in zCDP, what was charged already included; null without an end.
    pub rho: Option<f64>,
    /// What one neighbour differs in, for that rho.
    pub adjacency: String,
    /// What adds up to that rho.
    pub mechanism: String,
}

/// A decision about a cap.
#[derive(Debug, Serialize)]
pub struct DecisionView {
    /// `set`, `lowered`, `raised` or `without-privacy`.
    pub kind: String,
    /// The region; empty for all devices.
    pub region: String,
    /// The run that it is about; empty when none.
    pub run: String,
    /// The epsilon that was asked for; null when none.
    pub epsilon: Option<f64>,
    /// The delta of that epsilon; null when none.
    pub delta: Option<f64>,
    /// The cap from then on in zCDP; null when it is not about one.
    pub rho: Option<f64>,
    /// The cap before; null when there was none.
    pub before_rho: Option<f64>,
    /// What one neighbour differs in, for these rho.
    pub adjacency: String,
    /// What adds up to these rho.
    pub mechanism: String,
    /// Why; may be empty.
    pub reason: String,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

impl From<v1::SetPrivacyCapResponse> for CapsView {
    fn from(answer: v1::SetPrivacyCapResponse) -> Self {
        Self {
            caps: answer.caps.into_iter().map(CapView::from).collect(),
            warnings: beyond(answer.devices_beyond).into_iter().collect(),
            devices_beyond: answer.devices_beyond,
        }
    }
}

/// What follows for devices that have spent more than their cap.
fn beyond(devices: u64) -> Option<String> {
    let (subject, they) = match devices {
        0 => return None,
        1 => ("1 device has".to_owned(), "it"),
        _ => (format!("{} devices have", count(devices)), "they"),
    };
    Some(format!(
        "{subject} spent more already: {they} will not be asked again under this cap"
    ))
}

impl From<v1::PrivacyCap> for CapView {
    fn from(cap: v1::PrivacyCap) -> Self {
        Self {
            region: cap.region,
            epsilon: cap.epsilon,
            delta: cap.delta,
            rho: cap.rho,
            adjacency: cap.adjacency,
            mechanism: cap.mechanism,
            run: cap.run_id,
            unix_ms: cap.unix_ms,
        }
    }
}

impl From<v1::PrivacyReservation> for ReservationView {
    fn from(held: v1::PrivacyReservation) -> Self {
        let part = |part: v1::ReservedPart| PartView {
            name: part.name,
            rho: (!part.endless).then_some(part.rho),
            adjacency: part.adjacency,
            mechanism: part.mechanism,
        };
        Self {
            run: held.run_id,
            regions: held.regions,
            parts: held.parts.into_iter().map(part).collect(),
        }
    }
}

impl From<v1::PrivacyDecision> for DecisionView {
    fn from(decision: v1::PrivacyDecision) -> Self {
        let some = |number: f64| (number > 0.0).then_some(number);
        Self {
            kind: decision.kind,
            region: decision.region,
            run: decision.run_id,
            epsilon: some(decision.epsilon),
            delta: some(decision.delta),
            rho: some(decision.rho),
            before_rho: some(decision.before_rho),
            adjacency: decision.adjacency,
            mechanism: decision.mechanism,
            reason: decision.reason,
            unix_ms: decision.unix_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_below_what_devices_have_spent_says_that_they_are_not_asked_again() {
        let set = |devices_beyond| {
            let caps = Vec::new();
            let answer = v1::SetPrivacyCapResponse {
                caps,
                devices_beyond,
            };
            CapsView::from(answer).warnings.join("")
        };
        assert_eq!(set(0), "");
        assert!(set(1).starts_with("1 device has spent more already: it will not"));
        assert!(set(1_234).starts_with("1,234 devices have spent more already: they"));
    }
}
