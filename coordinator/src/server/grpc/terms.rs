//! Caps, reservations and decisions on the wire.

use tributary_privacy::{Adjacency, Rho};
use tributary_proto::RegionId;
use tributary_proto::v1::{
    PrivacyCap, PrivacyDecision, PrivacyReservation, ReservedPart, SetPrivacyCapRequest,
    SetPrivacyCapResponse,
};

use crate::CoordinatorError;
use crate::core::Core;
use crate::ledger::{ALL_CHARGES, Cap, Decision, Part, Reservation, check_reason};
use tributary_store::Batch;

/// Sets a cap; returns all caps, and how many of its devices have spent more already.
///
/// # Errors
/// When a field is wrong, the cap is above the one that holds and is not to raise it, or the store
/// refuses.
pub async fn set_cap(
    core: &Core,
    request: SetPrivacyCapRequest,
) -> Result<SetPrivacyCapResponse, CoordinatorError> {
    let region: Option<RegionId> = match request.region.as_str() {
        "" => None,
        region => Some(region.parse()?),
    };
    if request.raise {
        check_reason(&request.reason)?;
    } else if !request.reason.is_empty() {
        return Err(CoordinatorError::Invalid {
            field: "reason",
            problem: "is given, but the cap is not to be raised".to_owned(),
            remedy: "add --raise, or leave it out",
        });
    }
    let wrong = |field, problem: f64, remedy| CoordinatorError::Invalid {
        field,
        problem: format!("is {problem}"),
        remedy,
    };
    if !(request.epsilon.is_finite() && request.epsilon > 0.0) {
        return Err(wrong(
            "epsilon",
            request.epsilon,
            "use a finite number above 0",
        ));
    }
    if !(request.delta > 0.0 && request.delta < 1.0) {
        let remedy = "use a number above 0 and below 1, well below one over the number of devices";
        return Err(wrong("delta", request.delta, remedy));
    }
    let cap = Cap {
        unix_ms: core.clock.now_ms(),
        ..Cap::new(request.epsilon, request.delta)?
    };
    let hold = core.ledger.hold().await;
    let raise = request.raise.then_some(request.reason.as_str());
    let changes = hold.set_cap(region.clone(), &cap, raise)?;
    hold.commit(changes, Batch::new()).await?;
    Ok(SetPrivacyCapResponse {
        caps: core.ledger.caps().into_iter().map(self::cap).collect(),
        devices_beyond: core.ledger.beyond_caps(region.as_ref()),
    })
}

/// A cap on the wire.
pub fn cap((region, cap): (Option<RegionId>, Cap)) -> PrivacyCap {
    PrivacyCap {
        region: name(region.as_ref()),
        epsilon: cap.epsilon,
        delta: cap.delta,
        rho: rho(cap.pico_rho),
        adjacency: Adjacency::ZeroOutDevice.name().to_owned(),
        mechanism: ALL_CHARGES.to_owned(),
        run_id: cap.run,
        unix_ms: cap.unix_ms,
    }
}

/// A reservation on the wire.
pub fn reservation(held: Reservation) -> PrivacyReservation {
    let part = |part: Part| ReservedPart {
        name: part.name,
        rho: part.pico_rho.map_or(0.0, rho),
        endless: part.pico_rho.is_none(),
        adjacency: Adjacency::ZeroOutDevice.name().to_owned(),
        mechanism: ALL_CHARGES.to_owned(),
    };
    PrivacyReservation {
        run_id: held.id,
        regions: held.regions.iter().map(ToString::to_string).collect(),
        parts: held.parts.into_iter().map(part).collect(),
    }
}

/// A decision on the wire.
pub fn decision(decision: Decision) -> PrivacyDecision {
    PrivacyDecision {
        kind: decision.kind.name().to_owned(),
        region: name(decision.region.as_ref()),
        run_id: decision.run,
        epsilon: decision.epsilon,
        delta: decision.delta,
        rho: decision.pico_rho.map_or(0.0, rho),
        before_rho: decision.before_pico_rho.map_or(0.0, rho),
        reason: decision.reason,
        unix_ms: decision.unix_ms,
        adjacency: Adjacency::ZeroOutDevice.name().to_owned(),
        mechanism: ALL_CHARGES.to_owned(),
    }
}

fn name(region: Option<&RegionId>) -> String {
    region.map_or(String::new(), ToString::to_string)
}

fn rho(pico: u64) -> f64 {
    Rho::from_pico(pico).as_f64()
}
