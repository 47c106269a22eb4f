//! What an answer leaves behind on the device, and what that tells when the device is asked again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use tributary_device::{
    DataError, DataForm, Examples, FileMemory, LocalData, Purpose, VolatileTickets,
};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::local_algorithm::Kind as AlgorithmKind;
use tributary_proto::v1::personalisation::Kind as PersonalKind;
use tributary_proto::v1::{
    AnswerWindow, Apfl, Ditto, FedDyn, LocalAlgorithm, PersonalLayers, Personalisation, Scaffold,
    TrainingPlan,
};

use crate::fake::setting::{Kept, Running, examples};
use crate::fake::world::assignment;
use crate::scene::{Chosen, FEATURES, Found, RUN, Scene, filled};

const DEVICE: &str = "d-1";

/// Plans by which a device keeps something.
fn plans(plan: &TrainingPlan) -> Vec<(&'static str, TrainingPlan)> {
    let algorithm = |kind| TrainingPlan {
        algorithm: Some(LocalAlgorithm { kind: Some(kind) }),
        ..plan.clone()
    };
    let personal = |kind| TrainingPlan {
        personalisation: Some(Personalisation { kind: Some(kind) }),
        ..plan.clone()
    };
    let layers = PersonalLayers {
        layers: vec!["2.".to_owned()],
        head_epochs: 1,
    };
    let sparse = TrainingPlan {
        codec: "topk-fixed:0.2".to_owned(),
        ..plan.clone()
    };
    let momentum = TrainingPlan {
        momentum: 0.5,
        ..plan.clone()
    };
    let ditto = PersonalKind::Ditto(Ditto {
        lambda: 0.1,
        epochs: 1,
    });
    let apfl = PersonalKind::Apfl(Apfl {
        alpha: 0.5,
        adaptive: true,
    });
    let several = TrainingPlan {
        momentum: 0.5,
        ..personal(ditto.clone())
    };
    vec![
        ("sparse", sparse),
        ("momentum", momentum),
        ("scaffold", algorithm(AlgorithmKind::Scaffold(Scaffold {}))),
        (
            "feddyn",
            algorithm(AlgorithmKind::Feddyn(FedDyn { alpha: 0.1 })),
        ),
        ("fedper", personal(PersonalKind::Fedper(layers.clone()))),
        ("fedrep", personal(PersonalKind::Fedrep(layers))),
        ("ditto", personal(ditto)),
        ("apfl", personal(apfl)),
        ("ditto with momentum", several),
    ]
}

/// Values of a payload: twice the model's with a control variate, the first layer's alone without the
/// personal ones.
fn dimension(name: &str, parameters: usize) -> usize {
    match name {
        "scaffold" => 2 * parameters,
        "fedper" | "fedrep" => FEATURES * 8 + 8,
        _ => parameters,
    }
}

fn remembering(folder: &Path) -> Kept {
    Kept {
        memory: Arc::new(FileMemory::open(folder).unwrap()),
        ..Kept::default()
    }
}

/// Files of a folder with their lengths.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().len())
        })
        .collect()
}

/// A round from its order to the first thing that the coordinator sees after the receipt: an order that
/// is given back comes next.
async fn until_the_next_word(scene: &Scene, round: u32) {
    let world = &scene.server.world;
    scene.order(DEVICE, round, &scene.digest).await;
    world.counted(RUN, round, DEVICE).await;
    let another = TrainingPlan {
        task: "sleep".to_owned(),
        ..scene.plan.clone()
    };
    let another = assignment(RUN, round + 1, &another, &scene.digest);
    world.order(DEVICE, another).await;
    let word = world.event(DEVICE).await;
    assert!(matches!(word, Event::AssignmentAbandoned(_)), "{word:?}");
}

fn constant_forms(agent: &Running) -> u64 {
    let because = ["model", "no_examples", "no_data", "crashed", "late"];
    let counted = because.map(|because| agent.tally().count(&format!("constant_form.{because}")));
    counted.iter().sum()
}

