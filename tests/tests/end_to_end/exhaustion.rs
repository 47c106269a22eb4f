//! Strangers that leave requests unfinished and answers unread hold a fixed number of bytes, and others are
//! served meanwhile. The attacks of a hardening trial, on the real program.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tonic::Code;
use tributary_coordinator::Limits;
use tributary_proto::v1::DownloadRequest;

use crate::harness::hand::{hands, update};
use crate::harness::operator::assert_refusal;
use crate::harness::process::Process;
use crate::harness::raw::{Raw, framed, page};
use crate::harness::{Coordinator, Operator, PATIENCE, Recipe, channel, within};

const MIB: u64 = 1 << 20;
const START_RUN: &str = "/tributary.v1.ControlService/StartRun";
const UPLOAD: &str = "/tributary.v1.TransferService/Upload";
const CONNECT: &str = "/tributary.v1.OrchestrationService/Connect";
const DOWNLOAD: &str = "/tributary.v1.TransferService/Download";
const GET_FLEET: &str = "/tributary.v1.ControlService/GetFleet";

/// Bytes of memory that a process has.
fn resident(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// A number of `/metrics`.
async fn metric(admin: std::net::SocketAddr, name: &str) -> u64 {
    let (_, text) = page(admin, "/metrics").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in {text}"))
        .parse()
        .unwrap()
}

/// The beginning of a message of a megabyte.
fn unfinished(bytes: usize) -> Bytes {
    let mut beginning = framed(&vec![0x0a; 1_000_000]).to_vec();
    beginning.truncate(bytes);
    beginning.into()
}

/// Asks as an operator does, again while it is told to come again.
async fn is_served(operator: &Operator) {
    let asked = async {
        while let Err(status) = operator.try_model("ffffffffffff").await {
            if status.code() == Code::NotFound {
                return;
            }
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("an answer to somebody else", asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_unfinished_requests_hold_a_budget_and_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(&folder.path().join("data"), "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    let before = resident(&process);
    let mut raw = Raw::connect(&process.endpoint()).await;
    let mut held = Vec::new();
    for number in 0..600 {
        let path = if number % 2 == 0 {
            START_RUN
        } else {
            GET_FLEET
        };
        let mut call = raw.begin(path).await;
        call.send(unfinished(950_000), false);
        held.push(call);
    }
    let mut most = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        is_served(&operator).await;
        most = most.max(resident(&process));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("RSS {} MiB, then {} MiB", before / MIB, most / MIB);
    let counted = metric(process.admin(), "tributary_arriving_bytes_most").await;
    assert!(counted <= 64 * MIB && counted > 16 * MIB, "{counted}");
    assert!(most < before + 256 * MIB, "{} MiB", most / MIB);
    // those that were sent away know it
    let refused = held.swap_remove(0).status().await;
    assert_refusal(
        &refused,
        Code::ResourceExhausted,
        "TRB-0220",
        &["try again"],
    );
    drop((held, raw));
    let begun = Instant::now();
    while metric(process.admin(), "tributary_arriving_bytes").await > 0 {
        assert!(begun.elapsed() < PATIENCE, "the bytes are never given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_before_their_first_message_hold_little_and_within_the_same_budget() {
    let limits = Limits {
        arriving_bytes: 8 << 20,
        ..Limits::default()
    };
    let coordinator = Coordinator::limited(limits).await;
    let operator = coordinator.operator().await;
    let mut raw = Raw::connect(&coordinator.endpoint()).await;
    for path in [UPLOAD, CONNECT] {
        // a header of four megabytes is none
        let mut call = raw.begin(path).await;
        call.send(
            Bytes::from_static(&[0, 0, 0x3f, 0xff, 0xff, 1, 2, 3]),
            false,
        );
        let words = ["first message", "65536"];
        assert_refusal(
            &call.status().await,
            Code::InvalidArgument,
            "TRB-0102",
            &words,
        );
    }
    let mut held = Vec::new();
    for number in 0..600 {
        let path = if number % 2 == 0 { UPLOAD } else { CONNECT };
        let mut call = raw.begin(path).await;
        let beginning = framed(&[0x0a; 60_000]).slice(..59_000);
        call.send(beginning, false);
        held.push(call);
        if number % 50 == 0 {
            is_served(&operator).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    is_served(&operator).await;
    let counted = metric(coordinator.admin(), "tributary_arriving_bytes_most").await;
    assert!(counted <= 8 * MIB && counted > 4 * MIB, "{counted}");
    // devices go on meanwhile
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let run = operator.start(&Recipe::new().rounds(1, 2)).await;
    for (number, (hand, session)) in (0..).zip(devices.iter_mut()) {
        let order = session.assignment().await;
        hand.counted(&order, &update(number)).await;
    }
    operator.completed(&run).await;
    drop(held);
}

/// A run whose model has about four megabytes.
async fn large_model(operator: &Operator) -> String {
    let layers = r#"[
        { kind = "dense", units = 1024 },
        { kind = "relu" },
        { kind = "dense", units = 2 },
        { kind = "softmax" },
    ]"#;
    let layers: toml::Table = toml::from_str(&format!("layers = {layers}")).unwrap();
    let recipe = Recipe::new()
        .set("model.input", vec![1_024])
        .set("model.layers", layers["layers"].clone())
        .rounds(1, 2);
    operator.start(&recipe).await;
    operator.models().await[0].digest.clone()
}

/// Begins downloads and never opens the window of any.
async fn unread(endpoint: &str, digest: &str, count: usize) -> Vec<h2::client::ResponseFuture> {
    let stream = tokio::net::TcpStream::connect(endpoint.trim_start_matches("http://"))
        .await
        .unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 30);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let message = DownloadRequest {
        digest: digest.to_owned(),
        ..DownloadRequest::default()
    };
    let mut answers = Vec::new();
    for _ in 0..count {
        let request = http::Request::post(format!("http://localhost{DOWNLOAD}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        sender = sender.ready().await.unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(framed(&message.encode_to_vec()), true)
            .unwrap();
        answers.push(answer);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_downloads_that_nobody_reads_hold_a_share_and_others_download() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(&folder.path().join("data"), "127.0.0.1:0");
    let operator = Operator::new(channel(&process.endpoint()).await);
    let digest = large_model(&operator).await;
    let size = operator.download(&digest, 0).await.unwrap().len();
    assert!(size > 4 << 20);
    let before = resident(&process);
    let held = unread(&process.endpoint(), &digest, 1_000).await;
    let mut most = 0;
    for _ in 0..20 {
        let downloading = operator.download(&digest, 0);
        let whole = within("somebody else's download", downloading).await;
        assert_eq!(whole.unwrap().len(), size);
        most = most.max(resident(&process));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("RSS {} MiB, then {} MiB", before / MIB, most / MIB);
    let counted = metric(process.admin(), "tributary_leaving_bytes_most").await;
    assert!(
        counted <= 32 * MIB,
        "two connections have a share each: {counted}"
    );
    assert!(counted > 8 * MIB, "{counted}");
    assert!(most < before + 192 * MIB, "{} MiB", most / MIB);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_takes_no_answers_is_closed_after_a_while() {
    let limits = Limits {
        answer: Duration::from_millis(900),
        ..Limits::default()
    };
    let coordinator = Coordinator::limited(limits).await;
    let operator = coordinator.operator().await;
    let digest = large_model(&operator).await;
    let held = unread(&coordinator.endpoint(), &digest, 50).await;
    let begun = Instant::now();
    while metric(coordinator.admin(), "tributary_leaving_bytes_most").await < MIB {
        assert!(begun.elapsed() < PATIENCE, "nothing was sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while metric(coordinator.admin(), "tributary_leaving_bytes").await > 0 {
        assert!(begun.elapsed() < PATIENCE, "it holds its bytes for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // others keep theirs
    assert!(operator.download(&digest, 0).await.is_ok());
    drop(held);
}
