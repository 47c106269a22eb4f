//! What an operator does with a store that no coordinator uses: check, migrate, repair.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::{Contents, block_on, commit, contents, copy, reopened, report, snapshot};
use tributary_store::{
    Batch, EmbeddedStore, EngineKind, Expect, REPAIR_KEY, RepairNote, Store, StoreError, Table,
    inspect, migrate, repair,
};

const BOTH_WAYS: [(EngineKind, EngineKind); 2] = [
    (EngineKind::Sled, EngineKind::Redb),
    (EngineKind::Redb, EngineKind::Sled),
];

/// A store of 60 records and 80 commits.
fn grown(folder: &Path, engine: EngineKind) -> Contents {
    let store = EmbeddedStore::open(folder, Some(engine)).unwrap();
    for number in 0..80_usize {
        let table = Table::ALL[number % Table::ALL.len()];
        let key = format!("k{}", number % 60);
        commit(
            &store,
            table,
            &key,
            vec![number as u8; 30 + number * 97 % 3_000],
        );
    }
    contents(&store)
}

fn database(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Sled => "db",
        EngineKind::Redb => "redb",
    }
}

#[test]
fn a_check_of_a_sound_store_counts_its_records_and_changes_nothing() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let meta = data.path().join("meta");
        let expected = grown(&meta, engine);
        let before = snapshot(&meta);
        let (report, inspected) = inspect(&meta).unwrap();
        assert_eq!(report.problems, [""; 0]);
        assert_eq!(report.engine, Some(engine));
        assert_eq!((report.commit, report.acknowledged), (Some(80), Some(80)));
        assert_eq!(report.records.values().sum::<u64>(), expected.len() as u64);
        let inspected = inspected.unwrap();
        assert!(contents(&inspected) == expected);
        let mut batch = Batch::new();
        batch.put(Table::Runs, "k", "v", Expect::Any);
        // what is committed is forgotten with the view
        block_on(inspected.commit(batch)).unwrap();
        assert!(inspected.get(Table::Runs, b"k").unwrap().is_some());
        // a view is a lock too
        let second = EmbeddedStore::open(&meta, None);
        assert!(matches!(second, Err(StoreError::Locked { .. })));
        drop(inspected);
        assert!(
            snapshot(&meta) == before,
            "{engine}: a check changed something"
        );
    }
}

#[test]
fn a_migration_moves_every_record_with_its_version_and_both_engines_go_on_alike() {
    for (from, to) in BOTH_WAYS {
        let data = tempfile::tempdir().unwrap();
        let meta = data.path().join("meta");
        let expected = grown(&meta, from);
        let done = migrate(&meta, to).unwrap();
        assert_eq!((done.from, done.to, done.commit), (from, to, 80));
        assert_eq!(done.records, expected.len() as u64);
        assert!(!meta.join(database(from)).exists(), "the old one is gone");
        let store = EmbeddedStore::open(&meta, Some(to)).unwrap();
        assert!(contents(&store) == expected);
        assert_eq!(commit(&store, Table::Runs, "next", vec![1]), 81);
        drop(store);
        let again = migrate(&meta, to).unwrap();
        assert_eq!((again.from, again.to), (to, to));
        assert_eq!(reopened(&meta).len(), expected.len() + 1);
    }
}

#[test]
fn a_migration_that_was_cut_short_anywhere_loses_nothing_and_is_run_again() {
    for (from, to) in BOTH_WAYS {
        let data = tempfile::tempdir().unwrap();
        let (before, after) = (data.path().join("before"), data.path().join("after"));
        let expected = grown(&before, from);
        copy(&before, &after);
        migrate(&after, to).unwrap();
        let work = data.path().join("work");
        type Cut<'c> = Box<dyn Fn() + 'c>;
        let place = |engine| work.join(database(engine));
        let cuts: [(&str, Cut<'_>); 4] = [
            (
                "while it was built",
                Box::new(|| {
                    copy(&before, &work);
                    fs::create_dir(work.join("building")).unwrap();
                    fs::write(work.join("building").join("conf"), b"half").unwrap();
                }),
            ),
            (
                "before it took its place",
                Box::new(|| {
                    copy(&before, &work);
                    copy(&after.join(database(to)), &work.join("building"));
                }),
            ),
            (
                "before the format named it",
                Box::new(|| {
                    copy(&before, &work);
                    copy(&after.join(database(to)), &place(to));
                }),
            ),
            (
                "before the old one went",
                Box::new(|| {
                    copy(&after, &work);
                    copy(&before.join(database(from)), &place(from));
                }),
            ),
        ];
        for (name, cut) in cuts {
            cut();
            assert!(reopened(&work) == expected, "{from} to {to}, cut {name}");
            cut();
            migrate(&work, to).unwrap();
            let store = EmbeddedStore::open(&work, Some(to)).unwrap();
            assert!(contents(&store) == expected, "{from} to {to}, cut {name}");
            drop(store);
            for gone in ["building", database(from)] {
                assert!(!work.join(gone).exists(), "{gone} is left, cut {name}");
            }
        }
    }
}

#[test]
fn a_damaged_store_is_not_migrated_and_left_as_it_was() {
    for (from, to) in BOTH_WAYS {
        let data = tempfile::tempdir().unwrap();
        let meta = data.path().join("meta");
        grown(&meta, from);
        fs::write(meta.join("anchor"), [1; 8192]).unwrap();
        let before = snapshot(&meta);
        let error = migrate(&meta, to).unwrap_err();
        assert_eq!(error.code(), "TRB-0501");
        assert!(snapshot(&meta) == before);
    }
}

#[test]
fn a_repair_of_a_sound_store_does_nothing() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let meta = data.path().join("meta");
        grown(&meta, engine);
        let before = snapshot(data.path());
        let done = repair(&meta).unwrap();
        assert_eq!((done.kept, done.lost.len()), (None, 0));
        assert!(snapshot(data.path()) == before);
    }
}

