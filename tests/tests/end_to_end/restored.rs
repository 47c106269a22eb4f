//! A data folder that was put back from a copy: recognised by what devices have seen, and restored.

use std::path::Path;
use std::time::Duration;

use tonic::Code;
use tributary_device_sim::{Behaviour, FleetHandle, Pace, SimDevice};
use tributary_proto::v1::{
    Assignment, GetRunResponse, ListRunsRequest, RunState, Ticket, connect_request,
};

use crate::harness::hand::{hands, open_stream, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::process::{Process, tributary};
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, channel, fleet};

const DEVICES: usize = 8;

/// Devices whose training lasts 0.2 s, so that a round can be met while it is open. They outlive the
/// coordinator, like real ones.
fn start_fleet(endpoint: &str) -> FleetHandle {
    let slow = |device: SimDevice| SimDevice {
        behaviour: Behaviour {
            seconds_per_step: 0.05,
            pace: Pace::Real,
            ..Behaviour::default()
        },
        ..device
    };
    let half = DEVICES / 2;
    let devices = fleet::devices("eu", half)
        .into_iter()
        .chain(fleet::devices("us", half));
    fleet::start(endpoint, 2, devices.map(slow).collect())
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs `tributary restore` on a folder; what it prints.
pub fn restore(data: &Path) -> serde_json::Value {
    let mut command = tributary();
    command
        .args(["--format", "json", "restore", "--data"])
        .arg(data);
    let ran = command.output().unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{errors}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

async fn operator(process: &Process) -> Operator {
    Operator::new(channel(&process.endpoint()).await)
}

async fn in_round(operator: &Operator, run: &str, round: u32) -> GetRunResponse {
    let there =
        |shown: &GetRunResponse| of(shown).round >= round && of(shown).phase == "collecting";
    operator.until(run, "a later round", there).await
}

pub async fn halted(operator: &Operator) -> String {
    let mut control = operator.control.clone();
    let listed = control.list_runs(ListRunsRequest::default()).await;
    listed.unwrap().into_inner().halted
}

/// Waits until the coordinator says that it is halted.
pub async fn until_halted(operator: &Operator) -> String {
    let begun = std::time::Instant::now();
    loop {
        let reason = halted(operator).await;
        if !reason.is_empty() {
            return reason;
        }
        assert!(begun.elapsed() < PATIENCE, "the copy was not recognised");
        tokio::time::sleep(GLANCE).await;
    }
}

/// Charges of a run and versions in a data folder, from a copy that no device speaks to.
async fn held(data: &Path, copied: &Path, run: &str) -> (u64, usize) {
    copy(data, copied);
    let process = Process::serve(copied, "127.0.0.1:0");
    let operator = operator(&process).await;
    let charges = operator.privacy(run).await.accounts[0].charges;
    (charges, operator.models().await.len())
}

/// A coordinator whose folder was copied in mid-run, went on for rounds, and was put back.
struct Scene {
    _folder: tempfile::TempDir,
    data: std::path::PathBuf,
    process: Process,
    fleet: FleetHandle,
    run: String,
    /// Charges in the copy.
    charges: u64,
    models: usize,
}

impl Scene {
    async fn put_back(recipe: &Recipe) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut process = Process::serve(&data, "127.0.0.1:0");
        let fleet = start_fleet(&process.endpoint());
        fleet.wait_connected(DEVICES).await;
        let run = operator(&process).await.start(recipe).await;
        in_round(&operator(&process).await, &run, 3).await;
        let address = process.kill();
        copy(&data, &folder.path().join("copy"));
        let (charges, models) = held(&data, &folder.path().join("looked-at"), &run).await;
        process = Process::serve(&data, &address);
        let on_time = operator(&process).await;
        // a restart alone is no reason to stop
        in_round(&on_time, &run, 6).await;
        assert_eq!(halted(&on_time).await, "");
        let address = process.kill();
        std::fs::rename(&data, folder.path().join("lost")).unwrap();
        std::fs::rename(folder.path().join("copy"), &data).unwrap();
        process = Process::serve(&data, &address);
        Self {
            _folder: folder,
            data,
            process,
            fleet,
            run,
            charges,
            models,
        }
    }

    /// Asserts that the copy is recognised, and that nothing was charged, released or assigned.
    async fn assert_stopped(&self) {
        let operator = operator(&self.process).await;
        let reason = until_halted(&operator).await;
        let words = [
            "older than what devices have seen",
            &self.run,
            "nothing is assigned, charged or released",
            "tributary restore --data",
        ];
        for word in words {
            assert!(reason.contains(word), "{word:?} is missing in: {reason}");
        }
        let sent = self.fleet.stats().tally.count("assignment.received");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = self.fleet.stats().tally.count("assignment.received");
        assert_eq!(sent, after, "somebody was assigned");
        let account = &operator.privacy(&self.run).await.accounts[0];
        assert_eq!(account.charges, self.charges, "something was charged");
        assert_eq!(
            operator.models().await.len(),
            self.models,
            "something was released"
        );
        let shown = operator.show(&self.run).await;
        assert!(of(&shown).reason.contains("tributary restore"), "{shown:?}");
        let refused = operator.refused(&Recipe::private().text()).await;
        assert_refusal(
            &refused,
            Code::Unavailable,
            "TRB-0520",
            &["tributary restore"],
        );
        let (status, page) = self.process.page("/readyz").unwrap();
        assert_eq!(status, 503, "{page}");
        assert!(page.contains("older than what devices have seen"), "{page}");
    }
}

/// Correlated noise that allows devices to come back every round.
fn correlated() -> Recipe {
    Recipe::private()
        .rounds(40, DEVICES as i64)
        .set("privacy.mechanism", "blt")
        .set("privacy.noise_multiplier", 4.0)
        .set("rounds.max_participations", 40)
        .set("rounds.min_separation", 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_put_back_in_mid_run_charges_and_releases_nothing_and_is_restored_with_fresh_noise()
 {
    let mut scene = Scene::put_back(&Recipe::private().rounds(40, DEVICES as i64)).await;
    scene.assert_stopped().await;
    // a restart does not help
    let address = scene.process.kill();
    scene.process = Process::serve(&scene.data, &address);
    let reason = until_halted(&operator(&scene.process).await).await;
    assert!(reason.contains("tributary restore"), "{reason}");
    let address = scene.process.kill();
    let answer = restore(&scene.data);
    assert_eq!(answer["runs_ended"][0], scene.run.as_str(), "{answer}");
    assert_eq!(answer["devices_not_private"], DEVICES, "{answer}");
    scene.process = Process::serve(&scene.data, &address);
    let operator = operator(&scene.process).await;
    assert_eq!(halted(&operator).await, "");
    let shown = operator.show(&scene.run).await;
    assert_eq!(of(&shown).state(), RunState::Failed);
    assert!(of(&shown).reason.contains("restored"), "{shown:?}");
    assert_eq!(operator.models().await.len(), scene.models);
    // devices take part again in the new epoch, and what follows says that it is not private
    let run = operator
        .start(&Recipe::private().rounds(2, DEVICES as i64))
        .await;
    let shown = operator.completed(&run).await;
    let privacy = of(&shown).privacy.clone().unwrap();
    assert!(privacy.not_private, "{privacy:?}");
    assert!(operator.privacy("").await.worst_device.unwrap().not_private);
    scene.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_put_back_under_correlated_noise_ends_its_run_and_fills_every_cap() {
    let recipe = correlated().set("privacy.epsilon", 20.0);
    let mut scene = Scene::put_back(&recipe).await;
    scene.assert_stopped().await;
    let address = scene.process.kill();
    let answer = restore(&scene.data);
    assert_eq!(answer["devices_charged"], DEVICES, "{answer}");
    assert_eq!(answer["devices_not_private"], 0, "{answer}");
    // the noise that later rounds would have taken back is gone
    let vault = crate::harness::coordinator::files_below(&scene.data.join("vault"));
    let largest = vault.iter().map(|(_, bytes)| bytes.len()).max();
    scene.process = Process::serve(&scene.data, &address);
    let operator = operator(&scene.process).await;
    assert_eq!(
        of(&operator.show(&scene.run).await).state(),
        RunState::Failed
    );
    let worst = operator.privacy("").await.worst_device.unwrap();
    assert!(!worst.not_private && worst.epsilon > 19.9, "{worst:?}");
    let refused = operator.refused(&recipe.rounds(1, 2).text()).await;
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &["privacy"]);
    assert!(largest.is_some());
    scene.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_lies_about_what_it_has_seen_stops_nobody() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    // all three are asked, and two are enough
    let recipe = Recipe::private().rounds(1, 2);
    let recipe = recipe.set("rounds.over_selection", 1.5);
    let run = operator.start(&recipe).await;
    let genuine = assignment(&mut devices[0]).await.ticket.unwrap();
    let later = Ticket {
        number: 9,
        ..genuine.clone()
    };
    let lies = [
        later.clone(),
        Ticket {
            epoch: genuine.epoch + 1,
            ..genuine.clone()
        },
        Ticket {
            subject: "nobody-1".to_owned(),
            ..genuine.clone()
        },
        Ticket {
            seal: vec![0; 32].into(),
            ..later
        },
    ];
    let liar = &devices[2].0;
    for tickets in [lies.to_vec(), vec![genuine.clone()]] {
        let mut hello = liar.hello();
        hello.tickets = tickets;
        let hello = connect_request::Message::Hello(hello);
        let _session = open_stream(&liar.channel, Some(hello)).await.unwrap();
        assert_eq!(halted(&operator).await, "");
    }
    // and its own genuine ticket, shown as often as it likes, is nothing new
    let mut hello = devices[0].0.hello();
    hello.tickets = vec![genuine];
    let hello = connect_request::Message::Hello(hello);
    let (_events, _answers) = open_stream(&devices[0].0.channel, Some(hello))
        .await
        .unwrap();
    assert_eq!(halted(&operator).await, "");
    for (number, (hand, _)) in (0..).zip(devices.iter().take(2)) {
        let order = hand.connect().await.assignment().await;
        hand.counted(&order, &update(number)).await;
    }
    operator.completed(&run).await;
}

async fn assignment(device: &mut (crate::harness::Hand, crate::harness::Session)) -> Assignment {
    device.1.assignment().await
}
