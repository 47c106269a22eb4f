//! A full disk ends in "waiting for space", and the run goes on by itself; a broken one ends the process.

use std::time::Duration;

use tonic::Code;
use tributary_proto::v1::GetRunResponse;
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;

use crate::full_disk::Disk;
use crate::harness::hand::{enrolment, hands, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::process::Process;
use crate::harness::{GLANCE, Operator, PATIENCE, Recipe, channel, fleet, within};

const ROOM: u64 = 256 << 20;

/// The metric's value.
fn space_waits(process: &Process) -> u64 {
    let (_, metrics) = process.page("/metrics").unwrap();
    let name = "tributary_space_waits_total ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_run_without_space_says_so_and_goes_on_by_itself_with_what_it_was_sent() {
    let disk = Disk::new(ROOM);
    let mut process = disk.serve();
    let operator = Operator::new(channel(&process.endpoint()).await);
    let mut devices = hands(&operator.channel, 4).await;
    let run = operator.start(&Recipe::private().rounds(2, 4)).await;
    for round in 1..=2_u64 {
        let mut orders = Vec::new();
        for (_, session) in &mut devices {
            orders.push(session.assignment().await);
        }
        for number in [0, 1] {
            let bytes = update(round * 10 + number as u64);
            devices[number].0.counted(&orders[number], &bytes).await;
        }
        disk.fill();
        let late = [2, 3].map(|number: usize| {
            let (hand, order) = (devices[number].0.clone(), orders[number].clone());
            let bytes = update(round * 10 + number as u64);
            // it waits for its receipt as long as the disk is full
            tokio::spawn(async move { hand.counted(&order, &bytes).await })
        });
        let waits = |shown: &GetRunResponse| of(shown).reason.starts_with("waiting for space");
        let shown = operator.until(&run, "a run that waits", waits).await;
        let open = shown.rounds.last().unwrap();
        assert_eq!((u64::from(open.round), open.counted), (round, 2));
        let listed = operator.runs().await;
        assert!(listed[0].reason.starts_with("waiting for space"));
        let (status, text) = process.page("/readyz").unwrap();
        let named = format!("degraded\nrun {run}: waiting for space");
        assert!(status == 200 && text.starts_with(&named), "{status} {text}");
        assert!(space_waits(&process) >= round);
        // long enough for several tries
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(late.iter().all(|late| !late.is_finished()));
        disk.resize(ROOM);
        for late in late {
            within("a late receipt", late).await.unwrap();
        }
    }
    let shown = operator.completed(&run).await;
    let rounds = shown.rounds.iter();
    let rounds: Vec<_> = rounds
        .map(|one| (one.round, one.counted, one.phase.as_str()))
        .collect();
    assert_eq!(rounds, [(1, 4, "published"), (2, 4, "published")]);
    assert_eq!(operator.privacy(&run).await.accounts[0].charges, 2);
    assert_eq!(of(&shown).reason, "");
    assert_eq!(process.page("/readyz").unwrap(), (200, "ok\n".to_owned()));
    assert!(process.is_alive());
    assert!(!disk.log().contains("panicked"), "{}", disk.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_disk_that_is_full_again_and_again_costs_no_round_and_charges_nothing_twice()
{
    const ROUNDS: i64 = 6;
    let disk = Disk::new(ROOM);
    let mut process = disk.serve();
    let devices = fleet::devices("eu", 6)
        .into_iter()
        .chain(fleet::devices("us", 6));
    let fleet = fleet::start(&process.endpoint(), 2, devices.collect());
    fleet.wait_connected(12).await;
    let operator = Operator::new(channel(&process.endpoint()).await);
    let run = operator.start(&Recipe::private().rounds(ROUNDS, 12)).await;
    // whatever the run is doing meets a full disk: selections, sums, charges, releases, snapshots
    let begun = std::time::Instant::now();
    let mut pause = 0;
    while of(&operator.show(&run).await).state() == tributary_proto::v1::RunState::Running {
        assert!(
            begun.elapsed() < PATIENCE * 3,
            "{:#?}",
            operator.show(&run).await
        );
        disk.fill();
        tokio::time::sleep(Duration::from_millis(60 + pause % 190)).await;
        disk.resize(ROOM);
        tokio::time::sleep(Duration::from_millis(200 + pause % 300)).await;
        pause += 37;
    }
    let shown = operator.completed(&run).await;
    let rounds = shown.rounds.iter();
    let rounds: Vec<_> = rounds
        .map(|one| (i64::from(one.round), one.counted, one.phase.as_str()))
        .collect();
    let expected: Vec<_> = (1..=ROUNDS).map(|round| (round, 12, "published")).collect();
    assert_eq!(rounds, expected);
    assert_eq!(
        operator.privacy(&run).await.accounts[0].charges,
        ROUNDS as u64
    );
    assert!(space_waits(&process) > 0, "no write met the full disk");
    // what the process knows is what is on the disk
    process.kill();
    process = disk.serve();
    let operator = Operator::new(channel(&process.endpoint()).await);
    assert_eq!(operator.show(&run).await.rounds, shown.rounds);
    assert!(!disk.log().contains("panicked"), "{}", disk.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_12_a_store_that_has_stopped_says_not_ready_and_ends_the_process() {
    let disk = Disk::new(ROOM);
    let mut process = disk.serve();
    let mut client = EnrolmentServiceClient::new(channel(&process.endpoint()).await);
    client.enrol(enrolment("before", "eu")).await.unwrap();
    disk.break_down();
    let status = client
        .enrol(enrolment("meanwhile", "eu"))
        .await
        .unwrap_err();
    assert_refusal(
        &status,
        Code::Unavailable,
        "TRB-0500",
        &["start the coordinator again"],
    );
    let begun = std::time::Instant::now();
    let (code, text) = loop {
        let page = process.page("/readyz").expect("it says why before it ends");
        if page.0 != 200 {
            break page;
        }
        assert!(begun.elapsed() < PATIENCE, "{page:?}");
        std::thread::sleep(GLANCE);
    };
    assert!(
        code == 503 && text.contains("the store stopped"),
        "{code} {text}"
    );
    assert_eq!(process.ended().code(), Some(1), "{}", disk.log());
    assert!(disk.log().contains("TRB-0500"), "{}", disk.log());

    disk.resize(ROOM);
    let process = disk.serve();
    let mut client = EnrolmentServiceClient::new(channel(&process.endpoint()).await);
    client.enrol(enrolment("after", "eu")).await.unwrap();
    let operator = Operator::new(channel(&process.endpoint()).await);
    let known: u64 = operator
        .fleet()
        .await
        .groups
        .iter()
        .map(|group| group.enrolled)
        .sum();
    assert!(
        known == 2 || known == 3,
        "{known}: only the one in between may be there or not"
    );
}
