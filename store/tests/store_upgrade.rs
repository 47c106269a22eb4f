//! Folders of format 1, which knew neither checksums nor an anchor, are brought up to date.

#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod support;

use std::fs;
use std::path::Path;

use support::{Contents, commit, contents, copy, reopened, report, snapshot};
use tributary_store::{EmbeddedStore, EngineKind, Table};

/// A folder as format 1 wrote it: sled, records without checksums, no anchor.
fn first_format(folder: &Path) -> Contents {
    fs::create_dir_all(folder).unwrap();
    let database = sled::open(folder.join("db")).unwrap();
    let mut expected = Contents::new();
    let mut counts = [0_u64; 12];
    for number in 0..300_u64 {
        let index = number as usize % 12;
        let table = Table::ALL[index];
        let key = format!("key-{number}").into_bytes();
        let value = vec![number as u8; number as usize * 7 % 900];
        let version = number + 1;
        let record = [&[1][..], &version.to_be_bytes(), &value].concat();
        let tree = database.open_tree(table.name()).unwrap();
        tree.insert(&key, record).unwrap();
        counts[index] += 1;
        expected.insert((table, key), (version, value));
    }
    let mut header = 1_u32.to_be_bytes().to_vec();
    header.extend(300_u64.to_be_bytes());
    counts
        .iter()
        .for_each(|count| header.extend(count.to_be_bytes()));
    let tree = database.open_tree("header").unwrap();
    tree.insert("header", header).unwrap();
    database.flush().unwrap();
    drop(tree);
    drop(database);
    fs::write(folder.join("LOCK"), b"").unwrap();
    fs::write(folder.join("FORMAT"), "tributary-store 1\n").unwrap();
    expected
}

#[test]
fn a_folder_of_format_1_is_upgraded_with_every_record_on_either_engine() {
    for engine in [None, Some(EngineKind::Sled), Some(EngineKind::Redb)] {
        let data = tempfile::tempdir().unwrap();
        let meta = data.path().join("meta");
        let expected = first_format(&meta);
        let store = EmbeddedStore::open(&meta, engine).unwrap();
        assert!(contents(&store) == expected, "{engine:?}");
        assert_eq!(commit(&store, Table::Runs, "next", vec![1]), 301);
        drop(store);
        assert!(!meta.join("db.format-1").exists());
        assert_eq!(reopened(&meta).len(), 301);
        assert_eq!(report(&meta).problems, [""; 0]);
    }
}

#[test]
fn an_upgrade_that_was_cut_short_starts_again_from_the_old_files() {
    let data = tempfile::tempdir().unwrap();
    let (old, new) = (data.path().join("old"), data.path().join("new"));
    let expected = first_format(&old);
    copy(&old, &new);
    drop(EmbeddedStore::open(&new, None).unwrap());
    let work = data.path().join("work");
    for engine in EngineKind::ALL {
        for with_new_files in [false, true] {
            // the old files moved away, the new ones perhaps in their place, `FORMAT` still 1
            copy(&old, &work);
            fs::rename(work.join("db"), work.join("db.format-1")).unwrap();
            if with_new_files {
                copy(&new.join("db"), &work.join("db"));
                copy(&new.join("anchor"), &work.join("anchor"));
            }
            let store = EmbeddedStore::open(&work, Some(engine)).unwrap();
            assert!(contents(&store) == expected, "{engine}, {with_new_files}");
        }
    }
}

#[test]
fn a_damaged_folder_of_format_1_is_refused_and_left_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let meta = data.path().join("meta");
    first_format(&meta);
    // a record that the header counts is missing
    // sled lets go of a folder some time after its handles are gone
    let opened = (0..500).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        sled::open(meta.join("db")).ok()
    });
    let database = opened.unwrap();
    let tree = database.open_tree("ledger").unwrap();
    let first = tree.first().unwrap().unwrap().0;
    tree.remove(first).unwrap();
    database.flush().unwrap();
    drop(tree);
    drop(database);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let before = snapshot(&meta);
    let error = EmbeddedStore::open(&meta, None).map(drop).unwrap_err();
    assert!(
        error.to_string().contains("table ledger has 24 of 25"),
        "{error}"
    );
    assert!(snapshot(&meta) == before);
}
