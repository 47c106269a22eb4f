//! The steps of a mitigation: to a new reference, back to the old one, and in no other order.

use tributary_drift::{DriftError, DriftId, ReferenceVersion, Verdict};

use super::{DEVICES, Region, config};

#[test]
fn a_mitigation_runs_through_its_states_to_a_new_reference() {
    let (mut region, drift) = Region::drifted(config());
    region.monitor.begin_mitigation(&drift).unwrap();
    assert_eq!(region.windows(2, 0.2), [Verdict::Mitigating; 2]);
    region.monitor.mitigated(&drift).unwrap();
    assert_eq!(region.windows(2, 0.2), [Verdict::Validating; 2]);
    assert_eq!(region.monitor.reference_version(), ReferenceVersion(1));
    region.monitor.validated(&drift).unwrap();
    assert_eq!(region.monitor.reference_version(), ReferenceVersion(2));
    // one more window completes the reference, then cooldown_windows tested and muted ones
    assert_eq!(region.windows(4, 0.2), [Verdict::Cooldown; 4]);
    assert_eq!(region.windows(4, 0.2), [Verdict::Ok; 4]);
    // the new state is the normal one now: going back is a drift
    assert!(region.windows(2, 0.0).contains(&Verdict::Drift));
}

#[test]
fn a_failed_mitigation_goes_back_to_the_old_reference() {
    let (mut region, drift) = Region::drifted(config());
    region.monitor.begin_mitigation(&drift).unwrap();
    region.monitor.mitigated(&drift).unwrap();
    region.windows(3, 0.2);
    region.monitor.mitigation_failed(&drift).unwrap();
    let report = region.window(DEVICES, 0.2);
    assert_eq!(
        (report.verdict, report.drift),
        (Verdict::Drift, Some(drift))
    );
    assert_eq!(region.monitor.reference_version(), ReferenceVersion(1));
}

#[test]
fn steps_are_idempotent_and_refused_out_of_turn() {
    let (mut region, drift) = Region::drifted(config());
    let monitor = &mut region.monitor;
    let other = DriftId("west/r1/w999".to_owned());
    assert!(matches!(
        monitor.begin_mitigation(&other),
        Err(DriftError::WrongDrift { .. })
    ));
    assert!(matches!(
        monitor.mitigated(&drift),
        Err(DriftError::IllegalStep { .. })
    ));
    assert!(matches!(
        monitor.validated(&drift),
        Err(DriftError::IllegalStep { .. })
    ));
    for _ in 0..2 {
        monitor.begin_mitigation(&drift).unwrap();
    }
    for _ in 0..2 {
        monitor.mitigated(&drift).unwrap();
    }
    assert!(matches!(
        monitor.begin_mitigation(&drift),
        Err(DriftError::IllegalStep { .. })
    ));
    for _ in 0..2 {
        monitor.validated(&drift).unwrap();
    }
    assert_eq!(monitor.reference_version(), ReferenceVersion(2));
    assert!(monitor.mitigation_failed(&drift).is_err());
}
