//! One suite for every [`Store`]: each test runs on the memory store, on sled and on redb.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use support::block_on;
use tributary_store::{
    Batch, EmbeddedStore, EngineKind, Expect, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS,
    MAX_VALUE_BYTES, MemoryStore, Operation, Store, StoreError, Table, Versioned,
};

/// Runs a check on an empty store of each kind.
fn on_every_store(check: impl Fn(Arc<dyn Store>)) {
    let folder = tempfile::tempdir().unwrap();
    for store in every_store(folder.path()) {
        check(store);
    }
}

/// An empty store of each kind; the embedded ones in folders of their own below `folder`.
fn every_store(folder: &Path) -> Vec<Arc<dyn Store>> {
    let mut stores: Vec<Arc<dyn Store>> = vec![Arc::new(MemoryStore::new())];
    for engine in EngineKind::ALL {
        stores.push(Arc::new(open(&folder.join(engine.name()), engine)));
    }
    stores
}

fn open(folder: &Path, engine: EngineKind) -> EmbeddedStore {
    EmbeddedStore::open(folder, Some(engine)).unwrap()
}

fn put(table: Table, key: &str, value: &str, expect: Expect) -> Batch {
    let mut batch = Batch::new();
    batch.put(table, key, value, expect);
    batch
}

fn value_of(store: &dyn Store, table: Table, key: &str) -> Option<String> {
    let record = store.get(table, key.as_bytes()).unwrap()?;
    Some(String::from_utf8(record.value).unwrap())
}

#[test]
fn a_record_has_the_version_of_the_commit_that_put_it() {
    on_every_store(|store| {
        assert_eq!(store.get(Table::Runs, b"run").unwrap(), None);
        let first = block_on(store.commit(put(Table::Runs, "run", "a", Expect::Absent))).unwrap();
        let read = store.get(Table::Runs, b"run").unwrap().unwrap();
        assert_eq!(
            read,
            Versioned {
                version: first.version,
                value: b"a".to_vec()
            }
        );
        let next = put(Table::Runs, "run", "b", Expect::from(Some(&read)));
        let second = block_on(store.commit(next)).unwrap();
        assert!(second.version > first.version);
        assert_eq!(value_of(&*store, Table::Runs, "run").as_deref(), Some("b"));
        assert_eq!(
            store.get(Table::Models, b"run").unwrap(),
            None,
            "tables are apart"
        );
    });
}

#[test]
fn a_failed_expectation_names_what_was_found_and_changes_nothing() {
    on_every_store(|store| {
        let version = block_on(store.commit(put(Table::Runs, "run", "a", Expect::Any)))
            .unwrap()
            .version;
        for (key, expected, found) in [
            ("run", Expect::Absent, Some(version)),
            ("run", Expect::Version(version + 1), Some(version)),
            ("other", Expect::Version(version), None),
        ] {
            let conflict = StoreError::Conflict {
                table: Table::Runs,
                key: key.as_bytes().to_vec(),
                expected,
                found,
            };
            assert!(conflict.is_conflict());
            let mut delete = Batch::new();
            delete.delete(Table::Runs, key, expected);
            let mut check = Batch::new();
            check.check(Table::Runs, key, expected);
            for batch in [put(Table::Runs, key, "b", expected), delete, check] {
                assert_eq!(block_on(store.commit(batch)), Err(conflict.clone()));
            }
        }
        assert_eq!(value_of(&*store, Table::Runs, "run").as_deref(), Some("a"));
        assert_eq!(value_of(&*store, Table::Runs, "other"), None);
    });
}

