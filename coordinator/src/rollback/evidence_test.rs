//! What tickets prove about a run, over random histories: nothing against the folder that gave them, whatever
//! became of their round, and the loss against one that was put back from a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use proptest::prelude::*;
use tributary_model::Digest;
use tributary_proto::DeviceId;

use super::past_runs::PastRun;
use crate::engine::{
    Assigned, AssignmentState, CloseReason, DropReason, Event, MarkKey, Phase, RunState, Segment,
};
use crate::epoch::Witness;
use crate::fixtures::{coordinator_on, device, plain_spec, spec, state};
use crate::ledger::{Charge, ChargeKind};
use crate::lineage::Place;
use tributary_recipe::{PrivacyMode, RunSpec};
use tributary_store::{Batch, Expect, MemoryStore, Table};

const DEVICES: usize = 8;
/// The first starts of the coordinator: of all, in the past that is lost, and after the copy was put back.
const FIRST: u64 = 100;
const LOST: u64 = 1_000;
const PUT_BACK: u64 = 2_000;

/// Six rounds with a goal of three and a minimum of two in one region; updates may be `cap` rounds late.
fn recipe(cap: u32, local: bool) -> RunSpec {
    let mut recipe = plain_spec();
    if local {
        recipe.privacy = spec().privacy;
        recipe.privacy.mode = PrivacyMode::Local;
    }
    recipe.rounds.staleness_cap = Some(cap);
    let rounds = &mut recipe.rounds;
    (rounds.count, rounds.cohort, rounds.minimum) = (6, 3, Some(2));
    recipe
}

/// A ticket.
#[derive(Debug, Clone)]
struct Given {
    device: DeviceId,
    witness: Witness,
    /// Which of all tickets its order was, from 0: those of before a copy are the same in both folders.
    ordered: usize,
}

/// A folder: the run in it, and every ticket that it has ever given.
#[derive(Clone)]
struct Folder {
    run: RunState,
    incarnation: u64,
    /// Orders and receipts, in their order.
    given: Vec<Given>,
}

impl Folder {
    fn new(recipe: RunSpec) -> Self {
        let mut run = state(recipe);
        run.adopt_key(MarkKey::new([3; 32]));
        Self {
            run,
            incarnation: FIRST,
            given: Vec::new(),
        }
    }

    fn apply(&mut self, event: Event) {
        self.run.apply(&event).unwrap();
    }

    /// What is on disk, read by another start of the coordinator.
    fn restart(&mut self, incarnation: u64) {
        let text = serde_json::to_string(&self.run).unwrap();
        self.run = serde_json::from_str(&text).unwrap();
        self.incarnation = incarnation;
    }

    fn give(&mut self, device: &DeviceId, place: Place, counted: Option<Digest>) {
        let witness = Witness {
            epoch: 1,
            subject: self.run.id.to_string(),
            place,
            incarnation: self.run.lineage.of(place),
            counted,
        };
        let orders = self.given.iter().enumerate();
        let mut order = orders.filter(|(_, known)| {
            known.device == *device
                && known.witness.place == place
                && known.witness.counted.is_none()
        });
        let ordered = order.next().map_or(self.given.len(), |(index, _)| index);
        self.given.push(Given {
            device: device.clone(),
            witness,
            ordered,
        });
    }

    /// Devices of the open round in this state, thinned out by `choice`.
    fn some(&self, waiting: bool, choice: u8) -> Vec<DeviceId> {
        let chosen = |number: &usize| choice >> number & 1 == 1;
        let is_it = |id: &DeviceId| match self.run.round.leases.get(id) {
            Some(lease) => waiting && lease.state == AssignmentState::Waiting,
            None => !waiting,
        };
        let ids = (0..DEVICES).filter(chosen).map(device);
        ids.filter(is_it).collect()
    }

    fn select(&mut self, choice: u8) {
        let devices: Vec<DeviceId> = self.some(false, choice);
        let assigned = devices.iter().map(|device| Assigned {
            device: device.clone(),
            region: 0,
        });
        let place = self.run.place();
        self.apply(Event::Selected {
            round: self.run.round.number,
            devices: assigned.collect(),
            lease_until_ms: 50,
            complete: true,
            worst_pico_rho: 0,
            incarnation: self.incarnation,
        });
        for device in devices {
            self.give(&device, place, None);
        }
    }

