//! Damage to the embedded store: one changed byte, a roll-back, a lost anchor, a kill while
//! starting. Each is refused with everything left as it was, or has no effect.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use support::{block_on, snapshot};
use tributary_store::{Batch, EmbeddedStore, EngineKind, Expect, Store, StoreError, Table};

type Contents = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(folder, None)
}

fn contents(store: &dyn Store) -> Contents {
    let mut all = Contents::new();
    for table in Table::ALL {
        for row in store.records(table, b"") {
            let (key, record) = row.unwrap();
            all.insert((table, key), record.value);
        }
    }
    all
}

fn commit(store: &EmbeddedStore, table: Table, key: &str, value: Vec<u8>) {
    let mut batch = Batch::new();
    batch.put(table, key, value, Expect::Any);
    block_on(store.commit(batch)).unwrap();
}

/// A store with some history: records put, changed and deleted, short and long.
fn grown(folder: &Path, engine: EngineKind) -> Contents {
    let store = EmbeddedStore::open(folder, Some(engine)).unwrap();
    for number in 0..120_usize {
        let table = Table::ALL[number % Table::ALL.len()];
        let length = 40 + number * 37 % 900;
        let key = format!("k{}", number % 70);
        commit(&store, table, &key, vec![number as u8; length]);
        if number % 11 == 0 {
            let mut batch = Batch::new();
            batch.delete(table, key.as_str(), Expect::Any);
            block_on(store.commit(batch)).unwrap();
        }
    }
    contents(&store)
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// The files of a store, longest path first, without those that hold no data.
fn data_files(folder: &Path) -> Vec<PathBuf> {
    let all = snapshot(folder).into_iter();
    all.filter(|(path, contents)| !path.ends_with("LOCK") && contents.is_some())
        .map(|(path, _)| PathBuf::from(path))
        .collect()
}

fn assert_refused_untouched(folder: &Path, before: &BTreeMap<String, Option<Vec<u8>>>, why: &str) {
    let after = snapshot(folder);
    let names = |all: &BTreeMap<String, Option<Vec<u8>>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(before), "{why}");
    assert!(after == *before, "{why}: a file was changed");
}

#[test]
fn one_changed_byte_anywhere_is_refused_untouched_or_has_no_effect() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let gold = data.path().join("gold");
        let expected = grown(&gold, engine);
        let files = data_files(&gold);
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let work = data.path().join("work");
        let (mut refused, mut harmless) = (0, 0);
        for flip in 0..60 {
            copy(&gold, &work);
            let file = &files[flip % files.len()];
            let file = work.join(file.strip_prefix(&gold).unwrap());
            let mut bytes = fs::read(&file).unwrap();
            let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
            if used.is_empty() {
                continue;
            }
            let at = used[random.next_u32() as usize % used.len()];
            bytes[at] ^= 1 << (random.next_u32() % 8);
            fs::write(&file, bytes).unwrap();
            let why = format!("{engine}: byte {at} of {}", file.display());
            let before = snapshot(&work);
            match open(&work) {
                Ok(store) => {
                    assert!(contents(&store) == expected, "{why} changed what is read");
                    harmless += 1;
                }
                Err(error) => {
                    assert_refused_untouched(&work, &before, &format!("{why}: {error}"));
                    refused += 1;
                }
            }
        }
        assert!(
            refused > 0,
            "{engine}: {refused} refused, {harmless} harmless"
        );
    }
}

#[test]
fn a_database_put_back_behind_its_anchor_is_refused_untouched_and_says_what_is_missing() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let (meta, older) = (data.path().join("meta"), data.path().join("older"));
        grown(&meta, engine);
        copy(&meta, &older);
        let store = open(&meta).unwrap();
        let mut last = 0;
        for number in 0..3 {
            let mut batch = Batch::new();
            batch.put(
                Table::Ledger,
                format!("charge{number}"),
                "spent",
                Expect::Absent,
            );
            last = block_on(store.commit(batch)).unwrap().version;
        }
        drop(store);
        let database = match engine {
            EngineKind::Sled => "db",
            EngineKind::Redb => "redb",
        };
        copy(&older.join(database), &meta.join(database));
        let before = snapshot(&meta);
        let error = open(&meta).unwrap_err();
        assert_eq!(error.code(), "TRB-0501");
        let text = error.to_string();
        let missing = format!(
            "commits {} to {last} were acknowledged and are gone",
            last - 2
        );
        for part in [
            missing.as_str(),
            "tributary store check --data",
            "tributary restore --data",
        ] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        assert_refused_untouched(&meta, &before, "rolled back");
    }
}

