//! The engine against a small reference model, over random sequences of events.
//!
//! The reference knows phases, counts and sets; it shares no code with the engine. Each transition
//! is an event, right or wrong, or a restart: the accepted events are then replayed from the start.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tributary_model::Digest;
use tributary_proto::DeviceId;

use super::*;
use crate::fixtures::{device, plain_spec, state};
use tributary_recipe::RunSpec;

const DEVICES: usize = 10;
const ROUNDS: u32 = 3;
const MINIMUM: usize = 2;
const ATTEMPTS: u32 = 5;

/// Two regions (even and odd devices), three rounds, a goal of four and a minimum of two; updates may
/// be `cap` rounds late.
fn recipe(cap: u32) -> RunSpec {
    let mut spec = plain_spec();
    spec.rounds.staleness_cap = Some(cap);
    (spec.rounds.count, spec.rounds.cohort, spec.rounds.minimum) = (ROUNDS, 4, Some(2));
    spec
}

#[expect(clippy::large_enum_variant, reason = "few of them live at a time")]
#[derive(Debug, Clone)]
enum Step {
    Event(Event),
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Selecting,
    Collecting,
    Sealing,
    Releasing,
    Over,
}

/// What must be true of a run, kept without the engine's help.
#[derive(Debug, Clone)]
struct Expected {
    stage: Stage,
    round: u32,
    attempt: u32,
    cap: u32,
    assigned: BTreeSet<usize>,
    /// The round in which each assigned device was asked.
    since: BTreeMap<usize, u32>,
    dropped: BTreeSet<usize>,
    counted: BTreeSet<usize>,
    /// Contributors of each published round.
    published: Vec<BTreeSet<usize>>,
    /// Times in a row that each device was asked in vain.
    setbacks: BTreeMap<usize, u32>,
    /// Whether this attempt pushed back a device in good standing, and attempts at the round that did
    /// not.
    learned: bool,
    fruitless: u32,
    charged: u32,
    /// Whether the last step was accepted.
    accepted: bool,
    log: Vec<Event>,
}

fn number(id: &DeviceId) -> usize {
    id.as_str().trim_start_matches("device-").parse().unwrap()
}

impl Expected {
    fn fits(&self, event: &Event) -> bool {
        let at = |round: &u32, stage| *round == self.round && self.stage == stage;
        match event {
            _ if self.stage == Stage::Over => false,
            Event::Selected { round, devices, .. } => {
                at(round, Stage::Selecting) && devices.iter().all(|one| one.region < 2)
            }
            Event::Dropped { round, devices, .. } => {
                let known = |id| self.assigned.contains(&number(id));
                at(round, Stage::Collecting) && devices.iter().all(known)
            }
            Event::Sealed { round, segment } => {
                let members: Vec<usize> = segment.contributors.iter().map(number).collect();
                let distinct: BTreeSet<usize> = members.iter().copied().collect();
                at(round, Stage::Collecting)
                    && segment.region < 2
                    && distinct.len() == members.len()
                    && distinct.is_subset(&self.assigned)
                    && distinct.is_disjoint(&self.counted)
                    && distinct.iter().all(|member| member % 2 == segment.region)
            }
            Event::Closed { round, .. } => {
                at(round, Stage::Collecting) && self.counted.len() >= MINIMUM
            }
            Event::Charged { round, .. } => at(round, Stage::Sealing),
            Event::AfterLoss { round } | Event::Published { round, .. } => {
                at(round, Stage::Releasing)
            }
            Event::Aborted { round, .. } => *round == self.round && self.stage != Stage::Releasing,
            Event::Unheard { round, .. } => *round == self.round,
            Event::Stopped | Event::Failed { .. } => true,
        }
    }

    fn begin(&mut self, round: u32, attempt: u32) {
        (self.round, self.attempt, self.stage) = (round, attempt, Stage::Selecting);
        self.assigned.clear();
        self.since.clear();
        self.dropped.clear();
        self.counted.clear();
        self.learned = false;
        if attempt == 1 {
            self.fruitless = 0;
        }
    }