#[tokio::test]
async fn invariant_11_the_same_files_are_written_before_anything_follows_a_receipt() {
    let found: [(&str, Found); 4] = [
        ("usual", Ok(examples(FEATURES, 12))),
        ("not a number", filled(f32::NAN, 12)),
        ("no examples", filled(0.0, 0)),
        ("a panic", Err("panic")),
    ];
    for kind in 0..plans(&TrainingPlan::default()).len() {
        let mut written = None;
        for (what, found) in found.clone() {
            let mut name = "";
            let change = |plan| {
                let (chosen, plan) = plans(&plan).swap_remove(kind);
                name = chosen;
                plan
            };
            let scene = Scene::with(change).await;
            let length = dimension(name, scene.plan.parameters as usize);
            let dimensions = |memory: &mut crate::fake::Memory| {
                memory.dimensions.insert(RUN.to_owned(), length);
            };
            scene.server.world.with(dimensions);
            let folder = tempfile::tempdir().unwrap();
            let data = Box::new(Chosen::new(found));
            let agent = scene.start_keeping(DEVICE, data, remembering(folder.path()));
            until_the_next_word(&scene, 1).await;
            let left = files(folder.path());
            assert_eq!(left.len(), 1, "{name}, {what}: {left:?}");
            assert_eq!(*written.get_or_insert(left.clone()), left, "{name}, {what}");
            let constant = constant_forms(&agent) > 0;
            assert_eq!(constant, what != "usual", "{name}, {what}");
        }
    }
}

#[tokio::test]
async fn invariant_11_a_constant_form_writes_what_is_kept_once_more_and_moves_nothing() {
    let change = |plan| TrainingPlan {
        momentum: 0.5,
        ..plan
    };
    let scene = Scene::with(change).await;
    let folder = tempfile::tempdir().unwrap();
    let data = Chosen::new(Ok(examples(FEATURES, 12)));
    let kept = remembering(folder.path());
    let memory = Arc::clone(&kept.memory);
    let agent = scene.start_keeping(DEVICE, Box::new(data.clone()), kept);
    let content = || {
        let name = files(folder.path()).into_keys().next().unwrap();
        std::fs::read(folder.path().join(name)).unwrap()
    };
    until_the_next_word(&scene, 1).await;
    let (state, before) = (memory.load(RUN).unwrap(), content());
    *data.0.lock().unwrap() = filled(f32::NAN, 12);
    until_the_next_word(&scene, 2).await;
    assert_eq!(constant_forms(&agent), 1);
    assert_eq!(memory.load(RUN).unwrap(), state, "nothing moves");
    assert_eq!(content().len(), before.len());
    assert!(content() != before, "it is written all the same");
    *data.0.lock().unwrap() = Ok(examples(FEATURES, 12));
    until_the_next_word(&scene, 3).await;
    assert_ne!(memory.load(RUN).unwrap(), state);
}

/// What may be found, with an answer of the device's own and with the constant form.
fn both() -> [Found; 2] {
    [Ok(examples(FEATURES, 12)), filled(0.0, 0)]
}

/// A device that keeps its tickets over restarts.
fn with_tickets(tickets: &Arc<VolatileTickets>) -> Kept {
    Kept {
        tickets: Arc::clone(tickets) as _,
        ..Kept::default()
    }
}