#[test]
fn an_anchor_that_is_gone_put_back_or_of_another_store_is_refused() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let (meta, other) = (data.path().join("meta"), data.path().join("other"));
        grown(&meta, engine);
        grown(&other, engine);
        let anchor = meta.join("anchor");
        let older = fs::read(&anchor).unwrap();
        let store = open(&meta).unwrap();
        for number in 0..3 {
            commit(&store, Table::Runs, &format!("new{number}"), vec![1]);
        }
        drop(store);
        let newest = fs::read(&anchor).unwrap();
        type Damage<'d> = Box<dyn Fn() + 'd>;
        let damages: [(&str, Damage<'_>); 5] = [
            ("missing", Box::new(|| fs::remove_file(&anchor).unwrap())),
            (
                "missing or empty",
                Box::new(|| fs::write(&anchor, b"").unwrap()),
            ),
            (
                "damaged",
                Box::new(|| fs::write(&anchor, [7; 8192]).unwrap()),
            ),
            (
                "was put back",
                Box::new(|| fs::write(&anchor, &older).unwrap()),
            ),
            (
                "another store",
                Box::new(|| {
                    fs::copy(other.join("anchor"), &anchor).unwrap();
                }),
            ),
        ];
        for (word, damage) in damages {
            damage();
            let before = snapshot(&meta);
            let error = open(&meta).unwrap_err();
            assert!(matches!(error, StoreError::Lost { .. }), "{error:?}");
            assert!(error.to_string().contains(word), "{word:?}: {error}");
            assert_refused_untouched(&meta, &before, word);
        }
        fs::write(&anchor, newest).unwrap();
        open(&meta).unwrap();
    }
}

#[test]
fn a_damaged_folder_is_refused_instead_of_opened_empty() {
    type Damage = fn(&Path);
    let overwrite = |file: &Path| {
        let length = fs::metadata(file).unwrap().len();
        fs::write(file, vec![0x5A; usize::try_from(length).unwrap()]).unwrap();
    };
    let sled: [(&str, Damage); 5] = [
        ("database removed", |at| {
            fs::remove_dir_all(at.join("db")).unwrap();
        }),
        ("log emptied", |at| {
            fs::write(at.join("db/db"), b"").unwrap()
        }),
        ("configuration overwritten", |at| {
            fs::write(at.join("db/conf"), [7; 64]).unwrap();
        }),
        ("format removed", |at| {
            fs::remove_file(at.join("FORMAT")).unwrap();
        }),
        ("all but the lock and the format removed", |at| {
            fs::remove_dir_all(at.join("db")).unwrap();
            fs::remove_file(at.join("anchor")).unwrap();
        }),
    ];
    let redb: [(&str, Damage); 3] = [
        ("database removed", |at| {
            fs::remove_dir_all(at.join("redb")).unwrap();
        }),
        ("file removed", |at| {
            fs::remove_file(at.join("redb/store.redb")).unwrap();
        }),
        ("file emptied", |at| {
            fs::write(at.join("redb/store.redb"), b"").unwrap();
        }),
    ];
    let cases = (sled.into_iter().map(|case| (EngineKind::Sled, case)))
        .chain(redb.into_iter().map(|case| (EngineKind::Redb, case)));
    for (engine, (name, damage)) in cases {
        let folder = tempfile::tempdir().unwrap();
        grown(folder.path(), engine);
        damage(folder.path());
        let error = open(folder.path()).unwrap_err();
        assert_eq!(error.code(), "TRB-0501", "{engine}, {name}: {error:?}");
        let text = error.to_string();
        let path = folder.path().display().to_string();
        assert!(text.contains(&path), "{engine}, {name}: {text}");
    }
    for (engine, file) in [
        (EngineKind::Sled, "db/db"),
        (EngineKind::Redb, "redb/store.redb"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        grown(folder.path(), engine);
        overwrite(&folder.path().join(file));
        let error = open(folder.path()).unwrap_err();
        assert_eq!(error.code(), "TRB-0501", "{engine}: {error:?}");
    }
}

#[test]
fn half_a_snapshot_that_a_kill_while_starting_left_is_removed_and_all_is_there() {
    let data = tempfile::tempdir().unwrap();
    let meta = data.path().join("meta");
    let expected = grown(&meta, EngineKind::Sled);
    for (name, bytes) in [
        ("snap.00000000000F0000.generating", &b""[..]),
        ("snap.7FFFFFFFFFFFFFFF.generating", &[1; 9]),
    ] {
        fs::write(meta.join("db").join(name), bytes).unwrap();
        let store = open(&meta).unwrap();
        assert!(contents(&store) == expected, "{name}");
        drop(store);
        assert!(!meta.join("db").join(name).exists());
    }
}

#[test]
fn a_store_whose_making_was_interrupted_is_made_again() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let meta = data.path().join("meta");
        drop(EmbeddedStore::open(&meta, Some(engine)).unwrap());
        let ready = fs::read_to_string(meta.join("FORMAT")).unwrap();
        assert!(ready.contains("state ready"));
        // as an interrupted one writes it, next to whatever it came to
        let unfinished = data.path().join("unfinished");
        fs::create_dir(&unfinished).unwrap();
        let lines = format!("tributary-store 2\nengine {engine}\nstate unfinished\n");
        let check = {
            use sha2::Digest as _;
            let mut hash = sha2::Sha256::new();
            hash.update(b"tributary-format");
            hash.update(lines.as_bytes());
            hex::encode(&hash.finalize()[..16])
        };
        fs::write(meta.join("FORMAT"), format!("{lines}check {check}\n")).unwrap();
        fs::remove_file(meta.join("anchor")).unwrap();
        let store = open_any(&meta, engine);
        commit(&store, Table::Meta, "k", vec![1]);
    }
}

fn open_any(folder: &Path, engine: EngineKind) -> EmbeddedStore {
    EmbeddedStore::open(folder, Some(engine)).unwrap()
}
