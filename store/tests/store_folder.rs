//! The data folder of the embedded store: what is kept, what is refused, and what a kill takes.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{block_on, on_a_tiny_disk, snapshot};
use tributary_store::{
    Batch, EmbeddedStore, EngineKind, Expect, SCHEMA_VERSION, Store, StoreError, Table,
};

fn open(folder: &Path, engine: EngineKind) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(folder, Some(engine))
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    batch.put(Table::Meta, key, value, Expect::Any);
    batch
}

#[test]
fn data_and_versions_survive_a_reopen() {
    for engine in EngineKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        let first = block_on(store.commit(put("a", "1"))).unwrap();
        let written = store.get(Table::Meta, b"a").unwrap();
        drop(store);
        let store = EmbeddedStore::open(folder.path(), None).unwrap();
        assert_eq!(store.engine(), engine);
        assert_eq!(store.get(Table::Meta, b"a").unwrap(), written);
        assert!(block_on(store.commit(put("b", "2"))).unwrap().version > first.version);
    }
}

#[test]
fn the_other_engines_folder_is_refused_with_the_command_that_moves_it() {
    for (engine, other) in [
        (EngineKind::Sled, EngineKind::Redb),
        (EngineKind::Redb, EngineKind::Sled),
    ] {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("meta");
        drop(open(&folder, engine).unwrap());
        let before = snapshot(&folder);
        let error = open(&folder, other).unwrap_err();
        assert_eq!(error.code(), "TRB-0502");
        let command = format!(
            "tributary store migrate --data {} --to {other}",
            data.path().display()
        );
        assert!(error.to_string().contains(&command), "{error}");
        assert_eq!(snapshot(&folder), before);
    }
}

#[test]
fn a_store_dropped_with_commits_in_flight_answers_each_and_keeps_what_it_acknowledged() {
    for engine in EngineKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
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
        let store = open(folder.path(), engine).unwrap();
        for (number, answer) in answers.into_iter().enumerate() {
            let key = format!("k{number}");
            let stored = store.get(Table::Meta, key.as_bytes()).unwrap();
            match answer.unwrap() {
                Ok(_) => assert!(stored.is_some(), "commit {number} was acknowledged"),
                Err(error) => assert_eq!(error, StoreError::Closed),
            }
        }
    }
}

#[test]
fn a_folder_in_use_is_refused_and_free_again_when_the_store_is_dropped() {
    for engine in EngineKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine).unwrap();
        let error = open(folder.path(), engine).unwrap_err();
        let locked = StoreError::Locked {
            folder: folder.path().to_owned(),
        };
        assert_eq!(error, locked);
        let name = folder.path().display().to_string();
        assert!(error.to_string().contains(&name));
        drop(store);
        open(folder.path(), engine).unwrap();
    }
}

#[test]
fn a_foreign_folder_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "do not touch").unwrap();
    let before = snapshot(folder.path());
    let error = EmbeddedStore::open(folder.path(), None).unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { found, .. } if found == "thesis.tex"));
    assert!(
        error
            .to_string()
            .contains("choose an empty or a new folder")
    );
    assert_eq!(snapshot(folder.path()), before);

    let file = folder.path().join("thesis.tex");
    let refused = EmbeddedStore::open(&file, None);
    assert!(
        matches!(refused, Err(StoreError::Foreign { .. })),
        "nor is a file"
    );
}

#[test]
fn a_folder_of_another_version_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(folder.path(), None).unwrap());
    fs::write(folder.path().join("FORMAT"), "tributary-store 7\n").unwrap();
    let before = snapshot(folder.path());
    let error = EmbeddedStore::open(folder.path(), None).unwrap_err();
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
        "tributary-store 2\nengine sled\nstate ready\ncheck 0\n",
        &"tributary-store 1".repeat(40),
    ] {
        fs::write(folder.path().join("FORMAT"), nonsense).unwrap();
        let refused = EmbeddedStore::open(folder.path(), None);
        // beside a database it is damage, which a repair mends
        assert!(
            matches!(refused, Err(StoreError::Corrupt { .. })),
            "{nonsense:?}"
        );
    }
}

/// Every file below `folder` with its permissions.
fn modes(folder: &Path, all: &mut Vec<(String, bool, u32)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        all.push((path.display().to_string(), metadata.is_dir(), mode));
        if metadata.is_dir() {
            modes(&path, all);
        }
    }
}

