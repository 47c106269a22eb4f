//! The data folder of the embedded store: what is kept, what is refused, and what a kill takes.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{TinyDisk, block_on};
use tributary_coordinator::store::{
    Batch, Expect, SCHEMA_VERSION, SledStore, Store, StoreError, Table,
};

fn put(key: &str, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    batch.put(Table::Meta, key, value, Expect::Any);
    batch
}

/// Every file and folder below `folder`, with the contents of the files.
fn snapshot(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let content = (!path.is_dir()).then(|| fs::read(&path).unwrap());
        if path.is_dir() {
            all.extend(snapshot(&path));
        }
        all.insert(path.display().to_string(), content);
    }
    all
}

#[test]
fn data_and_versions_survive_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let first = block_on(store.commit(put("a", "1"))).unwrap();
    let written = store.get(Table::Meta, b"a").unwrap();
    drop(store);
    let store = SledStore::open(folder.path()).unwrap();
    assert_eq!(store.get(Table::Meta, b"a").unwrap(), written);
    assert!(block_on(store.commit(put("b", "2"))).unwrap().version > first.version);
}

#[test]
fn a_store_dropped_with_commits_in_flight_answers_each_and_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let commits: Vec<_> = (0..50)
        .map(|number| runtime.spawn(store.commit(put(&format!("k{number}"), "x"))))
        .collect();
    drop(store);
    let answers: Vec<_> = commits
        .into_iter()
        .map(|commit| runtime.block_on(commit))
        .collect();
    let store = SledStore::open(folder.path()).unwrap();
    for (number, answer) in answers.into_iter().enumerate() {
        let stored = store
            .get(Table::Meta, format!("k{number}").as_bytes())
            .unwrap();
        match answer.unwrap() {
            Ok(_) => assert!(stored.is_some(), "commit {number} was acknowledged"),
            Err(error) => assert_eq!(error, StoreError::Closed),
        }
    }
}

#[test]
fn a_folder_in_use_is_refused_and_free_again_when_the_store_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let error = SledStore::open(folder.path()).unwrap_err();
    assert_eq!(
        error,
        StoreError::Locked {
            folder: folder.path().to_owned()
        }
    );
    assert!(
        error
            .to_string()
            .contains(&folder.path().display().to_string())
    );
    drop(store);
    SledStore::open(folder.path()).unwrap();
}

#[test]
fn a_foreign_folder_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "do not touch").unwrap();
    let before = snapshot(folder.path());
    let error = SledStore::open(folder.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { found, .. } if found == "thesis.tex"));
    assert!(
        error
            .to_string()
            .contains("choose an empty or a new folder")
    );
    assert_eq!(snapshot(folder.path()), before);

    let file = folder.path().join("thesis.tex");
    assert!(
        matches!(SledStore::open(&file), Err(StoreError::Foreign { .. })),
        "nor is a file"
    );
}

#[test]
fn a_folder_of_another_version_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    drop(SledStore::open(folder.path()).unwrap());
    fs::write(folder.path().join("FORMAT"), "tributary-store 7\n").unwrap();
    let before = snapshot(folder.path());
    let error = SledStore::open(folder.path()).unwrap_err();
    let (path, supported) = (folder.path().to_owned(), SCHEMA_VERSION);
    assert_eq!(
        error,
        StoreError::OtherVersion {
            folder: path,
            found: 7,
            supported
        }
    );
    assert!(error.to_string().contains("format 7"));
    assert_eq!(snapshot(folder.path()), before);

    for nonsense in [
        "",
        "tributary-store x",
        "something else",
        &"tributary-store 1".repeat(9),
    ] {
        fs::write(folder.path().join("FORMAT"), nonsense).unwrap();
        let refused = SledStore::open(folder.path());
        assert!(
            matches!(refused, Err(StoreError::Foreign { .. })),
            "{nonsense:?}"
        );
    }
}

#[test]
fn a_damaged_folder_is_refused_instead_of_opened_empty() {
    let fresh = || {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path()).unwrap();
        for number in 0..50 {
            block_on(store.commit(put(&format!("k{number}"), vec![number; 500]))).unwrap();
        }
        drop(store);
        folder
    };
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("database removed", |db| fs::remove_dir_all(db).unwrap()),
        ("log emptied", |db| fs::write(db.join("db"), b"").unwrap()),
        ("configuration overwritten", |db| {
            fs::write(db.join("conf"), [7; 64]).unwrap()
        }),
        ("log overwritten", |db| {
            let length = fs::metadata(db.join("db")).unwrap().len();
            fs::write(db.join("db"), vec![0x5A; usize::try_from(length).unwrap()]).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let folder = fresh();
        damage(&folder.path().join("db"));
        let error = SledStore::open(folder.path()).unwrap_err();
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{name}: {error:?}"
        );
        assert!(
            error
                .to_string()
                .contains(&folder.path().display().to_string()),
            "{name}"
        );
    }
}