#[test]
fn a_repair_after_a_roll_back_keeps_a_copy_says_what_is_missing_and_never_reuses_its_numbers() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let (meta, older) = (data.path().join("meta"), data.path().join("older"));
        let expected = grown(&meta, engine);
        copy(&meta, &older);
        let store = EmbeddedStore::open(&meta, None).unwrap();
        for number in 0..3 {
            commit(&store, Table::Ledger, &format!("charge{number}"), vec![1]);
        }
        drop(store);
        copy(&older.join(database(engine)), &meta.join(database(engine)));
        let damaged = snapshot(&meta);
        let found = report(&meta);
        let missing = "commits 81 to 83 were acknowledged and are gone";
        assert!(found.problems[0].contains(missing), "{:?}", found.problems);

        let done = repair(&meta).unwrap();
        assert!(done.lost[0].contains(missing), "{:?}", done.lost);
        let kept = done.kept.unwrap();
        assert_eq!(kept, data.path().join("meta.before-repair-1"));
        let moved = |path: &str| path.replace("meta.before-repair-1", "meta");
        let kept: BTreeMap<_, _> = snapshot(&kept)
            .into_iter()
            .map(|(path, bytes)| (moved(&path), bytes))
            .collect();
        assert!(kept == damaged, "the copy differs");

        let store = EmbeddedStore::open(&meta, None).unwrap();
        let note = store.get(Table::Meta, REPAIR_KEY).unwrap().unwrap();
        assert_eq!(note.json::<RepairNote>().unwrap().lost, done.lost);
        let mut left = contents(&store);
        left.remove(&(Table::Meta, REPAIR_KEY.to_vec()));
        assert!(left == expected);
        assert!(commit(&store, Table::Runs, "next", vec![1]) > 83);
        drop(store);
        assert_eq!(report(&meta).problems, [""; 0]);
    }
}

#[test]
fn a_repair_saves_the_whole_records_of_a_database_with_changed_bytes_and_names_the_others() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let meta = data.path().join("meta");
        let expected = grown(&meta, engine);
        let file = match engine {
            EngineKind::Sled => meta.join("db/db"),
            EngineKind::Redb => meta.join("redb/store.redb"),
        };
        // in the middle of the last value that was put; its record starts with this key
        let mut bytes = fs::read(&file).unwrap();
        let long = [79_u8; 64];
        let at = bytes
            .windows(64)
            .rposition(|window| window == long)
            .unwrap();
        bytes[at + 20] ^= 4;
        fs::write(&file, bytes).unwrap();
        let refused = EmbeddedStore::open(&meta, None).map(drop);
        assert_eq!(refused.unwrap_err().code(), "TRB-0501");
        assert!(!report(&meta).problems.is_empty());

        let done = repair(&meta).unwrap();
        assert!(!done.lost.is_empty());
        let mut left = reopened(&meta);
        left.remove(&(Table::Meta, REPAIR_KEY.to_vec()));
        for (place, record) in &left {
            // an older version of a record may be all that is left of it
            if let Some((version, value)) = expected.get(place)
                && *version == record.0
            {
                assert!(value == &record.1, "{engine}: {place:?} is another value");
            }
        }
        assert!(
            left.len() >= 30,
            "{engine}: only {} records left",
            left.len()
        );
        assert_eq!(report(&meta).problems, [""; 0]);
    }
}

#[test]
fn a_repair_after_the_format_or_the_anchor_went_missing_finds_the_database_by_itself() {
    for engine in EngineKind::ALL {
        for gone in ["FORMAT", "anchor"] {
            let data = tempfile::tempdir().unwrap();
            let meta = data.path().join("meta");
            let expected = grown(&meta, engine);
            fs::remove_file(meta.join(gone)).unwrap();
            let done = repair(&meta).unwrap();
            assert_eq!(done.engine, engine);
            // without its anchor nothing proves that the newest commits are there
            assert_eq!(done.lost.is_empty(), gone == "FORMAT", "{:?}", done.lost);
            let mut left = reopened(&meta);
            left.remove(&(Table::Meta, REPAIR_KEY.to_vec()));
            assert!(left == expected, "{engine} without {gone}");
        }
    }
}

#[test]
fn sled_without_a_readable_snapshot_is_repaired_from_its_log_without_a_loss() {
    let data = tempfile::tempdir().unwrap();
    let meta = data.path().join("meta");
    let expected = grown(&meta, EngineKind::Sled);
    // the snapshot is written by a start
    assert!(reopened(&meta) == expected);
    let snapshots = fs::read_dir(meta.join("db")).unwrap().map(Result::unwrap);
    let snapshot = snapshots
        .map(|entry| entry.path())
        .find(|path| path.display().to_string().contains("snap."))
        .unwrap();
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[10] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    let refused = EmbeddedStore::open(&meta, None).map(drop);
    assert_eq!(refused.unwrap_err().code(), "TRB-0501");
    let done = repair(&meta).unwrap();
    assert_eq!(done.lost, [""; 0]);
    assert!(reopened(&meta) == expected);
}
