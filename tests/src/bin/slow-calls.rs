//! How long calls take while hostile files are imported, and a restart after many rounds.
//!
//! Starts `tributary serve` on a new folder and asks for `/readyz` all the time, over a new connection each:
//! with nothing else going on, while three model files arrive at once whose headers are 90 MB long, and
//! beside three processes that do nothing but use a processor for as long as those imports did, client
//! included. The last is what a machine of so few cores costs whatever the server does. Then it completes a
//! run of 400 rounds, kills the server, and measures how long a new one takes until `/readyz` is 200. Prints
//! one line of JSON.
//!
//! ```text
//! cargo run --release -p tributary-tests --bin slow-calls -- target/release/tributary FOLDER [ROUNDS]
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measuring program ends with the first thing that goes wrong"
)]
#![forbid(unsafe_code)]

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Endpoint;
use tributary_proto::v1::ImportModelRequest;
use tributary_proto::v1::control_service_client::ControlServiceClient;
use tributary_tests::measured::{Fleet, Served, cpu_seconds, recipe, status};

/// Bytes of a header.
const HEADER: usize = 90 << 20;
/// Files at once.
const IMPORTS: usize = 3;
/// Pause between two probes.
const PAUSE: Duration = Duration::from_millis(5);
/// How long it is probed with nothing else going on.
const ALONE: Duration = Duration::from_secs(5);
/// Devices of the run before the restart.
const DEVICES: usize = 4;
/// The first argument of a process that only uses a processor.
const SPIN: &str = "--spin";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, seconds] = &arguments[..]
        && word == SPIN
    {
        return spin(seconds.parse().expect("seconds"));
    }
    let [program, folder, ..] = &arguments[..] else {
        panic!("the program `tributary` and a folder for its data");
    };
    let rounds = arguments
        .get(2)
        .map_or(400, |text| text.parse().expect("rounds"));
    let folder = tempfile::tempdir_in(folder).unwrap();
    let data = folder.path().join("data");
    let server = Served::start(program, &data);

    let file = bytes::Bytes::from(hostile());
    let alone = probed(&server, || std::thread::sleep(ALONE));
    let (own, others) = (cpu_seconds(std::process::id()), server.cpu_seconds());
    let mut refused = Vec::new();
    let imports = probed(&server, || {
        refused = hostile_imports(&server.endpoint, &file)
    });
    let cost = cpu_seconds(std::process::id()) - own + server.cpu_seconds() - others;
    let spinning = probed(&server, || spinners(cost / IMPORTS as f64));

    let fleet = Fleet::start(program, &server, DEVICES);
    let run = server.complete(&recipe(DEVICES, rounds, "none"));
    drop((server, fleet));
    let restarted = Instant::now();
    let again = Served::start(program, &data);
    assert_eq!(again.page("/readyz"), 200);
    let restart = restarted.elapsed();
    println!(
        "{}",
        json!({
            "readyz_ms": { "alone": alone, "imports": imports, "spinning": spinning },
            "imports": { "header_bytes": HEADER, "refused": refused, "cpu_seconds": cost },
            "restart": { "rounds": run["round"], "seconds": restart.as_secs_f64() },
        })
    );
}

/// How long `/readyz` takes while `work` goes on, in milliseconds.
fn probed(server: &Served, work: impl FnOnce()) -> Value {
    let (admin, over) = (server.admin.clone(), Arc::new(AtomicBool::new(false)));
    let until = over.clone();
    let probing = std::thread::spawn(move || {
        let mut taken = Vec::new();
        while !until.load(Ordering::Relaxed) {
            let begun = Instant::now();
            assert_eq!(status(&admin, "/readyz"), 200);
            taken.push(begun.elapsed());
            std::thread::sleep(PAUSE);
        }
        taken
    });
    let begun = Instant::now();
    work();
    let seconds = begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let mut taken = probing.join().unwrap();
    taken.sort_unstable();
    let at = |share: usize| taken[(taken.len() - 1) * share / 100].as_secs_f64() * 1e3;
    json!({
        "probes": taken.len(),
        "median": at(50),
        "p99": at(99),
        "slowest": at(100),
        "seconds": seconds,
    })
}

/// A safetensors file whose header is a long list of metadata.
fn hostile() -> Vec<u8> {
    let mut header = b"{\"__metadata__\":{\"0\":\"a\"".to_vec();
    let mut number = 1;
    while header.len() < HEADER {
        header.extend_from_slice(format!(",\"{number}\":\"a\"").as_bytes());
        number += 1;
    }
    header.extend_from_slice(b"}}");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.append(&mut header);
    file
}

/// Sends all files at once; what became of each.
fn hostile_imports(endpoint: &str, file: &bytes::Bytes) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let import = || async {
            let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
            let client = endpoint.connect().await.map(ControlServiceClient::new);
            let request = ImportModelRequest {
                safetensors: file.clone(),
            };
            let refused = client.unwrap().import_model(request).await.unwrap_err();
            let expected = [Code::InvalidArgument, Code::ResourceExhausted];
            assert!(expected.contains(&refused.code()), "{refused}");
            refused.message().to_owned()
        };
        futures::future::join_all((0..IMPORTS).map(|_| import())).await
    })
}

/// Three processes that each use a processor for so many seconds.
fn spinners(seconds: f64) {
    let spinner = |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([SPIN, &seconds.to_string()]).spawn().unwrap()
    };
    let mut all: Vec<Child> = (0..IMPORTS).map(spinner).collect();
    for one in &mut all {
        assert!(one.wait().unwrap().success());
    }
}

/// Uses a processor until this process has had it for so many seconds.
fn spin(seconds: f64) {
    while cpu_seconds(std::process::id()) < seconds {
        std::hint::black_box((0..100_000_u64).fold(0, u64::wrapping_add));
    }
}
