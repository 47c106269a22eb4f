//! What a device's round costs the coordinator: processor time per client-round.
//!
//! Starts `tributary serve` on a new folder, real agents that train a small model over gRPC, and a run.
//! Measures the server's processor time (user and system) from the moment that all devices are connected
//! to the end of the run, and prints one line of JSON. A folder in memory (`/dev/shm`) shows the cost
//! without the disk.
//!
//! ```text
//! cargo run --release -p tributary-tests --bin client-round-cost -- target/release/tributary FOLDER [DEVICES] [ROUNDS] [MODE]
//! ```
//! MODE is `none` (default) or `dp`. `TRIBUTARY__STORE__ENGINE` is handed on to the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measuring program ends with the first thing that goes wrong"
)]
#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tributary_device::Hardware;
use tributary_device_sim::{Fleet, FleetConfig, Shard, SimDevice};
use tributary_proto::v1::control_service_client::ControlServiceClient;
use tributary_proto::v1::{GetRunRequest, Run, RunState, StartRunRequest};

/// Inputs and hidden units: 5,027 parameters with the two classes.
const INPUTS: usize = 64;
const UNITS: usize = 75;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, ..] = &arguments[..] else {
        panic!("the program `tributary` and a folder for its data");
    };
    let number = |index: usize, default: usize| {
        let given = arguments.get(index).map(|text| text.parse());
        given.map_or(default, |parsed| parsed.expect("a number"))
    };
    let (devices, rounds) = (number(2, 400), number(3, 20));
    let mode = arguments.get(4).map_or("none", String::as_str);

    let data = tempfile::tempdir_in(folder).unwrap();
    let (mut server, endpoint) = serve(program, &data.path().join("data"));
    let config = FleetConfig {
        seed: Some([6; 32]),
        ..FleetConfig::new(&endpoint)
    };
    let fleet = Fleet::start(config, (0..devices).map(device).collect()).unwrap();
    fleet.wait_connected(devices).await;
    let (before, begun) = (cpu_seconds(server.id()), Instant::now());
    let run = complete(&endpoint, &recipe(devices, rounds, mode)).await;
    let (cpu, wall) = (cpu_seconds(server.id()) - before, begun.elapsed());
    fleet.shutdown().await;
    server.kill().unwrap();
    server.wait().unwrap();
    println!(
        "{}",
        serde_json::json!({
            "devices": devices,
            "rounds": rounds,
            "mode": mode,
            "parameters": INPUTS * UNITS + UNITS + UNITS * 2 + 2,
            "client_rounds": run.contributions_total,
            "server_cpu_seconds": cpu,
            "server_cpu_us_per_client_round": cpu * 1e6 / run.contributions_total as f64,
            "wall_seconds": wall.as_secs_f64(),
        })
    );
}

fn serve(program: &str, data: &std::path::Path) -> (Child, String) {
    let mut server = Command::new(program)
        .args(["--format", "json", "serve", "--listen", "127.0.0.1:0"])
        .args(["--admin", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(server.stdout.as_mut().unwrap());
    output.read_line(&mut line).unwrap();
    let announced: serde_json::Value = serde_json::from_str(&line).expect("it serves");
    let endpoint = format!("http://{}", announced["listen"].as_str().unwrap());
    (server, endpoint)
}

/// A device with eight examples of two classes.
fn device(number: usize) -> SimDevice {
    let value = |at: usize| ((number * 31 + at * 17) % 23) as f32 / 23.0 - 0.5;
    let inputs = (0..8 * INPUTS).map(value).collect();
    let labels = (0..8).map(|example| example % 2).collect();
    SimDevice::new(
        format!("d-{number:05}").parse().unwrap(),
        "eu".parse().unwrap(),
        Hardware::int8("large", "cortex-m7", 1 << 20, 1 << 20),
        "cost",
        Shard::new(inputs, labels),
    )
}

fn recipe(devices: usize, rounds: usize, mode: &str) -> String {
    let noise = match mode {
        "dp" => "noise_multiplier = 1.0",
        _ => "",
    };
    format!(
        r#"
name = "cost"
task = "cost"
regions = ["eu"]
[model]
name = "small"
input = [{INPUTS}]
layers = [{{ kind = "dense", units = {UNITS} }}, {{ kind = "relu" }}, {{ kind = "dense", units = 2 }}, {{ kind = "softmax" }}]
[rounds]
count = {rounds}
cohort = {devices}
minimum = {devices}
over_selection = 1.0
deadline_ms = 3600000
[training]
epochs = 1
batch_size = 8
learning_rate = 0.1
[privacy]
mode = "{mode}"
clip = 1.0
{noise}
"#
    )
}

/// Starts a run and waits for its end.
async fn complete(endpoint: &str, recipe: &str) -> Run {
    let mut control = ControlServiceClient::connect(endpoint.to_owned())
        .await
        .unwrap();
    let request = StartRunRequest {
        recipe: recipe.to_owned(),
        idempotency_key: String::new(),
    };
    let run_id = control
        .start_run(request)
        .await
        .unwrap()
        .into_inner()
        .run_id;
    loop {
        let request = GetRunRequest {
            run_id: run_id.clone(),
        };
        let shown = control.get_run(request).await.unwrap().into_inner();
        let run = shown.run.unwrap();
        match run.state() {
            RunState::Running => tokio::time::sleep(Duration::from_millis(100)).await,
            RunState::Completed => return run,
            _ => panic!("the run ended: {}", run.reason),
        }
    }
}

/// User and system time of a process, at the usual 100 ticks a second.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}
