//! Invariant 12: what is damaged of one run or monitor is set aside, named, left as it is, and stops
//! nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tributary_proto::v1::{Run, RunState};
use tributary_store::{Batch, EmbeddedStore, Expect, Store, Table};

use crate::harness::coordinator::files_below;
use crate::harness::hand::{Hand, hands, update};
use crate::harness::operator::of;
use crate::harness::process::Process;
use crate::harness::{Coordinator, Operator, Recipe, Session, channel, fleet};

/// Opens the metadata of a coordinator that is down.
pub async fn store(folder: &TempDir) -> EmbeddedStore {
    let meta = folder.path().join("data/meta");
    for _ in 0..200 {
        match EmbeddedStore::open(&meta, None) {
            Ok(store) => return store,
            // the coordinator lets go of it in a moment
            Err(error) if error.to_string().contains("in use") => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store stays in use")
}

/// Overwrites every record of a table whose key begins with `prefix` and gives their number.
async fn damage_records(folder: &TempDir, table: Table, prefix: &[u8]) -> usize {
    let store = store(folder).await;
    let rows = store.scan(table, prefix, None, 64).unwrap();
    let mut batch = Batch::new();
    for (key, _) in &rows {
        batch.put(
            table,
            key.clone(),
            b"{ not what it was".to_vec(),
            Expect::Any,
        );
    }
    store.commit(batch).await.unwrap();
    rows.len()
}

/// Flips a byte in the middle of every blob that holds `mark`; gives the files.
fn damage_blobs(folder: &Path, mark: &[u8]) -> Vec<PathBuf> {
    let marked = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let mut damaged = Vec::new();
    for (path, mut bytes) in files_below(folder) {
        if marked(&bytes) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x40;
            std::fs::write(&path, bytes).unwrap();
            damaged.push(path);
        }
    }
    damaged
}

/// Two runs in mid-round, one per region; each has one device that is counted and one that is not.
async fn two_runs(coordinator: &Coordinator) -> (Operator, Vec<(Hand, Session)>) {
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 4).await;
    for region in ["eu", "us"] {
        let recipe = Recipe::new()
            .rounds(2, 2)
            .set("regions", vec![region.to_owned()])
            .set("rounds.deadline_ms", 600_000);
        operator.start(&recipe).await;
    }
    for (number, (hand, session)) in (0..).zip(devices.iter_mut().take(2)) {
        let order = session.assignment().await;
        hand.counted(&order, &update(number)).await;
    }
    (operator, devices)
}

/// The other run goes on from where it was to its end.
async fn goes_on(coordinator: &Coordinator, devices: &[(Hand, Session)]) {
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let mut sessions = Vec::new();
    for number in [1, 3] {
        let hand = devices[number].0.over(&channel);
        let session = hand.connect().await;
        sessions.push((hand, session));
    }
    let (hand, session) = &mut sessions[1];
    let order = session.assignment().await;
    assert_eq!(
        (order.run_id.as_str(), order.round, order.attempt),
        ("tiny-2", 1, 1)
    );
    hand.counted(&order, &update(3)).await;
    for (hand, session) in &mut sessions {
        let order = session.assignment().await;
        assert_eq!(order.round, 2);
        hand.counted(&order, &update(9)).await;
    }
    operator.completed("tiny-2").await;
    // and new runs are started, under ids of their own
    let next = operator.start(&Recipe::new().rounds(1, 2)).await;
    assert_eq!(next, "tiny-3");
}

async fn assert_set_aside(coordinator: &Coordinator, code: &str) {
    let operator = coordinator.operator().await;
    let is_aside = |run: &Run| {
        run.run_id == "tiny-1" && run.state() == RunState::Quarantined && run.reason.contains(code)
    };
    let listed = operator.runs().await;
    assert_eq!(listed.len(), 2);
    assert!(is_aside(&listed[0]), "first in the list: {listed:#?}");
    let shown = operator.show("tiny-1").await;
    assert!(is_aside(of(&shown)), "{shown:#?}");
    assert!(
        of(&shown).reason.contains("tributary run stop tiny-1"),
        "{shown:#?}"
    );
    let page = coordinator.admin_page("/readyz").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("quarantined run tiny-1: "), "{page}");
}

/// Damages something of the first of two runs, and checks that only that run is set aside.
async fn only_the_damaged_run_is_set_aside<D>(code: &str, damage: impl FnOnce(Arc<TempDir>) -> D)
where
    D: Future<Output = ()>,
{
    let coordinator = Coordinator::start().await;
    let (_, devices) = two_runs(&coordinator).await;
    let folder = coordinator.crash();
    damage(folder.clone()).await;
    let vault = folder.path().join("data/vault");
    let before = files_below(&vault);
    let coordinator = Coordinator::open(folder.clone(), 2).await;
    assert_set_aside(&coordinator, code).await;
    goes_on(&coordinator, &devices).await;
    // nothing of what is set aside was changed or swept
    for (path, bytes) in before {
        let is_of_other = bytes.windows(6).any(|window| window == b"tiny-2");
        assert!(
            is_of_other || std::fs::read(&path).is_ok_and(|now| now == bytes),
            "{} has changed",
            path.display()
        );
    }
    // and it is still so after another restart
    let coordinator = Coordinator::open(
        {
            drop(folder);
            coordinator.crash()
        },
        2,
    )
    .await;
    let page = coordinator.admin_page("/readyz").await;
    assert!(page.contains("quarantined run tiny-1: "), "{page}");
    is_ended_for_good(coordinator, code).await;
}

