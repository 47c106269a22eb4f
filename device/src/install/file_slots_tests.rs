//! Crashes at every step of an installation.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Does `left` steps, then "loses power": the next write leaves half of its bytes, and nothing
/// works afterwards.
struct DyingDisk {
    left: AtomicUsize,
}

impl DyingDisk {
    fn step(&self) -> bool {
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }
}

fn power_loss() -> std::io::Error {
    std::io::Error::other("power lost")
}

impl Disk for DyingDisk {
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        if self.step() {
            return RealDisk.write_synced(path, bytes);
        }
        fs::write(path, &bytes[..bytes.len() / 2])?;
        Err(power_loss())
    }

    fn rename_synced(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        if self.step() {
            RealDisk.rename_synced(from, to)
        } else {
            Err(power_loss())
        }
    }
}

fn build(text: &str) -> StoredBuild {
    let bytes = Bytes::from(format!("build {text}"));
    let note = BuildNote {
        digest: Digest::of(&bytes),
        model_digest: format!("model {text}"),
        format: "test".to_owned(),
    };
    StoredBuild { note, bytes }
}

#[test]
fn an_installed_build_is_active_and_the_one_before_can_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let slots = FileSlots::open(folder.path()).unwrap();
    assert_eq!(slots.active().unwrap(), None);
    assert!(matches!(slots.revert(), Err(SlotError::NothingToRevert)));
    slots.install(&build("1")).unwrap();
    slots.install(&build("2")).unwrap();
    assert_eq!(slots.active().unwrap(), Some(build("2")));
    assert_eq!(slots.revert().unwrap(), build("1"));
    assert_eq!(
        FileSlots::open(folder.path()).unwrap().active().unwrap(),
        Some(build("1"))
    );
    assert_eq!(slots.revert().unwrap(), build("2"));
}

#[test]
fn a_crash_at_any_step_leaves_a_working_build() {
    let mut switched = 0;
    for steps in 0..=4 {
        let folder = tempfile::tempdir().unwrap();
        let slots = FileSlots::open(folder.path()).unwrap();
        slots.install(&build("1")).unwrap();
        slots.install(&build("2")).unwrap();
        let disk = Box::new(DyingDisk {
            left: AtomicUsize::new(steps),
        });
        let dying = FileSlots::on(folder.path().to_owned(), disk).unwrap();
        let installed = dying.install(&build("3"));
        assert_eq!(installed.is_ok(), steps == 4, "{installed:?}");
        let active = FileSlots::open(folder.path())
            .unwrap()
            .active()
            .unwrap()
            .unwrap();
        let expected = if steps == 4 { build("3") } else { build("2") };
        assert_eq!(active, expected, "after {steps} steps");
        switched += usize::from(steps == 4);
        // and the next installation works as if nothing had happened
        slots.install(&build("4")).unwrap();
        assert_eq!(slots.active().unwrap(), Some(build("4")));
        assert_eq!(slots.revert().unwrap(), expected);
    }
    assert_eq!(switched, 1);
}

#[test]
fn a_slot_with_flipped_bits_is_passed_over_and_not_overwritten_last() {
    let folder = tempfile::tempdir().unwrap();
    let slots = FileSlots::open(folder.path()).unwrap();
    slots.install(&build("1")).unwrap();
    slots.install(&build("2")).unwrap();
    fs::write(folder.path().join("slot-b"), b"build X").unwrap();
    assert_eq!(slots.active().unwrap(), Some(build("1")));
    // a failed installation must not touch the only working build
    let disk = Box::new(DyingDisk {
        left: AtomicUsize::new(2),
    });
    let dying = FileSlots::on(folder.path().to_owned(), disk).unwrap();
    assert!(dying.install(&build("3")).is_err());
    assert_eq!(slots.active().unwrap(), Some(build("1")));
    slots.install(&build("3")).unwrap();
    assert_eq!(slots.active().unwrap(), Some(build("3")));
    assert_eq!(slots.revert().unwrap(), build("1"));
}

#[test]
fn a_torn_pointer_is_a_typed_error_and_an_installation_repairs_it() {
    let folder = tempfile::tempdir().unwrap();
    let slots = FileSlots::open(folder.path()).unwrap();
    slots.install(&build("1")).unwrap();
    fs::write(folder.path().join(POINTER), b"{\"slot\":").unwrap();
    assert!(matches!(slots.active(), Err(SlotError::Damaged { .. })));
    slots.install(&build("2")).unwrap();
    assert_eq!(slots.active().unwrap(), Some(build("2")));
}
