use proptest::prelude::*;

use super::*;
use crate::state::memory::VolatileMemory;

fn state(kept: Kept, values: &[f32]) -> RunState {
    let mut state = RunState::default();
    state.set(kept, values.to_vec());
    state
}

#[test]
fn kept_vectors_survive_a_restart_and_merge_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let memory = FileMemory::open(folder.path().join("memory")).unwrap();
    memory
        .merge("run", state(Kept::Momentum, &[1.0, -2.5]))
        .unwrap();
    memory.merge("run", state(Kept::Alpha, &[0.25])).unwrap();
    memory
        .merge("run", state(Kept::Momentum, &[3.0, 4.0]))
        .unwrap();
    memory
        .merge("other", state(Kept::Personal, &[7.0]))
        .unwrap();
    drop(memory);
    let memory = FileMemory::open(folder.path().join("memory")).unwrap();
    let kept = memory.load("run").unwrap();
    assert_eq!(kept.get(Kept::Momentum, 2), Some(&[3.0, 4.0][..]));
    assert_eq!(kept.get(Kept::Alpha, 1), Some(&[0.25][..]));
    assert_eq!(kept.get(Kept::Momentum, 3), None, "another model's vector");
    assert_eq!(kept.get(Kept::Personal, 1), None);
    assert!(memory.load("unknown").unwrap().is_empty());
}

#[test]
fn a_place_is_as_long_as_a_vector_and_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let memory = FileMemory::open(folder.path()).unwrap();
    let length = || fs::metadata(memory.path("run")).unwrap().len();
    let mut place = RunState::default();
    place.hold(Kept::Personal, 2);
    memory.merge("run", place.clone()).unwrap();
    let empty = length();
    assert_eq!(memory.load("run").unwrap(), place);
    assert_eq!(memory.load("run").unwrap().get(Kept::Personal, 2), None);
    // a vector fills it, and is not touched by the place again
    let vector = state(Kept::Personal, &[1.0, 2.0]);
    for changes in [vector.clone(), place] {
        memory.merge("run", changes).unwrap();
        assert_eq!(length(), empty);
        assert_eq!(memory.load("run").unwrap(), vector);
    }
    // unless it is of another model
    let mut longer = RunState::default();
    longer.hold(Kept::Personal, 3);
    memory.merge("run", longer.clone()).unwrap();
    assert_eq!(memory.load("run").unwrap(), longer);
}

#[test]
fn both_memories_keep_the_runs_that_changed_last() {
    let folder = tempfile::tempdir().unwrap();
    let memories: [Box<dyn DeviceMemory>; 2] = [
        Box::new(FileMemory::open(folder.path()).unwrap()),
        Box::new(VolatileMemory::default()),
    ];
    for memory in memories {
        for run in 0..RUNS_KEPT {
            memory
                .merge(&run.to_string(), state(Kept::Alpha, &[0.5]))
                .unwrap();
        }
        // the first is used again, so the second is the oldest now
        memory.merge("0", state(Kept::Momentum, &[1.0])).unwrap();
        memory.merge("new", state(Kept::Alpha, &[0.5])).unwrap();
        assert!(memory.load("1").unwrap().is_empty());
        for run in ["0", "2", "3", "new"] {
            assert!(!memory.load(run).unwrap().is_empty(), "{run}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), RUNS_KEPT);
}

#[test]
fn a_damaged_file_is_named_and_the_run_starts_afresh() {
    let folder = tempfile::tempdir().unwrap();
    let memory = FileMemory::open(folder.path()).unwrap();
    memory.merge("run", state(Kept::Momentum, &[1.0])).unwrap();
    let path = memory.path("run");
    let good = fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(&path, &bad).unwrap();
        let error = memory.load("run").unwrap_err();
        assert!(
            matches!(error, MemoryError::Damaged { .. }),
            "{position}: {error}"
        );
    }
    // a file under another run's name
    fs::write(memory.path("other"), &good).unwrap();
    assert!(
        memory
            .load("other")
            .unwrap_err()
            .to_string()
            .contains("another run")
    );
    memory.merge("run", state(Kept::Alpha, &[0.5])).unwrap();
    assert_eq!(memory.load("run").unwrap(), state(Kept::Alpha, &[0.5]));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let memory = FileMemory::open(folder.path()).unwrap();
    memory.merge("run", state(Kept::Personal, &[1.0])).unwrap();
    let mode = fs::metadata(memory.path("run"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        checked in any::<bool>(),
    ) {
        let mut file = MAGIC.to_vec();
        file.extend(bytes);
        if checked {
            file = sealed(file);
        }
        let _ = decode(&file, "run");
    }

    #[test]
    fn what_is_written_is_read_back(
        momentum in prop::collection::vec(-9.0f32..9.0, 0..50),
        alpha in 0.0f32..1.0,
        sequence in any::<u64>(),
    ) {
        let mut kept = state(Kept::Momentum, &momentum);
        kept.set(Kept::Alpha, vec![alpha]);
        kept.hold(Kept::Residual, momentum.len());
        prop_assert_eq!(decode(&encode(sequence, "run", &kept), "run"), Ok(kept));
    }
}
