//! What the storage tests share: a way to wait for one future, looks at a store and at all files of a
//! folder, and a tiny disk that fills up.

#![allow(dead_code)] // each test file uses a part

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::process::Command;

use tributary_store::{Batch, EmbeddedStore, Expect, Store, StoreReport, Table, inspect};

/// Versions and values of all records, by table and key.
pub type Contents = BTreeMap<(Table, Vec<u8>), (u64, Vec<u8>)>;

/// All that a store holds.
pub fn contents(store: &dyn Store) -> Contents {
    let mut all = Contents::new();
    for table in Table::ALL {
        for row in store.records(table, b"") {
            let (key, record) = row.unwrap();
            all.insert((table, key), (record.version, record.value));
        }
    }
    all
}

/// All that a store in a folder holds once it is opened again.
pub fn reopened(folder: &Path) -> Contents {
    contents(&EmbeddedStore::open(folder, None).unwrap())
}

/// Commits one record, whatever was there; the number of the commit.
pub fn commit(store: &EmbeddedStore, table: Table, key: &str, value: Vec<u8>) -> u64 {
    let mut batch = Batch::new();
    batch.put(table, key, value, Expect::Any);
    block_on(store.commit(batch)).unwrap().version
}

/// Copies a folder over whatever is there.
pub fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// What a check of a store says.
pub fn report(folder: &Path) -> StoreReport {
    inspect(folder).unwrap().0
}

/// Waits for one future outside of any runtime.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Every file and folder below `folder`, with the contents of the files.
pub fn snapshot(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
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

/// Runs `body` in a folder on a disk of so many mebibytes of its own. `test` is the name of the calling
/// test: it is run once more, in a process that sees such a disk (`tests/preload/full_disk.c`). That
/// takes no rights, only the compiler that Rust links with, so it is never skipped.
pub fn on_a_tiny_disk(test: &str, mebibytes: u64, body: impl FnOnce(&Path)) {
    const ROOT: &str = "FULL_DISK_ROOT";
    if let Some(root) = std::env::var_os(ROOT) {
        return body(Path::new(&root));
    }
    let aside = tempfile::tempdir().unwrap();
    let aside = aside.path().canonicalize().unwrap();
    let at = |name: &str| aside.join(name);
    std::fs::create_dir(at("disk")).unwrap();
    std::fs::write(at("limit"), (mebibytes << 20).to_string()).unwrap();
    let source = include_str!("../../../tests/preload/full_disk.c");
    std::fs::write(at("full_disk.c"), source).unwrap();
    let included = include_str!("../../../tests/preload/below.h");
    std::fs::write(at("below.h"), included).unwrap();
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([at("full_disk.so"), at("full_disk.c")])
        .args(["-ldl", "-lpthread"])
        .status();
    assert!(built.unwrap().success(), "full_disk.c can't be compiled");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("LD_PRELOAD", at("full_disk.so"))
        .env(ROOT, at("disk"))
        .env("FULL_DISK_LIMIT", at("limit"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "on the tiny disk:\n{text}{errors}");
}