#[test]
fn a_batch_changes_all_its_tables_or_none() {
    on_every_store(|store| {
        let mut batch = Batch::new();
        for table in Table::ALL {
            batch.put(table, "key", table.name(), Expect::Absent);
        }
        block_on(store.commit(batch)).unwrap();

        let mut refused = Batch::new();
        for table in Table::ALL {
            refused.put(table, "key", "changed", Expect::Any);
            refused.put(table, "new", "added", Expect::Any);
        }
        refused.check(Table::Installs, "last", Expect::Version(1));
        assert!(block_on(store.commit(refused)).unwrap_err().is_conflict());
        for table in Table::ALL {
            assert_eq!(
                value_of(&*store, table, "key").as_deref(),
                Some(table.name())
            );
            assert_eq!(value_of(&*store, table, "new"), None);
        }
    });
}

#[test]
fn a_version_never_comes_back_after_a_delete() {
    on_every_store(|store| {
        let first = block_on(store.commit(put(Table::Meta, "k", "a", Expect::Any))).unwrap();
        let mut delete = Batch::new();
        delete.delete(Table::Meta, "k", Expect::Version(first.version));
        block_on(store.commit(delete)).unwrap();
        assert_eq!(value_of(&*store, Table::Meta, "k"), None);
        block_on(store.commit(put(Table::Meta, "k", "a", Expect::Absent))).unwrap();
        let stale = put(Table::Meta, "k", "b", Expect::Version(first.version));
        assert!(block_on(store.commit(stale)).unwrap_err().is_conflict());
    });
}

#[test]
fn a_batch_that_writes_nothing_is_answered_with_the_last_commit() {
    on_every_store(|store| {
        let version = block_on(store.commit(put(Table::Meta, "k", "a", Expect::Any)))
            .unwrap()
            .version;
        let mut nothing = Batch::new();
        nothing.check(Table::Meta, "k", Expect::Version(version));
        nothing.delete(Table::Meta, "absent", Expect::Any);
        assert_eq!(block_on(store.commit(nothing)).unwrap().version, version);
        assert_eq!(
            block_on(store.commit(Batch::new())).unwrap().version,
            version
        );
    });
}

#[test]
fn a_scan_is_sorted_bounded_by_the_prefix_and_pages_without_gaps() {
    on_every_store(|store| {
        let mut batch = Batch::new();
        for key in [
            &b"a"[..],
            b"b",
            b"b\x00",
            b"b1",
            b"b2",
            b"b\xFF",
            b"b\xFF\xFF",
            b"c",
            b"\xFF",
        ] {
            batch.put(Table::RunEvents, key, key, Expect::Absent);
        }
        block_on(store.commit(batch)).unwrap();
        let scan = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
            let rows = store.scan(Table::RunEvents, prefix, after, limit).unwrap();
            rows.into_iter().map(|(key, _)| key).collect()
        };
        let with_b = [&b"b"[..], b"b\x00", b"b1", b"b2", b"b\xFF", b"b\xFF\xFF"];
        assert_eq!(scan(b"b", None, 100), with_b);
        assert_eq!(scan(b"b", None, 2), with_b[..2]);
        assert_eq!(scan(b"b", Some(b"b1"), 2), with_b[3..5]);
        assert_eq!(scan(b"b", Some(b"b\xFF\xFF"), 2).len(), 0);
        assert_eq!(
            scan(b"b", Some(b"a"), 100),
            with_b,
            "after may lie before the prefix"
        );
        assert_eq!(scan(b"b", Some(b"c"), 100).len(), 0, "or behind it");
        assert_eq!(scan(b"b", None, 0).len(), 0);
        assert_eq!(scan(b"\xFF", None, 100), [b"\xFF"]);
        assert_eq!(scan(b"", None, 100).len(), 9);
        assert_eq!(scan(b"x", None, 100).len(), 0);
    });
}

#[test]
fn records_pages_through_any_number_of_rows() {
    on_every_store(|store| {
        for count in [0_u64, 1, 64, 65, 200] {
            let mut batch = Batch::new();
            for number in 0..count {
                batch.put(Table::Segments, number.to_be_bytes(), "x", Expect::Any);
            }
            block_on(store.commit(batch)).unwrap();
            let keys = store
                .records(Table::Segments, b"")
                .map(|row| row.unwrap().0);
            let expected = (0..count).map(|number| number.to_be_bytes().to_vec());
            assert!(keys.eq(expected), "{count} rows");
        }
    });
}