    /// Devices still at work when the next round opens: asked, not answered, not too late.
    fn publish(&mut self) {
        let next = self.round + 1;
        let (cap, since) = (self.cap, self.since.clone());
        let goes_on = |device: &&usize| {
            let silent = !self.counted.contains(device) && !self.dropped.contains(device);
            cap > 0 && silent && next - since[*device] <= cap
        };
        let left: BTreeSet<usize> = self.assigned.iter().filter(goes_on).copied().collect();
        self.begin(next, 1);
        self.since
            .extend(left.iter().map(|device| (*device, since[device])));
        self.assigned = left;
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Selected {
                devices, complete, ..
            } => {
                for one in devices {
                    let device = number(&one.device);
                    self.assigned.insert(device);
                    self.since.entry(device).or_insert(self.round);
                }
                if *complete {
                    self.stage = Stage::Collecting;
                }
            }
            Event::Dropped { devices, .. } => {
                let silent = devices.iter().map(number);
                let silent = silent.filter(|device| !self.counted.contains(device));
                for device in silent.collect::<Vec<_>>() {
                    if self.dropped.insert(device) {
                        let setbacks = self.setbacks.entry(device).or_default();
                        *setbacks += 1;
                        self.learned |= *setbacks == 1;
                    }
                }
            }
            Event::Sealed { segment, .. } => {
                self.counted.extend(segment.contributors.iter().map(number));
            }
            Event::AfterLoss { .. } => {}
            Event::Closed { .. } => self.stage = Stage::Sealing,
            Event::Charged { .. } => {
                self.charged += 1;
                self.stage = Stage::Releasing;
            }
            Event::Published { .. } => {
                self.published.push(self.counted.clone());
                self.setbacks
                    .retain(|device, _| !self.counted.contains(device));
                self.publish();
                if self.published.len() == ROUNDS as usize {
                    self.stage = Stage::Over;
                }
            }
            Event::Aborted { .. } => {
                self.fruitless += u32::from(!self.learned);
                if self.fruitless < ATTEMPTS {
                    self.begin(self.round, self.attempt + 1);
                } else {
                    self.stage = Stage::Over;
                }
            }
            Event::Unheard { .. } => {}
            Event::Stopped | Event::Failed { .. } => self.stage = Stage::Over,
        }
    }
}

fn drop_nobody(round: u32) -> Just<Event> {
    Just(Event::Dropped {
        round,
        devices: Vec::new(),
        reason: DropReason::NotStated,
    })
}