    fn seal(&mut self, choice: u8) {
        let devices: Vec<DeviceId> = self.some(true, choice);
        if devices.is_empty() {
            return;
        }
        // no two folders get the same bytes for one order
        let bytes = [self.incarnation, self.given.len() as u64].map(u64::to_be_bytes);
        let digest = Digest::of(bytes.as_flattened());
        let digests = vec![digest; devices.len()];
        let segment = Segment {
            region: 0,
            cluster: 0,
            digest,
            contributors: devices.clone(),
            marks: self.run.update_marks(&devices, &digests),
            salted: true,
            bytes_up: 1,
        };
        let round = self.run.round.number;
        self.apply(Event::Sealed { round, segment });
        for device in devices {
            let lease = &self.run.round.leases[&device];
            let place = Place::of_round(lease.round, lease.attempt);
            self.give(&device, place, Some(digest));
        }
    }

    fn drop_some(&mut self, choice: u8) {
        let (round, devices) = (self.run.round.number, self.some(true, choice));
        let reason = DropReason::Expired;
        self.apply(Event::Dropped {
            round,
            devices,
            reason,
        });
    }

    fn publish(&mut self) {
        let round = self.run.round.number;
        let digest = Digest::of(&round.to_be_bytes());
        self.apply(Event::Published {
            round,
            model: digest,
            variants: Vec::new(),
            control: None,
            server: digest,
            bytes_down: 1,
            clip: None,
            signs: None,
        });
    }

    /// One of the things that may happen next: `kind` says which, `choice` to whom.
    fn step(&mut self, (kind, choice): (u8, u8)) {
        if !self.run.is_running() {
            return;
        }
        let (round, reason) = (self.run.round.number, "tested".to_owned());
        let aborts = kind == 0 && self.run.round.phase != Phase::Releasing;
        match (kind, self.run.round.phase) {
            _ if aborts => self.apply(Event::Aborted { round, reason }),
            (1, _) if choice < 40 => self.apply(Event::Stopped),
            (1, _) if choice < 60 => self.apply(Event::Failed { reason }),
            (2, _) => self.restart(self.incarnation + 1),
            (_, Phase::Selecting) => self.select(choice),
            (3, Phase::Collecting) => self.drop_some(choice & 0x11),
            (4..=9, Phase::Collecting) if self.run.round.counted() >= 2 => {
                let reason = CloseReason::GoalMet;
                self.apply(Event::Closed { round, reason });
            }
            (_, Phase::Collecting) => self.seal(choice),
            (_, Phase::Sealing) => self.apply(Event::Charged {
                round,
                pico_rho: 1,
                worst_pico_rho: 1,
            }),
            (_, Phase::Releasing) => self.publish(),
        }
    }

    /// Whether a ticket proves that the folder has lost something.
    fn is_contradicted_by(&self, given: &Given) -> bool {
        if self.run.is_running() {
            return self.run.contradicts(&given.device, &given.witness);
        }
        let hash = RandomState::new();
        let past = PastRun::new(&self.run, &hash);
        past.contradicts(hash.hash_one(&given.device), &given.witness)
    }

    fn assert_that_it_gave(&self, given: &[Given]) -> Result<(), TestCaseError> {
        for known in given {
            prop_assert!(!self.is_contradicted_by(known), "a false halt: {known:?}");
        }
        Ok(())
    }
}

/// Receipts of what is lost that the folder must recognise. Those whose orders were given in a start that it
/// does not know, for ever. Others until their devices take part again, before which they show what they keep:
/// those whose orders it gave itself, where the coordinator adds the noise (where devices add it, an order is
/// charged and noted before it is given), and those that were given after the copy in a start that went on.
fn assert_recognised(
    folder: &Folder,
    lost: &[Given],
    copied: &Folder,
) -> Result<(), TestCaseError> {
    let local = folder.run.spec.privacy.is_charged_when_asked();
    let since = folder.given[copied.given.len()..].iter();
    let since = since.filter(|known| local || known.witness.counted.is_some());
    let again: BTreeSet<&DeviceId> = since.map(|known| &known.device).collect();
    for known in lost.iter().filter(|known| known.witness.counted.is_some()) {
        let was_ordered = known.ordered < copied.given.len();
        let same_start = known.witness.incarnation <= copied.incarnation;
        if was_ordered && local || same_start && again.contains(&known.device) {
            continue;
        }
        prop_assert!(
            folder.is_contradicted_by(known),
            "a loss is missed: {known:?}"
        );
    }
    Ok(())
}