#[test]
fn input_beyond_the_limits_is_refused_with_a_typed_error() {
    on_every_store(|store| {
        let table = Table::Meta;
        let refused = |batch: Batch| block_on(store.commit(batch)).unwrap_err();
        let put = |key: Vec<u8>, size: usize| {
            let mut batch = Batch::new();
            batch.put(table, key, vec![0; size], Expect::Any);
            batch
        };
        let limit = MAX_VALUE_BYTES;
        assert_eq!(
            refused(put(b"k".to_vec(), limit + 1)),
            StoreError::ValueTooLarge {
                table,
                size: limit + 1,
                limit
            }
        );
        let limit = MAX_KEY_BYTES;
        for size in [0, limit + 1] {
            let error = StoreError::KeySize { table, size, limit };
            assert_eq!(refused(put(vec![b'k'; size], 1)), error);
        }
        let mut twice = put(b"k".to_vec(), 1);
        twice.delete(table, "k", Expect::Any);
        assert_eq!(refused(twice), StoreError::DuplicateKey { table });

        let mut many = Batch::new();
        for number in 0..=MAX_OPERATIONS {
            many.check(table, number.to_be_bytes(), Expect::Any);
        }
        assert!(matches!(refused(many), StoreError::BatchTooLarge { .. }));
        let mut heavy = Batch::new();
        for number in 0..=MAX_BATCH_BYTES / MAX_VALUE_BYTES {
            heavy.put(
                table,
                number.to_be_bytes(),
                vec![0; MAX_VALUE_BYTES],
                Expect::Any,
            );
        }
        assert!(matches!(refused(heavy), StoreError::BatchTooLarge { .. }));

        assert_eq!(
            store.scan(table, b"", None, 10).unwrap(),
            [],
            "nothing was kept"
        );
        block_on(store.commit(put(vec![b'k'; MAX_KEY_BYTES], MAX_VALUE_BYTES))).unwrap();
        let read = store.get(table, &[b'k'; MAX_KEY_BYTES]).unwrap().unwrap();
        assert_eq!(
            read.value.len(),
            MAX_VALUE_BYTES,
            "the limits themselves are accepted"
        );
    });
}

#[test]
fn json_values_read_back_and_other_values_are_a_typed_error() {
    on_every_store(|store| {
        let mut batch = Batch::new();
        batch
            .put_json(Table::Meta, "k", &("eu", 0.1_f64), Expect::Any)
            .unwrap();
        block_on(store.commit(batch)).unwrap();
        let record = store.get(Table::Meta, b"k").unwrap().unwrap();
        assert_eq!(
            record.json::<(String, f64)>().unwrap(),
            ("eu".to_owned(), 0.1)
        );
        assert!(matches!(
            record.json::<u64>(),
            Err(StoreError::Encoding { .. })
        ));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_committers_lose_no_increment() {
    const TASKS: u64 = 8;
    const INCREMENTS: u64 = 25;
    let folder = tempfile::tempdir().unwrap();
    for store in every_store(folder.path()) {
        let tasks = (0..TASKS).map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for step in 0..INCREMENTS {
                    increment(&*store, task * INCREMENTS + step).await;
                }
            })
        });
        for done in futures::future::join_all(tasks).await {
            done.unwrap();
        }
        let total: u64 = store
            .get(Table::Meta, b"total")
            .unwrap()
            .unwrap()
            .json()
            .unwrap();
        assert_eq!(total, TASKS * INCREMENTS);
        assert_eq!(
            store.records(Table::Ledger, b"").count() as u64,
            TASKS * INCREMENTS
        );
    }
}