#[test]
fn folders_and_files_belong_to_their_owner_alone_whatever_they_were() {
    for engine in EngineKind::ALL {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("meta");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let store = open(&folder, engine).unwrap();
        for number in 0..8 {
            // so long that sled spills them to files of their own
            block_on(store.commit(put(&format!("k{number}"), vec![number; 60_000]))).unwrap();
        }
        let check = || {
            let mut all = Vec::new();
            modes(data.path(), &mut all);
            for (path, is_folder, mode) in all {
                let expected = if is_folder { 0o700 } else { 0o600 };
                assert_eq!(mode, expected, "{path} has mode {mode:o}");
            }
        };
        check();
        drop(store);
        for file in ["FORMAT", "anchor", "LOCK"] {
            let file = folder.join(file);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let _store = open(&folder, engine).unwrap();
        check();
    }
}

/// One test for each engine.
macro_rules! on_a_full_disk {
    ($($name:ident: $engine:ident;)*) => {$(
        #[test]
        fn $name() {
            on_a_tiny_disk(stringify!($name), 12, |disk| fill_and_free(disk, EngineKind::$engine));
        }
    )*};
}

on_a_full_disk! {
    a_full_disk_changes_nothing_and_commits_go_on_once_there_is_room_on_sled: Sled;
    a_full_disk_changes_nothing_and_commits_go_on_once_there_is_room_on_redb: Redb;
}

fn fill_and_free(disk: &Path, engine: EngineKind) {
    let folder = disk.join("store");
    let store = open(&folder, engine).unwrap();
    // something that can be removed to make room
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let mut acknowledged = Vec::new();
    let fill = |acknowledged: &mut Vec<String>| {
        (0..2_000_u64).find_map(|number| {
            let key = format!("k{:05}", acknowledged.len());
            let noise: Vec<u8> = (0..20_000).map(|at| (at * number % 251) as u8).collect();
            match block_on(store.commit(put(&key, noise))) {
                Ok(_) => acknowledged.push(key),
                Err(error) => return Some(error),
            }
            None
        })
    };
    let error = fill(&mut acknowledged).expect("the disk fills up");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(error.code(), "TRB-0503");
    assert!(!acknowledged.is_empty());
    for number in 0..5 {
        let answer = block_on(store.commit(put(&format!("later{number}"), vec![7; 60_000])));
        assert!(matches!(answer, Err(StoreError::Full { .. })), "{answer:?}");
    }
    assert!(store.get(Table::Meta, b"k00000").unwrap().is_some());

    fs::remove_file(&ballast).unwrap();
    block_on(store.commit(put("room", "again"))).unwrap();
    let error = fill(&mut acknowledged).expect("the disk fills up again");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    drop(store);

    // what was acknowledged is there in a folder with room
    let roomy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&folder)
        .arg(roomy.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let store = open(&roomy.path().join("store"), engine).unwrap();
    acknowledged.push("room".to_owned());
    for key in acknowledged {
        let stored = store.get(Table::Meta, key.as_bytes()).unwrap();
        assert!(stored.is_some(), "{engine}: {key} is lost");
    }
    assert_eq!(store.get(Table::Meta, b"later0").unwrap(), None);
}

/// Names the folder and the engine of the child process that is going to be killed.
const CHILD: &str = "TRIBUTARY_TEST_KILLED_STORE";
const CHILD_ENGINE: &str = "TRIBUTARY_TEST_KILLED_ENGINE";
const TABLES_OF_A_BATCH: [Table; 4] = [
    Table::Segments,
    Table::Ledger,
    Table::DeviceAccounts,
    Table::Runs,
];

/// Commits from four threads for ever and prints each key once its commit is acknowledged.
fn commit_until_killed(folder: &str) {
    let engine = std::env::var(CHILD_ENGINE).unwrap().parse().unwrap();
    let store: &dyn Store = &open(Path::new(folder), engine).unwrap();
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
    for engine in EngineKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged = Vec::new();
        for kill in 0..4 {
            kill_after(40 + 37 * kill, folder.path(), engine, &mut acknowledged);
            verify(folder.path(), engine, &acknowledged);
        }
    }
}

/// Kills a child after a number of acknowledgements, not a time, so that each run has some.
fn kill_after(count: usize, folder: &Path, engine: EngineKind, acknowledged: &mut Vec<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("a_killed_process_loses_nothing_it_acknowledged_and_tears_no_batch")
        .env(CHILD, folder)
        .env(CHILD_ENGINE, engine.name())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while let Some(Ok(line)) = lines.next() {
        let Some((_, key)) = line.split_once("ack ") else {
            continue;
        };
        acknowledged.push(key.to_owned());
        seen += 1;
        if seen == count {
            child.kill().unwrap(); // SIGKILL; what is still in the pipe is read to its end
        }
    }
    child.wait().unwrap();
    assert!(
        seen >= count,
        "{engine}: the child ended by itself after {seen} commits"
    );
}

/// Opens the folder and checks that every acknowledged batch is there, and every batch is whole.
fn verify(folder: &Path, engine: EngineKind, acknowledged: &[String]) {
    let store: &dyn Store = &open(folder, engine).unwrap();
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
