use proptest::prelude::*;

use super::*;
use crate::state::participation::{Limits, ParticipationRequest};

fn known(count: u32, round: u32) -> Participations {
    Participations {
        count,
        round,
        attempt: 2,
        at_ms: 1_700_000_000_123,
    }
}

#[test]
fn participations_survive_a_restart_each_run_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let record = FileRecord::open(folder.path().join("record")).unwrap();
    assert_eq!(record.load("run").unwrap(), Participations::default());
    record.store("run", &known(1, 3)).unwrap();
    record.store("other", &known(7, 9)).unwrap();
    record.store("run", &known(2, 8)).unwrap();
    drop(record);
    let record = FileRecord::open(folder.path().join("record")).unwrap();
    assert_eq!(record.load("run").unwrap(), known(2, 8));
    assert_eq!(record.load("other").unwrap(), known(7, 9));
    assert_eq!(record.load("third").unwrap(), Participations::default());
}

#[test]
fn limits_hold_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut taken = Vec::new();
    for round in 1..=20 {
        // the program starts anew for every round
        let record = FileRecord::open(folder.path()).unwrap();
        let turn = ParticipationRequest {
            round,
            attempt: 1,
            limits: Limits {
                max_participations: 3,
                min_separation: 4,
                min_interval_ms: 0,
            },
            noised: false,
            resent: false,
        };
        if let Ok(after) = record.load("run").unwrap().after(&turn, 0) {
            record.store("run", &after).unwrap();
            taken.push(round);
        }
    }
    assert_eq!(taken, [1, 5, 9]);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it_and_the_remedy_and_never_a_fresh_start() {
    let folder = tempfile::tempdir().unwrap();
    let record = FileRecord::open(folder.path()).unwrap();
    record.store("run", &known(5, 50)).unwrap();
    let path = record.path("run");
    let good = fs::read(&path).unwrap();
    let flipped = (0..good.len()).map(|position| {
        let mut bad = good.clone();
        bad[position] ^= 1;
        bad
    });
    let cut = (0..good.len()).map(|length| good[..length].to_vec());
    for bad in flipped.chain(cut).chain([[&good[..], &[0; 2000]].concat()]) {
        fs::write(&path, &bad).unwrap();
        let error = record.load("run").unwrap_err();
        assert!(matches!(error, RecordError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(
            text.contains("run run") && text.contains("delete it once"),
            "{text}"
        );
    }
    // a good file under another run's name
    fs::write(record.path("other"), &good).unwrap();
    let error = record.load("other").unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
}

#[test]
fn a_crash_before_the_rename_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let record = FileRecord::open(folder.path()).unwrap();
    record.store("run", &known(1, 3)).unwrap();
    fs::write(record.path("run").with_extension("tmp"), b"half a fi").unwrap();
    assert_eq!(record.load("run").unwrap(), known(1, 3));
    record.store("run", &known(2, 6)).unwrap();
    assert_eq!(record.load("run").unwrap(), known(2, 6));
}

#[test]
fn a_folder_that_can_not_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let record = FileRecord::open(folder.path().join("record")).unwrap();
    fs::remove_dir(folder.path().join("record")).unwrap();
    let error = record.store("run", &known(1, 1)).unwrap_err();
    assert!(matches!(error, RecordError::Io { .. }), "{error}");
    let taken = folder.path().join("file");
    fs::write(&taken, b"").unwrap();
    assert!(FileRecord::open(taken).is_err());
}

#[test]
fn a_full_folder_takes_no_new_run_and_keeps_the_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let record = FileRecord::open(folder.path()).unwrap();
    record.store("old", &known(1, 1)).unwrap();
    for number in 1..MAX_RUNS_RECORDED {
        fs::write(folder.path().join(format!("{number}.{EXTENSION}")), b"").unwrap();
    }
    let error = record.store("new", &known(1, 1)).unwrap_err();
    assert!(matches!(error, RecordError::Full { .. }), "{error}");
    record.store("old", &known(2, 2)).unwrap();
    assert_eq!(record.load("old").unwrap(), known(2, 2));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_record() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let record = FileRecord::open(folder.path()).unwrap();
    record.store("run", &known(1, 1)).unwrap();
    let mode = fs::metadata(record.path("run"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        count in any::<u32>(),
        round in any::<u32>(),
        attempt in any::<u32>(),
        at_ms in any::<u64>(),
        run_id in "[a-zA-Z0-9._-]{1,64}",
    ) {
        let known = Participations { count, round, attempt, at_ms };
        prop_assert_eq!(decode(&encode(&known, &run_id), &run_id), Ok(known));
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut file = MAGIC.to_vec();
        file.extend(bytes);
        file = sealed(file);
        let _ = decode(&file, "run");
    }
}
