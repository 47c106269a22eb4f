//! Invariants 10 and 12 for a disk without room, and for one that breaks.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use tempfile::TempDir;
use tonic::{Code, Status};
use tributary_model::{ModelFile, ModelSpec, initialise};
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tributary_tests::preload::SmallDisk;

use crate::harness::hand::enrolment;
use crate::harness::operator::assert_refusal;
use crate::harness::process::Process;
use crate::harness::{Operator, channel};

const LOOPBACK: &str = "127.0.0.1:0";
/// Room for the empty store and some large models.
const SMALL: u64 = 12 << 20;
const LARGE: u64 = 64 << 20;
/// Hidden units of the imported models, large ones first: about 270 kB, 27 kB and 3 kB. The smaller
/// ones fill what the larger ones leave.
const HIDDEN: [usize; 3] = [1_000, 100, 10];
/// More models than fit.
const TOO_MANY: u8 = 200;
/// More devices than fit where no model does.
const TOO_MANY_DEVICES: u64 = 20_000;

/// A disk of its own for one data folder. No rights are needed, so nothing is skipped where there
/// are none.
pub struct Disk {
    folder: TempDir,
    disk: SmallDisk,
    log: tempfile::NamedTempFile,
}

impl Disk {
    pub fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("disk")).unwrap();
        let disk = SmallDisk::new(&folder.path().join("disk"), folder.path(), bytes).unwrap();
        Self {
            folder,
            disk,
            log: tempfile::NamedTempFile::new().unwrap(),
        }
    }

    /// A coordinator whose data folder is on it.
    pub fn serve(&self) -> Process {
        let log = File::options().append(true).open(self.log.path()).unwrap();
        Process::serve_within(&self.data(), LOOPBACK, log, self.disk.environment())
    }

    pub fn resize(&self, bytes: u64) {
        self.disk.resize(bytes).unwrap();
    }

    /// No file can grow any more.
    pub fn fill(&self) {
        self.resize(1);
    }

    pub fn break_down(&self) {
        self.disk.break_down().unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("disk/data")
    }

    /// What its coordinators have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
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
    let disk = Disk::new(SMALL);
    let mut process = disk.serve();
    let operator = Operator::new(channel(&process.endpoint()).await);
    let mut kept = BTreeMap::new();
    let mut refused = Vec::new();
    for hidden in HIDDEN {
        let (status, file) = import_until_full(&operator, hidden, &mut kept).await;
        let stable = match status.message().contains("for a blob") {
            true => "TRB-0510",
            false => "TRB-0503",
        };
        let words = ["disk full", "free space and try again"];
        assert_refusal(&status, Code::Unavailable, stable, &words);
        refused.push(file);
        assert_intact(&operator, &kept).await;
    }
    assert!(kept.len() > 10, "only {} models fit", kept.len());
    disk.fill();
    let (status, enrolled) = enrol_until_full(&process.endpoint()).await;
    let words = ["disk full", "free space and try again"];
    assert_refusal(&status, Code::Unavailable, "TRB-0503", &words);
    assert_intact(&operator, &kept).await;
    assert!(process.is_alive());

    // the same process goes on, and so does the next
    disk.resize(LARGE);
    let mut client = EnrolmentServiceClient::new(channel(&process.endpoint()).await);
    let last = format!("device-{enrolled}");
    client.enrol(enrolment(&last, "eu")).await.unwrap();
    for file in refused {
        let model = operator.import(file.clone()).await.unwrap();
        kept.insert(model.digest, file);
    }
    assert!(process.is_alive());
    process.kill();
    let mut process = disk.serve();
    let operator = Operator::new(channel(&process.endpoint()).await);
    assert_intact(&operator, &kept).await;
    let listed = operator.models().await;
    for digest in kept.keys() {
        let is_listed = listed.iter().any(|model| model.digest == *digest);
        assert!(is_listed, "{digest} is forgotten");
    }
    let groups = operator.fleet().await.groups;
    let known: u64 = groups.iter().map(|group| group.enrolled).sum();
    assert_eq!(known, enrolled + 1);
    assert!(process.is_alive());
    assert!(!disk.log().contains("panicked"), "{}", disk.log());
}