#[tokio::test]
async fn invariant_11_a_round_that_was_answered_before_a_restart_is_given_back_whatever_was_found()
{
    for found in both() {
        let scene = Scene::with(|plan| plan).await;
        let world = &scene.server.world;
        let tickets = Arc::default();
        let start = || {
            let data = Box::new(Chosen::new(found.clone()));
            scene.start_keeping(DEVICE, data, with_tickets(&tickets))
        };
        let agent = start();
        world.with(|memory| memory.stall_uploads = true);
        scene.order(DEVICE, 1, &scene.digest).await;
        let stalled = |memory: &crate::fake::Memory| (memory.stalled > 0).then_some(());
        world.wait("first bytes", stalled).await;
        agent.stop().await.unwrap();
        world.with(|memory| memory.stall_uploads = false);
        let agent = start();
        scene.order(DEVICE, 1, &scene.digest).await;
        let refused = world.event(DEVICE).await;
        assert!(matches!(refused, Event::OrderRefused(_)), "{refused:?}");
        let Event::AssignmentAbandoned(given) = world.event(DEVICE).await else {
            panic!("the assignment is given back");
        };
        assert_eq!(given.reason, "stale");
        assert_eq!(world.with(|memory| memory.headers.len()), 1);
        assert_eq!(agent.tally().count("abandoned.answered"), 1);
    }
}

#[tokio::test]
async fn invariant_11_a_window_that_was_answered_before_a_restart_is_not_answered_again() {
    for found in both() {
        let scene = Scene::with(|plan| plan).await;
        let world = &scene.server.world;
        let tickets = Arc::default();
        let start = || {
            let data = Box::new(Chosen::new(found.clone()));
            scene.start_keeping(DEVICE, data, with_tickets(&tickets))
        };
        let agent = start();
        scene.ask(DEVICE, AnswerWindow::default()).await;
        let voted = world.event(DEVICE).await;
        assert!(matches!(voted, Event::SummaryReport(_)), "{voted:?}");
        agent.stop().await.unwrap();
        let agent = start();
        scene.ask(DEVICE, AnswerWindow::default()).await;
        let refused = world.event(DEVICE).await;
        assert!(matches!(refused, Event::OrderRefused(_)), "{refused:?}");
        assert_eq!(agent.tally().count("summary.answered"), 1);
    }
}

/// Data that do not come back until a test lets them; counts who waits or waited for them.
#[derive(Default)]
struct Hanging {
    looks: Mutex<(u32, bool)>,
    changed: Condvar,
}

impl Hanging {
    fn looks(&self) -> u32 {
        self.looks.lock().unwrap().0
    }

    fn let_go(&self) {
        self.looks.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

struct Shared(Arc<Hanging>);

impl LocalData for Shared {
    fn form(&self, task: &str) -> Result<DataForm, DataError> {
        Chosen::new(filled(0.0, 1)).form(task)
    }

    fn examples(&self, _: &str, _: &Purpose) -> Result<Examples, DataError> {
        let mut looks = self.0.looks.lock().unwrap();
        looks.0 += 1;
        let until_let_go = |looks: &mut (u32, bool)| !looks.1;
        drop(self.0.changed.wait_while(looks, until_let_go).unwrap());
        Ok(examples(FEATURES, 12))
    }
}

#[tokio::test]
async fn invariant_11_data_that_never_come_back_hold_one_thread_and_every_round_is_answered() {
    let change = |plan| TrainingPlan {
        answer_window: Some(AnswerWindow {
            from_ms: 20,
            until_ms: 30,
        }),
        ..plan
    };
    let scene = Scene::with(change).await;
    let hanging = Arc::new(Hanging::default());
    let data = Box::new(Shared(Arc::clone(&hanging)));
    let agent = scene.start_keeping(DEVICE, data, Kept::default());
    for round in 1..=4 {
        scene.order(DEVICE, round, &scene.digest).await;
        scene.server.world.counted(RUN, round, DEVICE).await;
    }
    let looks = hanging.looks();
    hanging.let_go(); // before anything that may fail, since a runtime waits for its threads
    assert_eq!(looks, 1);
    assert_eq!(constant_forms(&agent), 4);
    // and once they are back they are looked at again
    scene.order(DEVICE, 5, &scene.digest).await;
    scene.server.world.counted(RUN, 5, DEVICE).await;
    assert_eq!(hanging.looks(), 2);
}
