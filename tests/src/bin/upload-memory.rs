//! How much memory a coordinator takes while many devices upload large updates over gRPC.
//!
//! Starts a coordinator in a process of its own, with sled and blobs in a temporary folder, starts a
//! run without privacy, enrols the devices, and sends one update for each through the upload service.
//! Prints one line of JSON: the resident memory of the coordinator before the first upload, its peak
//! from there to the published model, and the difference in model sizes (4 bytes a parameter).
//!
//! ```text
//! cargo run --release -p tributary-tests --bin upload-memory -- [UPDATES] [PARAMETERS] [CODEC]
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measuring program ends with the first thing that goes wrong"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tonic::transport::{Channel, Endpoint};
use tributary_aggregator::Codec;
use tributary_coordinator::{Server, ServerConfig};
use tributary_model::Digest;
use tributary_proto::v1::control_service_client::ControlServiceClient;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tributary_proto::v1::orchestration_service_client::OrchestrationServiceClient;
use tributary_proto::v1::transfer_service_client::TransferServiceClient;
use tributary_proto::v1::upload_request::Part;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{
    Assignment, CheckInRequest, Credentials, DeviceProfile, EnrolRequest, GetRunRequest, Hello,
    Run, RunState, StartRunRequest, UploadChunk, UploadHeader, UploadRequest,
};

/// Uploads at a time.
const PARALLEL: usize = 4;
/// Updates that differ; the others repeat them.
const DISTINCT: usize = 4;
/// Bytes of a chunk.
const CHUNK: usize = 1 << 20;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, folder] = &arguments[..]
        && verb == "serve"
    {
        return serve(Path::new(folder)).await;
    }
    let number = |index: usize, default: usize| {
        let given = arguments.get(index).map(|text| text.parse());
        given.map_or(default, |parsed| parsed.expect("a number"))
    };
    let codec = arguments.get(2).map_or("f32", String::as_str);
    measure(number(0, 1_000), number(1, 10_000_000), codec).await;
}

/// The coordinator's process: prints its address and ends with its standard input.
async fn serve(folder: &Path) {
    let config = ServerConfig::new(folder.join("data"), ([127, 0, 0, 1], 0).into());
    let server = Server::start(config).await.unwrap();
    println!("http://{}", server.listen_addr());
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await.unwrap().unwrap();
    server.shutdown().await;
}

async fn measure(updates: usize, parameters: usize, codec: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, endpoint) = start_server(folder.path());
    let channel = Endpoint::from_shared(endpoint).unwrap().connect().await;
    let channel = channel.unwrap();
    let recipe = recipe(updates, parameters, codec);
    let mut control = ControlServiceClient::new(channel.clone());
    let request = StartRunRequest {
        recipe,
        idempotency_key: String::new(),
        ..StartRunRequest::default()
    };
    let started = control.start_run(request).await.unwrap().into_inner();
    let orders = assignments(&channel, updates).await;
    let parameters = orders[0].plan.as_ref().unwrap().parameters as usize;
    let encoded = Arc::new(encoded(parameters, codec.parse().unwrap()));

    let base = memory(server.id(), "VmRSS");
    // from here on the peak is that of the uploads
    std::fs::write(format!("/proc/{}/clear_refs", server.id()), "5").unwrap();
    let begun = Instant::now();
    let uploads = orders.into_iter().enumerate().map(|(number, order)| {
        let (channel, encoded) = (channel.clone(), encoded.clone());
        async move { upload(&channel, number, &order, &encoded[number % DISTINCT]).await }
    });
    stream::iter(uploads)
        .buffer_unordered(PARALLEL)
        .collect::<Vec<()>>()
        .await;
    let run = completed(&mut control, &started.run_id).await;
    let seconds = begun.elapsed().as_secs_f64();
    let peak = memory(server.id(), "VmHWM");
    let cpu = cpu_seconds(server.id());
    drop(server.stdin.take());
    server.wait().unwrap();

    let model_bytes = 4 * parameters as u64;
    let above = peak.saturating_sub(base);
    println!(
        "{}",
        serde_json::json!({
            "updates": run.contributions_total,
            "parameters": parameters,
            "codec": codec,
            "update_bytes": encoded[0].0.len(),
            "model_bytes": model_bytes,
            "base_bytes": base,
            "peak_bytes": peak,
            "above_base_bytes": above,
            "above_base_model_sizes": above as f64 / model_bytes as f64,
            "server_cpu_seconds": cpu,
            "wall_seconds": seconds,
        })
    );
    std::io::stdout().flush().unwrap();
}

fn start_server(folder: &Path) -> (Child, String) {
    let program = std::env::current_exe().unwrap();
    let mut server = Command::new(program)
        .arg("serve")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(server.stdout.as_mut().unwrap());
    output.read_line(&mut line).unwrap();
    (server, line.trim().to_owned())
}

