//! A model version that is damaged on the disk is found when it is given out, named, and stops nothing
//! else: the run that offers it is set aside, a finished one says so.

use std::path::{Path, PathBuf};

use tonic::Code;
use tributary_model::Digest;
use tributary_proto::v1::{AssignmentAbandoned, Run, RunState, device_event::Event};

use crate::harness::hand::{Hand, hands, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe};

/// The file of an object.
fn file_of(data: &Path, digest: &str) -> PathBuf {
    let (shard, rest) = digest.split_at(2);
    data.join("blobs/blobs").join(shard).join(rest)
}

/// Flips a byte in the middle; gives what was there.
fn damage(file: &Path) -> Vec<u8> {
    let whole = std::fs::read(file).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x20;
    std::fs::write(file, damaged).unwrap();
    whole
}

fn in_region(region: &str) -> Recipe {
    Recipe::new()
        .rounds(1, 1)
        .set("regions", vec![region.to_owned()])
        .set("rounds.deadline_ms", 600_000)
}

/// Waits until a run is set aside, and checks that it is named, in the list and on the page.
async fn set_aside(coordinator: &Coordinator, operator: &Operator, run: &str, digest: &str) {
    let aside = operator.until(run, "its being set aside", |shown| {
        of(shown).state() == RunState::Quarantined
    });
    let aside = aside.await;
    assert!(of(&aside).reason.contains("[TRB-0510]"), "{aside:#?}");
    let listed: Vec<Run> = operator.runs().await;
    let is_aside = |listed: &Run| listed.run_id == run && listed.state() == RunState::Quarantined;
    assert!(listed.iter().any(is_aside), "{listed:#?}");
    let page = coordinator.admin_page("/readyz").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for named in [
        format!("quarantined object {digest}: "),
        format!("quarantined run {run}: "),
    ] {
        assert!(page.contains(&named), "{named:?} is missing in {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_damaged_while_it_is_served_sets_its_run_aside_and_no_other() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let east = operator.start(&in_region("eu")).await;
    let west = operator.start(&in_region("us")).await;
    let order = devices[0].1.assignment().await;
    assert_eq!(order.run_id, east);
    damage(&file_of(&coordinator.data(), &order.model_digest));
    // who asks for it gets no bytes, and is told
    let refused = operator.download(&order.model_digest, 0).await.unwrap_err();
    let words = [&*order.model_digest, "damaged"];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0530", &words);
    set_aside(&coordinator, &operator, &east, &order.model_digest).await;
    // its device is free for others, and the other run does not notice
    let (hand, session) = &mut devices[1];
    let order = session.assignment().await;
    operator.file(&order.model_digest).await;
    hand.counted(&order, &update(1)).await;
    operator.completed(&west).await;
    let next = operator.start(&in_region("eu")).await;
    let (hand, session) = &mut devices[0];
    let order = session.assignment().await;
    hand.counted(&order, &update(2)).await;
    operator.completed(&next).await;
}

/// More than is kept in memory for download.
fn large(recipe: Recipe) -> Recipe {
    let layer = |kind: &str, units: Option<i64>| {
        let mut layer = toml::Table::new();
        layer.insert("kind".to_owned(), kind.into());
        if let Some(units) = units {
            layer.insert("units".to_owned(), units.into());
        }
        toml::Value::Table(layer)
    };
    let layers = [
        ("dense", Some(350_000)),
        ("relu", None),
        ("dense", Some(2)),
        ("softmax", None),
    ];
    let layers: Vec<toml::Value> = layers
        .iter()
        .map(|(kind, units)| layer(kind, *units))
        .collect();
    recipe.set("model.layers", layers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_version_is_checked_when_it_is_first_asked_for_and_when_a_device_could_not_fetch_it()
 {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let hand = Hand::enrol(&channel, "d-0", "eu").await;
    let mut session = hand.connect().await;
    // damaged before anybody asked
    let first = operator.start(&large(in_region("eu"))).await;
    let order = session.assignment().await;
    let file = file_of(&coordinator.data(), &order.model_digest);
    assert!(std::fs::metadata(&file).unwrap().len() > 8 << 20);
    damage(&file);
    let refused = operator.download(&order.model_digest, 0).await.unwrap_err();
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0530", &["damaged"]);
    set_aside(&coordinator, &operator, &first, &order.model_digest).await;
    // damaged after it was found whole: the first device that can't use what it gets says so
    let second = operator.start(&large(in_region("eu"))).await;
    let order = session.assignment().await;
    let whole = operator.download(&order.model_digest, 0).await.unwrap();
    assert_eq!(Digest::of(&whole).to_string(), order.model_digest);
    damage(&file_of(&coordinator.data(), &order.model_digest));
    let abandoned = AssignmentAbandoned {
        run_id: second.clone(),
        round: order.round,
        reason: "network".to_owned(),
        ..AssignmentAbandoned::default()
    };
    session.tell(Event::AssignmentAbandoned(abandoned)).await;
    let begun = std::time::Instant::now();
    while operator.download(&order.model_digest, 0).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the damage is not found");
        tokio::time::sleep(GLANCE).await;
    }
    set_aside(&coordinator, &operator, &second, &order.model_digest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_of_a_finished_run_that_was_damaged_is_named_and_no_run_starts_from_it() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 1).await;
    let run = operator.start(&in_region("eu")).await;
    let (hand, session) = &mut devices[0];
    let order = session.assignment().await;
    hand.counted(&order, &update(1)).await;
    let shown = operator.completed(&run).await;
    let version = of(&shown).model_digest.clone();
    let file = file_of(&coordinator.data(), &version);
    let folder = coordinator.crash();
    let whole = damage(&file);
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    let from = Recipe::new()
        .set("model", toml::Table::new())
        .set("model.version", version.clone());
    let refused = operator.refused(&from.text()).await;
    let words = [&*version, "damaged", "backup"];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0530", &words);
    let listed = &operator.runs().await[0];
    assert_eq!(listed.state(), RunState::Completed);
    assert!(listed.reason.contains("damaged"), "{listed:?}");
    let page = coordinator.admin_page("/readyz").await;
    assert!(
        page.contains(&format!("quarantined object {version}: ")),
        "{page}"
    );
    // put back from a backup, it is served again
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(operator.download(&version, 0).await.unwrap(), whole);
    let page = coordinator.admin_page("/readyz").await;
    assert!(!page.contains("quarantined"), "{page}");
    assert_eq!(operator.runs().await[0].reason, "");
    operator.start(&from).await;
}