/// Any event of about this round, most of them such that a run gets somewhere.
fn event(expected: &Expected) -> BoxedStrategy<Event> {
    let now = expected.round;
    let round = prop_oneof![19 => Just(now), 1 => Just(now.wrapping_sub(1)), 1 => Just(now + 1)];
    let devices = |most| prop::collection::vec(0..DEVICES, 1..most);
    let assigned = |numbers: Vec<usize>, strays: bool| -> Vec<Assigned> {
        let region = |number| if strays { 2 } else { number % 2 };
        let one = |number| Assigned {
            device: device(number),
            region: region(number),
        };
        numbers.into_iter().map(one).collect()
    };
    let select = (
        round.clone(),
        devices(20),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.05),
    )
        .prop_map(move |(round, numbers, complete, strays)| Event::Selected {
            round,
            devices: assigned(numbers, strays),
            lease_until_ms: 1_000,
            complete,
            worst_pico_rho: 0,
            incarnation: 0,
        });
    let reasons = prop::sample::select(&DropReason::ALL[..]);
    let drop = (round.clone(), devices(3), reasons).prop_map(|(round, numbers, reason)| {
        let devices = numbers.into_iter().map(device).collect();
        Event::Dropped {
            round,
            devices,
            reason,
        }
    });
    // most segments are made of one region's devices, so that they fit now and then
    let seal = (
        round.clone(),
        devices(4),
        0..2usize,
        prop::bool::weighted(0.9),
        any::<u64>(),
    )
        .prop_map(|(round, mut numbers, region, apart, salt)| {
            if apart {
                numbers.retain(|number| number % 2 == region);
            }
            let digest = Digest::of(&salt.to_be_bytes());
            let contributors = numbers.into_iter().map(device).collect();
            let segment = Segment {
                marks: Vec::new(),
                salted: false,
                region,
                cluster: 0,
                digest,
                contributors,
                bytes_up: 1,
            };
            Event::Sealed { round, segment }
        });
    let close = round.clone().prop_map(|round| {
        let reason = CloseReason::Deadline;
        Event::Closed { round, reason }
    });
    let charge = round.clone().prop_map(|round| Event::Charged {
        round,
        pico_rho: 3,
        worst_pico_rho: 3,
    });
    let publish = (round.clone(), any::<u64>()).prop_map(|(round, salt)| {
        let digest = Digest::of(&salt.to_be_bytes());
        Event::Published {
            round,
            model: digest,
            variants: Vec::new(),
            control: None,
            server: digest,
            bytes_down: 1,
            clip: None,
            signs: None,
        }
    });
    let unheard = round.clone().prop_map(|round| Event::Unheard {
        round,
        count: Unheard {
            heard: 1,
            wanted: 2,
        },
    });
    let abort = round.prop_map(|round| Event::Aborted {
        round,
        reason: "tested".to_owned(),
    });
    let failed = Just(Event::Failed {
        reason: "tested".to_owned(),
    });
    let due = |stage| if expected.stage == stage { 30 } else { 2 };
    prop_oneof![
        due(Stage::Selecting) => select,
        2 * due(Stage::Collecting) => seal,
        due(Stage::Collecting) => close,
        due(Stage::Sealing) => charge,
        due(Stage::Releasing) => publish,
        4 => drop,
        2 => abort,
        1 => unheard,
        1 => prop_oneof![9 => drop_nobody(now), 1 => Just(Event::Stopped), 1 => failed],
    ]
    .boxed()
}

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Expected;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Expected> {
        let expected = |cap| Expected {
            cap,
            since: BTreeMap::new(),
            dropped: BTreeSet::new(),
            stage: Stage::Selecting,
            round: 1,
            attempt: 1,
            assigned: BTreeSet::new(),
            counted: BTreeSet::new(),
            published: Vec::new(),
            setbacks: BTreeMap::new(),
            learned: false,
            fruitless: 0,
            charged: 0,
            accepted: true,
            log: Vec::new(),
        };
        prop_oneof![Just(0), Just(1), Just(2)]
            .prop_map(expected)
            .boxed()
    }

    fn transitions(expected: &Expected) -> BoxedStrategy<Step> {
        let restart = Just(Step::Restart);
        prop_oneof![9 => event(expected).prop_map(Step::Event), 1 => restart].boxed()
    }

    fn apply(mut expected: Expected, step: &Step) -> Expected {
        let Step::Event(event) = step else {
            return expected;
        };
        expected.accepted = expected.fits(event);
        if expected.accepted {
            expected.step(event);
            expected.log.push(event.clone());
        }
        expected
    }
}

/// The engine, and what its effects told the world.
struct Engine {
    state: RunState,
    /// Receipts given in the open round.
    receipts: BTreeSet<usize>,
}

impl StateMachineTest for Engine {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(expected: &Expected) -> Self {
        Self {
            state: state(recipe(expected.cap)),
            receipts: BTreeSet::new(),
        }
    }

    fn apply(mut engine: Self, expected: &Expected, step: Step) -> Self {
        match step {
            Step::Restart => {
                let mut replayed = state(recipe(expected.cap));
                for event in &expected.log {
                    replayed.apply(event).unwrap();
                }
                assert_eq!(
                    replayed, engine.state,
                    "invariant 2: replay gives the same state"
                );
            }
            Step::Event(event) => {
                let before = engine.state.clone();
                let outcome = engine.state.apply(&event);
                assert_eq!(
                    outcome.is_ok(),
                    expected.accepted,
                    "{event:?} gave {outcome:?}"
                );
                match outcome {
                    Ok(effects) => engine.witness(&before, &event, &effects),
                    Err(_) => assert_eq!(engine.state, before, "a rejected event changes nothing"),
                }
            }
        }
        engine
    }