/// One round of all devices on a network of about so many parameters.
fn recipe(updates: usize, parameters: usize, codec: &str) -> String {
    let units = 1_000.min(parameters / 10).max(1);
    let inputs = (parameters / units).saturating_sub(3).max(1);
    format!(
        r#"
name = "memory"
task = "none"
regions = ["eu"]
[model]
name = "large"
input = [{inputs}]
layers = [{{ kind = "dense", units = {units} }}, {{ kind = "relu" }}, {{ kind = "dense", units = 2 }}, {{ kind = "softmax" }}]
[rounds]
count = 1
cohort = {updates}
minimum = {updates}
over_selection = 1.0
deadline_ms = 86400000
[training]
epochs = 1
batch_size = 1
learning_rate = 0.1
codec = "{codec}"
[privacy]
mode = "none"
clip = 1.0
"#
    )
}

fn credentials(number: usize) -> Credentials {
    let id = format!("device-{number}");
    Credentials {
        token: Bytes::copy_from_slice(Digest::of(id.as_bytes()).as_bytes()),
        device_id: id,
    }
}

/// Enrols the devices and polls until each has its assignment.
async fn assignments(channel: &Channel, devices: usize) -> Vec<Assignment> {
    let mut enrolment = EnrolmentServiceClient::new(channel.clone());
    for number in 0..devices {
        let credentials = credentials(number);
        let request = EnrolRequest {
            device_id: credentials.device_id,
            token: credentials.token,
            region: "eu".to_owned(),
            profile: Some(DeviceProfile {
                name: "measured".to_owned(),
                core: "cortex-a53".to_owned(),
                ram_bytes: 1 << 30,
                flash_slot_bytes: 1 << 30,
                formats: Vec::new(),
            }),
            tasks: vec!["none".to_owned()],
        };
        enrolment.enrol(request).await.unwrap();
    }
    let mut client = OrchestrationServiceClient::new(channel.clone());
    let mut orders: Vec<Option<Assignment>> = vec![None; devices];
    while orders.iter().any(Option::is_none) {
        for (number, order) in orders.iter_mut().enumerate() {
            if order.is_some() {
                continue;
            }
            let hello = Some(Hello {
                credentials: Some(credentials(number)),
                model_digest: String::new(),
                ..Default::default()
            });
            let request = CheckInRequest {
                hello,
                ..Default::default()
            };
            let answer = client.check_in(request).await;
            let directives = answer.unwrap().into_inner().directives;
            let found = directives.into_iter().find_map(|directive| {
                let Some(Order::Assignment(assignment)) = directive.directive else {
                    return None;
                };
                Some(assignment)
            });
            *order = found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    orders.into_iter().flatten().collect()
}

/// Updates of norm 1 with their digests.
fn encoded(parameters: usize, codec: Codec) -> Vec<(Bytes, String)> {
    let mut noise = ChaCha20Rng::from_seed([3; 32]);
    let mut one = || {
        let draw = |_| (noise.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let values: Vec<f32> = (0..parameters).map(draw).collect();
        let bytes = codec.encode_clipped(&values, 1.0, &mut noise).unwrap();
        let digest = Digest::of(&bytes).to_string();
        (Bytes::from(bytes), digest)
    };
    (0..DISTINCT).map(|_| one()).collect()
}

async fn upload(channel: &Channel, number: usize, order: &Assignment, update: &(Bytes, String)) {
    loop {
        let header = UploadHeader {
            credentials: Some(credentials(number)),
            run_id: order.run_id.clone(),
            round: order.round,
            digest: update.1.clone(),
            size: update.0.len() as u64,
            codec: order.plan.as_ref().unwrap().codec.clone(),
            model_digest: order.model_digest.clone(),
            ..Default::default()
        };
        match send(channel, header, update.0.clone()).await {
            Answer::Receipt(_) => return,
            Answer::Reject(reject) if reject.retry_after_ms > 0 => {
                tokio::time::sleep(Duration::from_millis(reject.retry_after_ms)).await;
            }
            other => panic!("update {number}: {other:?}"),
        }
    }
}

async fn send(channel: &Channel, header: UploadHeader, bytes: Bytes) -> Answer {
    let (parts, waiting) = tokio::sync::mpsc::channel(2);
    let mut client = TransferServiceClient::new(channel.clone());
    let part = |part| UploadRequest { part: Some(part) };
    parts.send(part(Part::Header(header))).await.unwrap();
    let waiting = tokio_stream::wrappers::ReceiverStream::new(waiting);
    let mut answers = client.upload(waiting).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap().answer.unwrap();
    let Answer::Accepted(accepted) = first else {
        return first;
    };
    let mut offset = accepted.offset as usize;
    while offset < bytes.len() {
        let end = bytes.len().min(offset + CHUNK);
        let chunk = UploadChunk {
            offset: offset as u64,
            data: bytes.slice(offset..end),
        };
        parts.send(part(Part::Chunk(chunk))).await.unwrap();
        offset = end;
    }
    drop(parts);
    answers.message().await.unwrap().unwrap().answer.unwrap()
}

async fn completed(control: &mut ControlServiceClient<Channel>, run_id: &str) -> Run {
    loop {
        let request = GetRunRequest {
            run_id: run_id.to_owned(),
            ..GetRunRequest::default()
        };
        let answer = control.get_run(request).await.unwrap().into_inner();
        let run = answer.run.unwrap();
        match run.state() {
            RunState::Running => tokio::time::sleep(Duration::from_millis(50)).await,
            RunState::Completed => return run,
            _ => panic!("the run ended: {}", run.reason),
        }
    }
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// User and system time of a process, at the usual 100 ticks a second.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}