fn steps(most: usize) -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0u8..20, any::<u8>()), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_ticket_halts_the_folder_that_gave_it_and_every_lost_receipt_one_that_was_put_back(
        (cap, local) in (0u32..3, any::<bool>()),
        (before, lost, after) in (steps(40), steps(40), steps(40)),
        is_live in any::<bool>(),
    ) {
        let mut folder = Folder::new(recipe(cap, local));
        for step in before {
            folder.step(step);
            folder.assert_that_it_gave(&folder.given)?;
        }
        let copied = folder.clone();
        let mut past = folder.clone();
        if !is_live {
            past.restart(LOST);
        }
        for step in lost {
            past.step(step);
            past.assert_that_it_gave(&past.given)?;
        }
        let lost = &past.given[copied.given.len()..];
        folder.restart(PUT_BACK);
        assert_recognised(&folder, lost, &copied)?;
        for step in after {
            folder.step(step);
            folder.assert_that_it_gave(&folder.given)?;
            assert_recognised(&folder, lost, &copied)?;
        }
    }
}

#[tokio::test]
async fn a_run_that_can_not_be_read_is_compared_with_the_rounds_that_the_ledger_charged() {
    let note = serde_json::json!({ "snapshot": null, "events": 0 });
    let lacking = serde_json::json!({ "snapshot": Digest::of(b"gone"), "events": 0 });
    for record in [note, lacking, serde_json::json!("damaged")] {
        for (charged, round, halts) in [(0, 9, false), (3, 3, false), (3, 4, false), (3, 5, true)] {
            let served = coordinator_on(Arc::new(MemoryStore::new())).await;
            let core = &served.core;
            let mut batch = Batch::new();
            batch
                .put_json(Table::Runs, "tiny-1", &record, Expect::Absent)
                .unwrap();
            core.store.commit(batch).await.unwrap();
            for number in 1..=charged {
                let charge = Charge::new("tiny-1", ChargeKind::Training, number);
                let paid = core.ledger.charge(charge, &[], Batch::new());
                paid.await.unwrap();
            }
            let asked = (Place::of_round(round, 1), 7);
            for ticket in [
                core.epoch.order(&device(1), "tiny-1", asked),
                core.epoch
                    .receipt(&device(1), "tiny-1", asked, Digest::of(b"update")),
            ] {
                served.witness(&device(1), &[ticket]).await.unwrap();
                assert_eq!(core.halt.is_halted(), halts, "{record}: round {round}");
            }
        }
    }
}

#[test]
fn random_histories_reach_every_end_and_late_updates() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<&str, u32>::new();
    for _ in 0..300 {
        let steps = steps(80).new_tree(&mut runner).unwrap().current();
        let mut folder = Folder::new(recipe(2, false));
        for step in steps {
            folder.step(step);
            let leases = folder.run.round.leases.values();
            let mut late = leases.filter(|lease| lease.round < folder.run.round.number);
            let is_late = late.any(|lease| lease.state == AssignmentState::Counted);
            *seen.entry("late").or_default() += u32::from(is_late);
        }
        let end = match folder.run.status {
            crate::engine::RunStatus::Running => "running",
            crate::engine::RunStatus::Completed => "completed",
            crate::engine::RunStatus::Stopped => "stopped",
            crate::engine::RunStatus::Failed(_) => "failed",
        };
        *seen.entry(end).or_default() += 1;
    }
    for end in ["late", "running", "completed", "stopped", "failed"] {
        assert!(
            seen.get(end).is_some_and(|times| *times > 2),
            "{end}: {seen:?}"
        );
    }
}