    fn check_invariants(engine: &Self, expected: &Expected) {
        let run = &engine.state;
        assert_eq!(run.is_running(), expected.stage != Stage::Over);
        let mut named = BTreeMap::<&DeviceId, u32>::new();
        for contributor in run.round.contributors() {
            *named.entry(contributor).or_default() += 1;
        }
        assert!(
            named.values().all(|&times| times == 1),
            "invariant 1: counted at most once"
        );
        if run.is_running() {
            let leased: BTreeSet<usize> = run.round.leases.keys().map(number).collect();
            assert_eq!(leased, expected.assigned, "who is at work");
            let counted: BTreeSet<usize> = named.keys().map(|id| number(id)).collect();
            assert_eq!(counted, expected.counted);
            assert_eq!(
                counted, engine.receipts,
                "invariant 2: receipts and segments agree"
            );
            assert_eq!(
                (run.round.number, run.round.attempt),
                (expected.round, expected.attempt)
            );
        }
        for index in 0..DEVICES {
            let rounds = expected
                .published
                .iter()
                .filter(|round| round.contains(&index))
                .count();
            let seen = run
                .participations
                .get(&device(index))
                .map_or(0, |past| past.count);
            assert_eq!(
                seen as usize, rounds,
                "invariant 2: published with all contributors"
            );
            let setbacks = run.participations.get(&device(index));
            let setbacks = setbacks.map_or(0, |past| past.setbacks);
            let expected = expected.setbacks.get(&index).copied().unwrap_or(0);
            assert_eq!(setbacks, expected, "asked in vain, device {index}");
        }
        let published = run
            .history
            .iter()
            .filter(|record| record.model.is_some())
            .count();
        assert_eq!(published, expected.published.len());
        assert!(
            published as u32 <= expected.charged,
            "invariant 3: no release without charge"
        );
    }
}

impl Engine {
    /// Takes note of the effects of an accepted event.
    fn witness(&mut self, before: &RunState, event: &Event, effects: &[Effect]) {
        // whoever is in a durable segment is given a receipt
        if let Event::Sealed { segment, .. } = event {
            for device in &segment.contributors {
                assert!(
                    self.receipts.insert(number(device)),
                    "invariant 1: one receipt"
                );
            }
        }
        for effect in effects {
            if *effect == Effect::Release {
                assert!(
                    matches!(event, Event::Charged { .. }),
                    "invariant 3: charged first"
                );
            }
        }
        if event.ends_round() {
            let discarded = effects.iter().find_map(|effect| match effect {
                Effect::Discard(digests) => Some(digests.len()),
                _ => None,
            });
            let released = matches!(event, Event::Published { .. });
            // a run that is over leaves nothing of the server's state either
            let server = !self.state.is_running() && (released || before.server.is_some());
            let expected = before.round.segments.len() + usize::from(server);
            assert_eq!(discarded, Some(expected));
            assert_eq!(self.state.model != before.model, released);
            self.receipts.clear();
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn invariants_1_2_and_3_hold_over_any_sequence_of_events(sequential 1..80 => Engine);
}

/// The random sequences are worth something only if they get through whole rounds.
#[test]
fn random_sequences_publish_rounds_and_meet_every_refusal() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut published, mut refused) = (0, 0);
    for _ in 0..50 {
        let strategy = Reference::sequential_strategy(60..80);
        let (mut expected, steps, _) = strategy.new_tree(&mut runner).unwrap().current();
        for step in steps {
            expected = <Reference as ReferenceStateMachine>::apply(expected, &step);
            refused += usize::from(!expected.accepted);
        }
        published += expected.published.len();
    }
    assert!(
        published >= 50 && refused >= 500,
        "{published} published, {refused} refused"
    );
}
