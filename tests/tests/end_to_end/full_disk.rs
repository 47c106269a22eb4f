//! Invariant 10 for a disk without room: a small one is mounted, filled to the last page, enlarged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tonic::{Code, Status};
use tributary_model::{ModelFile, ModelSpec, initialise};
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;

use crate::harness::hand::enrolment;
use crate::harness::operator::assert_refusal;
use crate::harness::process::Process;
use crate::harness::{Operator, channel};

const LOOPBACK: &str = "127.0.0.1:0";
/// Room for the empty store and some 20 large models.
const SMALL: &str = "size=6m";
const LARGE: &str = "size=32m";
/// Hidden units of the imported models, large ones first: about 270 kB, 27 kB and 3 kB. The smaller
/// ones fill what the larger ones leave.
const HIDDEN: [usize; 3] = [1_000, 100, 10];
/// More models than fit.
const TOO_MANY: u8 = 200;

/// More devices than fit where no model does.
const TOO_MANY_DEVICES: u64 = 20_000;

/// A disk of its own in memory; unmounted when dropped, also by a panic.
struct Disk(TempDir);

impl Disk {
    /// Mounts one, or says why that can't be done here.
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        run_mount(&[SMALL], folder.path())?;
        Ok(Self(folder))
    }

    fn enlarge(&self) {
        run_mount(&["remount", LARGE], self.0.path()).unwrap();
    }

    /// Takes the last page.
    fn fill(&self) {
        let mut rest = File::create(self.0.path().join("rest")).unwrap();
        while rest.write_all(&[0; 4096]).is_ok() {}
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // lazily: after a panic a file may still be open
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.path().display());
        }
    }
}

fn run_mount(options: &[&str], folder: &Path) -> Result<(), String> {
    let options = options.join(",");
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
        .arg(folder);
    match mount.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A model file like no other.
fn model_file(hidden: usize, number: u8) -> Vec<u8> {
    let spec = serde_json::from_value::<ModelSpec>(serde_json::json!({
        "name": "imported",
        "input": [64],
        "layers": [
            {"kind": "dense", "units": hidden},
            {"kind": "relu"},
            {"kind": "dense", "units": 2},
            {"kind": "softmax"},
        ],
    }));
    let spec = spec.unwrap();
    let weights = initialise(&spec.graph().unwrap(), [number; 32]);
    ModelFile { spec, weights }.to_bytes().unwrap()
}

/// Imports models of one size until one is refused.
async fn import_until_full(
    operator: &Operator,
    hidden: usize,
    kept: &mut BTreeMap<String, Vec<u8>>,
) -> (Status, Vec<u8>) {
    for number in 0..TOO_MANY {
        let file = model_file(hidden, number);
        match operator.import(file.clone()).await {
            Ok(model) => assert_eq!(kept.insert(model.digest, file), None),
            Err(status) => return (status, file),
        }
    }
    panic!("{TOO_MANY} models of {hidden} units fit on a small disk");
}

/// Enrols devices, of which only the metadata store knows, until one is refused; gives their number.
async fn enrol_until_full(endpoint: &str) -> (Status, u64) {
    let mut client = EnrolmentServiceClient::new(channel(endpoint).await);
    for number in 0..TOO_MANY_DEVICES {
        let device = enrolment(&format!("device-{number}"), "eu");
        if let Err(status) = client.enrol(device).await {
            return (status, number);
        }
    }
    panic!("{TOO_MANY_DEVICES} devices fit on a full disk");
}

/// Everything that was imported can be fetched as it was.
async fn assert_intact(operator: &Operator, kept: &BTreeMap<String, Vec<u8>>) {
    for (digest, file) in kept {
        let fetched = operator.download(digest, 0).await.unwrap();
        assert!(fetched == *file, "{digest} is another file now");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_a_full_disk_is_a_typed_answer_and_nothing_is_lost() {
    let disk = match Disk::mount() {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!("not tested: a disk in memory can't be mounted here: {reason}");
            return;
        }
    };
    let log = tempfile::NamedTempFile::new().unwrap();
    let serve = || {
        let log = File::options().append(true).open(log.path()).unwrap();
        Process::serve_logging(&disk.data(), LOOPBACK, log)
    };
    let mut process = serve();
    let operator = Operator::new(channel(&process.endpoint()).await);
    let mut kept = BTreeMap::new();
    let mut refused = Vec::new();
    for hidden in HIDDEN {
        let (status, file) = import_until_full(&operator, hidden, &mut kept).await;
        let stable = match status.message().contains("for a blob") {
            true => "TRB-0510",
            false => "TRB-0503",
        };
        let words = ["disk full", "free space"];
        assert_refusal(&status, Code::Unavailable, stable, &words);
        refused.push(file);
        assert_intact(&operator, &kept).await;
    }
    assert!(kept.len() > 10, "only {} models fit", kept.len());
    disk.fill();
    let (status, enrolled) = enrol_until_full(&process.endpoint()).await;
    let words = ["disk full", "free space", "try again"];
    assert_refusal(&status, Code::Unavailable, "TRB-0503", &words);
    assert_intact(&operator, &kept).await;
    assert!(process.is_alive());
    process.kill();

    disk.enlarge();
    let mut process = serve();
    let operator = Operator::new(channel(&process.endpoint()).await);
    assert_intact(&operator, &kept).await;
    let listed = operator.models().await;
    for digest in kept.keys() {
        let is_listed = listed.iter().any(|model| model.digest == *digest);
        assert!(is_listed, "{digest} is forgotten");
    }
    for file in refused {
        let model = operator.import(file.clone()).await.unwrap();
        kept.insert(model.digest, file);
    }
    assert_intact(&operator, &kept).await;
    let groups = operator.fleet().await.groups;
    let known: u64 = groups.iter().map(|group| group.enrolled).sum();
    assert!(known >= enrolled, "{known} of {enrolled} devices are known");
    assert!(process.is_alive());
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}
