//! What strangers may take up is bounded, and those who are known are served meanwhile.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tributary_coordinator::Limits;
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;

use crate::harness::hand::enrolment;
use crate::harness::operator::assert_refusal;
use crate::harness::process::Process;
use crate::harness::raw::{Raw, framed, page};
use crate::harness::{Coordinator, Hand, PATIENCE, within};

/// Reads until the other side closes.
async fn closed(stream: &mut TcpStream) {
    let reading = async {
        let mut bytes = [0; 1024];
        while matches!(stream.read(&mut bytes).await, Ok(length) if length > 0) {}
    };
    within("the end of a connection", reading).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed_and_places_come_back() {
    let limits = Limits {
        connections: 8,
        ..Limits::default()
    };
    let coordinator = Coordinator::limited(limits).await;
    let operator = coordinator.operator().await;
    let address = coordinator.endpoint().replace("http://", "");
    let mut held = Vec::new();
    for _ in 0..7 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // it speaks, so that it keeps its place
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        let mut first = [0; 1];
        within("settings", stream.read_exact(&mut first))
            .await
            .unwrap();
        held.push(stream);
    }
    let mut ninth = TcpStream::connect(&address).await.unwrap();
    closed(&mut ninth).await;
    // those who are in are served
    assert!(operator.runs().await.is_empty());
    assert_eq!(page(coordinator.admin(), "/livez").await.0, 200);
    drop(held);
    let begun = Instant::now();
    loop {
        // a place is free once the server noticed
        let endpoint = tonic::transport::Endpoint::from_shared(coordinator.endpoint()).unwrap();
        if let Ok(channel) = endpoint.connect().await
            && crate::harness::Operator::new(channel)
                .try_show("x-1")
                .await
                .unwrap_err()
                .code()
                == Code::NotFound
        {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no place came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_and_streams_without_hello_end_by_themselves() {
    let limits = Limits {
        hello: Duration::from_millis(300),
        request: Duration::from_millis(300),
        ..Limits::default()
    };
    let coordinator = Coordinator::limited(limits).await;
    let address = coordinator.endpoint().replace("http://", "");
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"PRI * HTTP").await.unwrap();
    closed(&mut silent).await;
    closed(&mut slow).await;

    let mut raw = Raw::connect(&coordinator.endpoint()).await;
    for path in [
        "/tributary.v1.OrchestrationService/Connect",
        "/tributary.v1.TransferService/Upload",
        "/tributary.v1.ControlService/StartRun",
        "/tributary.v1.EnrolmentService/Enrol",
    ] {
        let mut call = raw.begin(path).await;
        // a message that never ends
        call.send(framed(&[0; 64]).slice(..20), false);
        let status = call.status().await;
        assert_refusal(&status, Code::DeadlineExceeded, "TRB-0222", &["in time"]);
    }
    // a session that has said hello stays as long as it likes
    let channel = coordinator.channel().await;
    let hand = Hand::enrol(&channel, "d-0", "eu").await;
    let mut session = hand.connect().await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    let run = coordinator
        .operator()
        .await
        .start(&crate::harness::Recipe::new().rounds(1, 1))
        .await;
    assert_eq!(session.assignment().await.run_id, run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_too_long_is_refused_while_it_arrives() {
    let coordinator = Coordinator::start().await;
    let mut raw = Raw::connect(&coordinator.endpoint()).await;
    for path in [
        "/tributary.v1.ControlService/StartRun",
        "/tributary.v1.OrchestrationService/CheckIn",
    ] {
        let mut call = raw.begin(path).await;
        // five megabytes are announced, and nobody waits for them to be buffered
        call.send(bytes::Bytes::from_static(&[0, 0, 0x50, 0, 0]), false);
        for _ in 0..20 {
            call.send(vec![0x0a; 64 * 1024].into(), false);
        }
        let status = call.status().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{path}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolments_are_bounded_in_all_and_those_who_are_in_may_come_again() {
    let limits = Limits {
        devices: 3,
        ..Limits::default()
    };
    let coordinator = Coordinator::limited(limits).await;
    let channel = coordinator.channel().await;
    for number in 0..3 {
        Hand::enrol(&channel, &format!("d-{number}"), "eu").await;
    }
    let mut client = EnrolmentServiceClient::new(channel.clone());
    let refused = client.enrol(enrolment("d-3", "eu")).await.unwrap_err();
    let words = ["the fleet is full", "limits.devices"];
    assert_refusal(&refused, Code::ResourceExhausted, "TRB-0221", &words);
    Hand::enrol(&channel, "d-1", "eu").await.connect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_enrolments_at_once_are_told_when_to_come_back() {
    let limits = Limits {
        enrolments_per_second: 1,
        ..Limits::default()
    };
    let coordinator = Coordinator::limited(limits).await;
    let mut client = EnrolmentServiceClient::new(coordinator.channel().await);
    let mut refused = None;
    for number in 0..200 {
        match client.enrol(enrolment(&format!("d-{number}"), "eu")).await {
            Ok(_) => {}
            Err(status) => {
                refused = Some((number, status));
                break;
            }
        }
    }
    let (number, status) = refused.expect("200 at once were taken");
    assert!(number >= 10, "ten seconds' worth may come at once");
    assert_refusal(
        &status,
        Code::ResourceExhausted,
        "TRB-0220",
        &["try again in"],
    );
    assert_ne!(
        status.metadata().get("tributary-retry-after-ms").unwrap(),
        "0"
    );
}

/// Hundredths of a second of processor time that a process has used.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_free_descriptors_it_neither_spins_nor_stops_answering_health() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::serve(&folder.path().join("data"), "127.0.0.1:0");
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), "--nofile=64:64"])
        .status()
        .expect("prlimit, of util-linux, lowers the limit of a process that runs");
    assert!(limited.success());
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(&server.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = cpu_ticks(server.pid());
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = cpu_ticks(server.pid()) - before;
    let most = begun.elapsed().as_millis() as u64 / 10 / 4;
    assert!(
        spent < most,
        "{spent} ticks in {:?}: it spins",
        begun.elapsed()
    );
    for _ in 0..5 {
        assert_eq!(
            page(server.admin(), "/livez").await,
            (200, "ok\n".to_owned())
        );
    }
    drop(held);
    let operator = within("a call once descriptors are free", async {
        loop {
            let endpoint = tonic::transport::Endpoint::from_shared(server.endpoint()).unwrap();
            if let Ok(channel) = endpoint.connect().await {
                let operator = crate::harness::Operator::new(channel);
                if operator
                    .try_show("x-1")
                    .await
                    .is_err_and(|status| status.code() == Code::NotFound)
                {
                    return operator;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(operator.runs().await.is_empty());
    assert!(server.is_alive());
}