/// An operator ends the run that is set aside: it is failed from then on, also after a restart.
async fn is_ended_for_good(coordinator: Coordinator, code: &str) {
    let operator = coordinator.operator().await;
    let stopped = operator.stop("tiny-1").await.unwrap();
    assert_eq!(stopped.state(), RunState::Failed);
    assert!(stopped.reason.contains(code), "{}", stopped.reason);
    let again = operator.stop("tiny-1").await.unwrap_err();
    assert!(again.message().contains("over (failed)"), "{again}");
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    let shown = operator.show("tiny-1").await;
    assert_eq!(of(&shown).state(), RunState::Failed);
    assert_eq!(of(&shown).reason, stopped.reason);
    let listed = operator.runs().await;
    let listed = listed.iter().find(|run| run.run_id == "tiny-1").unwrap();
    assert_eq!(listed.reason, stopped.reason);
    let page = coordinator.admin_page("/readyz").await;
    assert!(!page.contains("quarantined run"), "{page}");
}

/// A run of three devices that has charged, whose vault is emptied while the coordinator is down.
async fn charged_and_without_its_vault() -> (Arc<TempDir>, String) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", 3));
    devices.wait_connected(3).await;
    let recipe = Recipe::private()
        .rounds(5_000, 3)
        .set("regions", vec!["eu".to_owned()]);
    let run = operator.start(&recipe).await;
    let charged = |shown: &tributary_proto::v1::GetRunResponse| of(shown).round > 2;
    operator.until(&run, "a charge", charged).await;
    let folder = coordinator.crash();
    drop(devices);
    // whoever held the store has let go of it
    drop(store(&folder).await);
    for (path, _) in files_below(&folder.path().join("data/vault")) {
        std::fs::remove_file(path).unwrap();
    }
    (folder, run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_vault_is_gone_shows_what_it_spent_and_a_stop_gives_its_reservation_back() {
    let (folder, run) = charged_and_without_its_vault().await;
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    let shown = operator.show(&run).await;
    assert_eq!(of(&shown).state(), RunState::Quarantined);
    let reason = &of(&shown).reason;
    assert!(reason.contains("is gone from the data folder"), "{reason}");
    assert!(!reason.contains("ask for a newer"), "{reason}");
    let spent = of(&shown).privacy.clone().expect("the ledger knows");
    assert!(spent.rho > 0.0, "{spent:?}");
    let before = operator.privacy(&run).await;
    assert_eq!(before.reservations.len(), 1, "{before:#?}");

    let stopped = operator.stop(&run).await.unwrap();
    assert_eq!(stopped.state(), RunState::Failed);
    assert_eq!(stopped.privacy.as_ref(), Some(&spent));
    let after = operator.privacy(&run).await;
    assert!(after.reservations.is_empty(), "{after:#?}");
    assert_eq!(after.accounts[0].spend, before.accounts[0].spend);
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    assert_eq!(of(&operator.show(&run).await).privacy, Some(spent));
    assert!(operator.privacy(&run).await.reservations.is_empty());
}

/// What is on disk of the reservations of a run.
fn reservations(store: &EmbeddedStore, run: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = store.scan(Table::Meta, b"", None, 1_000).unwrap();
    let is_of_run = |key: &[u8]| {
        let key = String::from_utf8_lossy(key);
        key.contains("reserv") && key.contains(run)
    };
    let rows = rows.into_iter().filter(|(key, _)| is_of_run(key));
    rows.map(|(key, record)| (key, record.value)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_a_run_that_is_set_aside_goes_on_where_a_crash_cut_it_off() {
    let (folder, run) = charged_and_without_its_vault().await;
    let before = reservations(&store(&folder).await, &run);
    assert!(!before.is_empty());
    let coordinator = Coordinator::open(folder, 2).await;
    let operator = coordinator.operator().await;
    operator.stop(&run).await.unwrap();
    drop(operator);
    let folder = coordinator.crash();
    // as if the crash had come before the reservation was given back
    let meta = store(&folder).await;
    assert!(reservations(&meta, &run).is_empty());
    let mut batch = Batch::new();
    for (key, value) in before {
        batch.put(Table::Meta, key, value, Expect::Absent);
    }
    meta.commit(batch).await.unwrap();
    drop(meta);
    // the vault that was emptied, and all else that nothing names, is swept again
    let stray = folder.path().join("data/vault/blobs/ab");
    std::fs::create_dir_all(&stray).unwrap();
    std::fs::write(stray.join("cd".repeat(31)), "left behind").unwrap();
    let coordinator = Coordinator::open(folder, 2).await;
    assert!(
        !stray.join("cd".repeat(31)).exists(),
        "sweeping is on again"
    );
    let operator = coordinator.operator().await;
    assert!(operator.privacy(&run).await.reservations.is_empty());
    assert_eq!(of(&operator.show(&run).await).state(), RunState::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_run_whose_record_is_damaged_is_set_aside_alone() {
    only_the_damaged_run_is_set_aside("[TRB-0500]", |folder| async move {
        assert_eq!(damage_records(&folder, Table::Runs, b"tiny-1").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_run_whose_journal_is_damaged_is_set_aside_alone() {
    only_the_damaged_run_is_set_aside("[TRB-0500]", |folder| async move {
        assert!(damage_records(&folder, Table::RunEvents, b"tiny-1").await > 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_run_whose_snapshot_or_sums_are_damaged_is_set_aside_alone() {
    only_the_damaged_run_is_set_aside("[TRB-0510]", |folder| async move {
        let damaged = damage_blobs(&folder.path().join("data/vault"), b"tiny-1");
        assert!(damaged.len() >= 2, "the snapshot and a sum: {damaged:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_run_whose_model_is_damaged_is_set_aside_alone() {
    only_the_damaged_run_is_set_aside("[TRB-0510]", |folder| async move {
        let records = store(&folder).await.scan(Table::Models, b"", None, 64);
        let models = records.unwrap().into_iter().map(|(_, record)| {
            let model = record.json::<serde_json::Value>().unwrap();
            [&model["run_id"], &model["digest"]].map(|text| text.as_str().unwrap().to_owned())
        });
        let of_run: Vec<String> = models
            .filter(|[run, _]| run == "tiny-1")
            .map(|[_, digest]| digest)
            .collect();
        assert_eq!(of_run.len(), 1, "{of_run:?}");
        let (shard, rest) = of_run[0].split_at(2);
        let file = folder
            .path()
            .join("data/blobs/blobs")
            .join(shard)
            .join(rest);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.truncate(100);
        std::fs::write(&file, bytes).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_run_whose_sum_is_gone_is_set_aside_alone() {
    only_the_damaged_run_is_set_aside("[TRB-0510]", |folder| async move {
        let vault = folder.path().join("data/vault");
        let is_sum = |bytes: &[u8]| bytes.ends_with(b"tiny-1");
        let sums = files_below(&vault)
            .into_iter()
            .filter(|(_, bytes)| is_sum(bytes));
        let sums: Vec<PathBuf> = sums.map(|(path, _)| path).collect();
        assert_eq!(sums.len(), 1, "{sums:?}");
        std::fs::remove_file(&sums[0]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_monitor_whose_record_is_damaged_is_set_aside_and_its_run_and_others_serve()
{
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::serve(&data, "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    let devices = fleet::start(&process.endpoint(), 2, fleet::devices("eu", 3));
    devices.wait_connected(3).await;
    let plain = || {
        let recipe = Recipe::private().rounds(1, 3);
        recipe.set("regions", vec!["eu".to_owned()])
    };
    let recipe = plain()
        .set("drift.interval_ms", 50)
        .set("drift.windows", 1_000)
        .set("drift.warm_up", 4)
        .set("drift.noise_votes", 0.5)
        .set("drift.minimum_devices", 2)
        .set("drift.max_invisible_psi", 1000.0)
        .set("drift.quantities", prediction());
    let run = operator.start(&recipe).await;
    operator.completed(&run).await;
    // devices that were asked keep what proves it, and show it when they come back
    let begun = std::time::Instant::now();
    while operator
        .monitor(&run)
        .await
        .is_none_or(|m| m.windows_asked < 2)
    {
        assert!(
            begun.elapsed() < crate::harness::PATIENCE,
            "nobody is asked"
        );
        tokio::time::sleep(crate::harness::GLANCE).await;
    }
    let address = process.kill();
    assert!(damage_records(&folder, Table::Monitors, b"").await > 0);
    let process = Process::serve(&data, &address);
    let operator = Operator::new(channel(&process.endpoint()).await);
    let (status, page) = process.page("/readyz").unwrap();
    assert_eq!(status, 200, "{page}");
    let named = format!("quarantined monitor {run}-drift: ");
    assert!(page.contains(&named), "{page}");
    assert_eq!(of(&operator.show(&run).await).state(), RunState::Completed);
    devices.wait_connected(3).await;
    let next = operator.start(&plain()).await;
    operator.completed(&next).await;
}

/// One quantity: what the model says.
fn prediction() -> toml::Value {
    let quantity = [("source".to_owned(), "prediction".into())];
    toml::Value::Array(vec![toml::Value::Table(quantity.into_iter().collect())])
}