#[test]
fn a_full_disk_is_a_typed_error_and_every_later_call_is_answered() {
    let Some(disk) = TinyDisk::mount(8) else {
        return;
    };
    let folder = disk.path().join("store");
    let store = SledStore::open(&folder).unwrap();
    let mut acknowledged = Vec::new();
    // 64 MiB on a disk of 8
    let error = (0..1024_u64)
        .find_map(|number| {
            let key = format!("k{number:04}");
            let noise: Vec<u8> = (0..60_000).map(|at| (at * number % 251) as u8).collect();
            match block_on(store.commit(put(&key, noise))) {
                Ok(_) => acknowledged.push(key),
                Err(error) => return Some(error),
            }
            None
        })
        .expect("the disk fills up");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    for number in 0..20 {
        let answer = block_on(store.commit(put(&format!("later{number}"), "x")));
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "{answer:?}"
        );
    }
    assert!(matches!(
        store.get(Table::Meta, b"k0000"),
        Err(StoreError::Unavailable { .. })
    ));
    drop(store);

    // what was acknowledged is there once the folder has room
    let roomy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&folder)
        .arg(roomy.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let store = SledStore::open(roomy.path().join("store")).unwrap();
    assert!(!acknowledged.is_empty());
    for key in acknowledged {
        assert!(
            store.get(Table::Meta, key.as_bytes()).unwrap().is_some(),
            "{key} is lost"
        );
    }
}

/// Names the folder of the child process that is going to be killed.
const CHILD: &str = "TRIBUTARY_TEST_KILLED_STORE";
const TABLES_OF_A_BATCH: [Table; 4] = [
    Table::Segments,
    Table::Ledger,
    Table::DeviceAccounts,
    Table::Runs,
];

/// Commits from four threads for ever and prints each key once its commit is acknowledged.
fn commit_until_killed(folder: &str) {
    let store: &dyn Store = &SledStore::open(folder).unwrap();
    let start = store.records(Table::Runs, b"").count() as u64;
    std::thread::scope(|threads| {
        for thread in 0..4_u64 {
            threads.spawn(move || {
                for step in 0.. {
                    let key = format!("{start:08}-{thread}-{step:08}");
                    let mut batch = Batch::new();
                    for table in TABLES_OF_A_BATCH {
                        let value = key.repeat(1 + step % 90);
                        batch.put(table, key.as_str(), value, Expect::Absent);
                    }
                    block_on(store.commit(batch)).unwrap();
                    // one write, so that the lines of two threads don't mix
                    std::io::stdout()
                        .write_all(format!("ack {key}\n").as_bytes())
                        .unwrap();
                }
            });
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged_and_tears_no_batch() {
    if let Ok(folder) = std::env::var(CHILD) {
        commit_until_killed(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("a_killed_process_loses_nothing_it_acknowledged_and_tears_no_batch")
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // killed after a number of acknowledgements, not a time, so that each run has some
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while let Some(Ok(line)) = lines.next() {
            let Some((_, key)) = line.split_once("ack ") else {
                continue;
            };
            acknowledged.push(key.to_owned());
            seen += 1;
            if seen == 40 + 37 * kill {
                child.kill().unwrap(); // SIGKILL; what is still in the pipe is read to its end
            }
        }
        child.wait().unwrap();
        assert!(
            seen >= 40 + 37 * kill,
            "the child ended by itself after {seen} commits"
        );
        verify(folder.path(), &acknowledged);
    }
}

/// Opens the folder and checks that every acknowledged batch is there, and every batch is whole.
fn verify(folder: &Path, acknowledged: &[String]) {
    let store: &dyn Store = &SledStore::open(folder).unwrap();
    for key in acknowledged {
        assert!(
            store.get(Table::Runs, key.as_bytes()).unwrap().is_some(),
            "{key} is lost"
        );
    }
    let rows = |table| -> Vec<_> { store.records(table, b"").map(Result::unwrap).collect() };
    let first = rows(TABLES_OF_A_BATCH[0]);
    assert!(first.len() >= acknowledged.len());
    for table in TABLES_OF_A_BATCH {
        assert!(rows(table) == first, "a batch is torn: {table} differs");
    }
}