/// Adds one to a counter and notes it in another table, retrying until no one else came between.
async fn increment(store: &dyn Store, note: u64) {
    loop {
        let read = store.get(Table::Meta, b"total").unwrap();
        let total: u64 = read.as_ref().map_or(0, |record| record.json().unwrap());
        let mut batch = Batch::new();
        batch
            .put_json(
                Table::Meta,
                "total",
                &(total + 1),
                Expect::from(read.as_ref()),
            )
            .unwrap();
        batch.put(Table::Ledger, note.to_be_bytes(), "+1", Expect::Absent);
        match store.commit(batch).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_conflict(), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_never_shows_half_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    for store in every_store(folder.path()) {
        let writer = Arc::clone(&store);
        let writing = tokio::spawn(async move {
            for round in 0..60_u64 {
                let mut batch = Batch::new();
                for key in 0..40_u64 {
                    batch.put(
                        Table::Builds,
                        key.to_be_bytes(),
                        round.to_be_bytes(),
                        Expect::Any,
                    );
                }
                writer.commit(batch).await.unwrap();
            }
        });
        let reading = tokio::task::spawn_blocking(move || {
            while !writing.is_finished() {
                let rows = store.scan(Table::Builds, b"", None, 100).unwrap();
                assert!(rows.is_empty() || rows.len() == 40);
                assert!(
                    rows.windows(2).all(|pair| pair[0].1 == pair[1].1),
                    "a torn batch"
                );
            }
        });
        reading.await.unwrap();
    }
}

#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    table: u8,
    key: u8,
    /// 0: anything, 1: no record, 2: the current version, 3: a stale one.
    expect: u8,
    value: Vec<u8>,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let value = proptest::collection::vec(any::<u8>(), 0..6);
    let step = (0_u8..3, 0_u8..3, 0_u8..5, 0_u8..4, value).prop_map(
        |(kind, table, key, expect, value)| Step {
            kind,
            table,
            key,
            expect,
            value,
        },
    );
    let batch = proptest::collection::vec(step, 0..5);
    proptest::collection::vec(batch, 1..20)
}

/// The batch of some steps against what `store` holds now.
fn batch_of(steps: &[Step], store: &dyn Store) -> Batch {
    let mut batch = Batch::new();
    for step in steps {
        let table = Table::ALL[usize::from(step.table) * 4];
        let key = vec![b'k', step.key];
        let version = store
            .get(table, &key)
            .unwrap()
            .map_or(1, |record| record.version);
        let expect = match step.expect {
            0 => Expect::Any,
            1 => Expect::Absent,
            2 => Expect::Version(version),
            _ => Expect::Version(version.wrapping_sub(1)),
        };
        let value = step.value.clone();
        batch.push(match step.kind {
            0 => Operation::Put {
                table,
                key,
                value,
                expect,
            },
            1 => Operation::Delete { table, key, expect },
            _ => Operation::Check { table, key, expect },
        });
    }
    batch
}

fn contents(store: &dyn Store) -> BTreeMap<(Table, Vec<u8>), Versioned> {
    let mut all = BTreeMap::new();
    for table in Table::ALL {
        for row in store.records(table, b"") {
            let (key, record) = row.unwrap();
            all.insert((table, key), record);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_store_answers_every_sequence_of_batches_alike(batches in steps(), reopen in 0_usize..20) {
        for engine in EngineKind::ALL {
            let folder = tempfile::tempdir().unwrap();
            let memory = MemoryStore::new();
            let mut store = open(folder.path(), engine);
            for (number, steps) in batches.iter().enumerate() {
                if number == reopen {
                    drop(store);
                    store = open(folder.path(), engine);
                }
                let batch = batch_of(steps, &memory);
                let expected = block_on(memory.commit(batch.clone()));
                prop_assert_eq!(block_on(store.commit(batch)), expected);
            }
            prop_assert_eq!(contents(&store), contents(&memory));
        }
    }
}
