//! What is charged without noise, or with noise that is known, on devices under a cap.
//!
//! Whom a run or monitor asks is looked at when it asks. A cap that is set while they answer comes after that,
//! so it is looked at again where the round, window or calibration is charged, in the same turn of the ledger:
//! what is refused here is not released.

use tributary_privacy::Mechanism;

use super::accounts::run_behind;
use super::caps::Exposure;
use super::charge::{Charge, DeviceCharge};
use super::decision::DecisionKind;
use super::state::LedgerState;
use crate::CoordinatorError;

impl Exposure {
    /// What a charge by this mechanism lets be seen. A loss that is not known changes nothing about the noise.
    pub(super) fn by(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::None => Self::Bare,
            Mechanism::SeededNotPrivate => Self::Seeded,
            _ => Self::Noised,
        }
    }
}

impl LedgerState {
    /// Why the run may do without privacy on devices under a cap.
    pub(super) fn permission(&self, run: &str) -> Option<&str> {
        let mut decisions = self.decisions.iter();
        let permission =
            decisions.find(|one| one.kind == DecisionKind::WithoutPrivacy && one.run == run);
        permission.map(|one| one.reason.as_str())
    }

    /// Refuses a charge that lets be seen of a device what its cap does not allow, unless somebody has
    /// permitted that to the run.
    pub(super) fn check_exposed(
        &self,
        charge: &Charge,
        devices: &[DeviceCharge],
    ) -> Result<(), CoordinatorError> {
        let exposure = Exposure::by(charge.mechanism);
        let run = run_behind(&charge.account, charge.kind);
        if exposure == Exposure::Noised || self.permission(run).is_some() {
            return Ok(());
        }
        let stands_in_the_way = |one: &&DeviceCharge| {
            let book = self.devices.get(&one.device);
            !self.may_expose(book, &one.region, exposure)
        };
        match devices.iter().find(stands_in_the_way) {
            None => Ok(()),
            Some(_) => Err(CoordinatorError::Budget(format!(
                "{} can't be released: a cap was set while its devices answered, and its noise is {}; \
                 set privacy.mode to dp or local without a seed, or say why with \
                 `run start --allow-no-privacy REASON`",
                charge.kind.numbered(charge.number),
                match exposure {
                    Exposure::Seeded => "known",
                    _ => "missing",
                }
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide::permit;
    use super::super::tests::{cap_of, open, pay};
    use super::super::{Cap, Change, ChargeKind, Ledger};
    use super::*;
    use tributary_store::{Batch, MemoryStore};

    async fn decided(ledger: &Ledger, change: Change) {
        let hold = ledger.hold().await;
        hold.commit(vec![change], Batch::new()).await.unwrap();
    }

    async fn charge(
        ledger: &Ledger,
        (account, kind): (&str, ChargeKind),
        (number, mechanism): (u64, Mechanism),
    ) -> Result<(), CoordinatorError> {
        let charge = Charge {
            mechanism,
            ..Charge::new(account, kind, number)
        };
        ledger.charge(charge, &pay(0, 0..2), Batch::new()).await
    }

    #[tokio::test]
    async fn a_cap_that_was_set_after_devices_were_asked_keeps_what_has_no_noise_from_being_charged()
     {
        let (bare, seeded) = (Mechanism::None, Mechanism::SeededNotPrivate);
        let noised = Mechanism::DiscreteGaussian;
        let run = ("run-1", ChargeKind::Training);
        let window = ("run-1-drift", ChargeKind::Drift);
        let calibration = ("run-1-drift", ChargeKind::Calibration);
        let ledger = open(&MemoryStore::new());
        for (number, mechanism) in [(1, bare), (2, seeded), (3, noised)] {
            charge(&ledger, run, (number, mechanism)).await.unwrap();
        }
        // asked for by seeded runs alone: it promises nothing that a seed breaks
        let by_seeded = Cap {
            is_promise: false,
            ..cap_of(100)
        };
        decided(&ledger, Change::Cap(None, by_seeded)).await;
        charge(&ledger, run, (4, seeded)).await.unwrap();
        charge(&ledger, run, (5, bare)).await.unwrap_err();
        decided(&ledger, Change::Cap(None, cap_of(100))).await;
        for (account, word) in [
            (run, "training round 6"),
            (window, "drift window 6"),
            (calibration, "calibration 6"),
        ] {
            for mechanism in [bare, seeded] {
                let refused = charge(&ledger, account, (6, mechanism)).await.unwrap_err();
                let said = refused.to_string();
                for part in [word, "a cap was set while", "--allow-no-privacy"] {
                    assert!(said.contains(part), "{part}: {said}");
                }
            }
            charge(&ledger, account, (6, noised)).await.unwrap();
        }
        // what a person has decided for the run holds for its monitor too
        decided(&ledger, permit("run-1", "public data", 1)).await;
        for account in [run, window, calibration] {
            charge(&ledger, account, (7, bare)).await.unwrap();
        }
        charge(&ledger, ("run-2", ChargeKind::Training), (7, bare))
            .await
            .unwrap_err();
    }
}
