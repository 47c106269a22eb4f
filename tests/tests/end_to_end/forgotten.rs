//! When a round or a run is over, nothing on the disk confirms a guess of what a device sent.

use std::path::Path;

use prost::Message as _;
use tributary_model::Digest;
use tributary_proto::v1::{AssignmentAbandoned, Run, RunState, device_event::Event};
use tributary_store::blob::BlobStore;
use tributary_store::{EmbeddedStore, Store, StoreError, Table};

use crate::harness::coordinator::files_below;
use crate::harness::hand::{Hand, encoded, hands, update};
use crate::harness::operator::of;
use crate::harness::recipe::PARAMETERS;
use crate::harness::{Coordinator, GLANCE, Recipe, Session, within};

type Device = (Hand, Session);

/// Updates of three devices in a round: one with nothing to send, whose digest anybody can compute.
fn updates(round: u64) -> [Vec<u8>; 3] {
    let zeros = encoded(&[0.0; PARAMETERS]);
    [zeros, update(10 * round), update(10 * round + 1)]
}

/// Sends `sent` from the first devices, each in a segment of its own; the digests of what they sent.
async fn answer(devices: &mut [Device], sent: &[Vec<u8>]) -> Vec<Digest> {
    let mut digests = Vec::new();
    for ((hand, session), bytes) in devices.iter_mut().zip(sent) {
        hand.counted(&session.assignment().await, bytes).await;
        digests.push(Digest::of(bytes));
    }
    digests
}

/// The store of a coordinator that stops: it lets go of it a little later.
async fn opened(folder: &Path) -> EmbeddedStore {
    let opened = async {
        loop {
            match EmbeddedStore::open(folder, None) {
                Ok(store) => return store,
                Err(StoreError::Locked { .. }) => tokio::time::sleep(GLANCE).await,
                Err(error) => panic!("the store can't be read: {error}"),
            }
        }
    };
    within("the lock of the store", opened).await
}

/// Everything that the folder of a coordinator holds: files as they are, and records and blobs decoded.
async fn contents(data: &Path) -> Vec<(String, Vec<u8>)> {
    let files = files_below(data).into_iter();
    let mut all: Vec<_> = files
        .map(|(path, bytes)| (path.display().to_string(), bytes))
        .collect();
    let names = all.iter().map(|(name, _)| name.clone().into_bytes());
    // `ab/cdef...` is a digest in two parts
    let joined = names.map(|name| {
        let joined = name.into_iter().filter(|byte| *byte != b'/').collect();
        ("the name of a file".to_owned(), joined)
    });
    all.extend(joined.collect::<Vec<_>>());
    let store = opened(&data.join("meta")).await;
    let store: &dyn Store = &store;
    for table in Table::ALL {
        for row in store.records(table, b"") {
            let (key, record) = row.unwrap();
            let name = format!("{table:?} {}", String::from_utf8_lossy(&key));
            if let Ok(value) = record.json::<serde_json::Value>() {
                all.extend(in_hex(&name, &value));
            }
            all.push((name, record.value));
        }
    }
    for folder in ["blobs", "vault"] {
        let blobs = BlobStore::open(data.join(folder)).unwrap();
        for digest in blobs.digests().await.unwrap() {
            let bytes = blobs.get(&digest).await.unwrap();
            all.push((format!("{folder} {digest}"), bytes.to_vec()));
        }
    }
    all
}

/// Texts in a record that are messages in hex.
fn in_hex(name: &str, value: &serde_json::Value) -> Vec<(String, Vec<u8>)> {
    match value {
        serde_json::Value::String(text) => hex::decode(text)
            .map(|bytes| vec![(format!("{name}, decoded"), bytes)])
            .unwrap_or_default(),
        serde_json::Value::Array(values) => values
            .iter()
            .flat_map(|value| in_hex(name, value))
            .collect(),
        serde_json::Value::Object(fields) => fields
            .values()
            .flat_map(|value| in_hex(name, value))
            .collect(),
        _ => Vec::new(),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Fails when anything holds one of the digests, in binary or in hex.
fn assert_forgotten(contents: &[(String, Vec<u8>)], digests: &[Digest]) {
    for digest in digests {
        for (name, bytes) in contents {
            let hex = digest.to_string();
            assert!(!contains(bytes, digest.as_bytes()), "{name} has {hex}");
            assert!(!contains(bytes, hex.as_bytes()), "{name} has {hex} in hex");
        }
    }
}

/// What lists and views say holds none either.
async fn assert_unseen(coordinator: &Coordinator, run: &str, digests: &[Digest]) {
    let operator = coordinator.operator().await;
    let shown = operator.show(run).await.encode_to_vec();
    let listed: Vec<Run> = operator.runs().await;
    let listed = listed.iter().flat_map(Run::encode_to_vec).collect();
    let metrics = coordinator.metrics().await.into_bytes();
    let views = [("show", shown), ("list", listed), ("metrics", metrics)];
    let views = views.map(|(name, bytes)| (name.to_owned(), bytes));
    assert_forgotten(&views, digests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_holds_a_digest_of_an_update_of_a_run_that_completed() {
    let mut coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    let run = operator.start(&Recipe::private().rounds(2, 3)).await;
    let mut digests = answer(&mut devices, &updates(1)).await;
    operator
        .until(&run, "the second round", |shown| of(shown).round == 2)
        .await;
    digests.extend(answer(&mut devices, &updates(2)).await);
    operator.completed(&run).await;
    assert_unseen(&coordinator, &run, &digests).await;
    coordinator.stop().await;
    let folder = coordinator.crash();
    assert_forgotten(&contents(&folder.path().join("data")).await, &digests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_holds_a_digest_of_an_update_of_a_round_that_was_given_up_or_stopped() {
    let mut coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    let recipe = Recipe::private().rounds(2, 3);
    let run = operator.start(&recipe).await;
    let mut digests = answer(&mut devices[..2], &updates(1)).await;
    // the third gives back what it was asked for, so the attempt is over
    let order = devices[2].1.assignment().await;
    let back = AssignmentAbandoned {
        run_id: order.run_id,
        round: order.round,
        reason: "battery".to_owned(),
        ..AssignmentAbandoned::default()
    };
    devices[2].1.tell(Event::AssignmentAbandoned(back)).await;
    operator
        .until(&run, "an attempt that was given up", |shown| {
            shown.rounds.iter().any(|round| round.phase == "aborted")
        })
        .await;
    // in the next one two are counted, and the run is stopped
    digests.extend(answer(&mut devices[..2], &updates(2)[1..]).await);
    operator.stop(&run).await.unwrap();
    operator
        .until(&run, "the end", |shown| {
            of(shown).state() == RunState::Stopped
        })
        .await;
    assert_unseen(&coordinator, &run, &digests).await;
    coordinator.stop().await;
    let folder = coordinator.crash();
    assert_forgotten(&contents(&folder.path().join("data")).await, &digests);
}
