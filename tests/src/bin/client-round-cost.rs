//! What a device's round costs the coordinator: processor time per client-round.
//!
//! Starts `tributary serve` on a new folder, `tributary device`, and a run of a network of 5,063
//! parameters, all from one program, so that two versions are compared by the same command. Measures the
//! server's processor time (user and system) from the start of the run to its end, and how long the server
//! takes to serve again after it. Prints one line of JSON. A folder in memory (`/dev/shm`) shows the cost
//! without waiting for the disk.
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
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn main() {
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

    let folder = tempfile::tempdir_in(folder).unwrap();
    let data = folder.path().join("data");
    let (server, coordinator) = serve(program, &data);
    let fleet = fleet(program, &coordinator, devices);
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, recipe(devices, rounds, mode)).unwrap();
    let begun = Instant::now();
    let before = cpu_seconds(server.0.id());
    let started = ask(
        program,
        &coordinator,
        &["run", "start", file.to_str().unwrap()],
    );
    let run = started["run"].as_str().expect("the run's id").to_owned();
    let shown = loop {
        let shown = ask(program, &coordinator, &["run", "show", &run]);
        match shown["state"].as_str() {
            Some("running") => std::thread::sleep(Duration::from_millis(200)),
            Some("completed") => break shown,
            _ => panic!("the run ended: {shown}"),
        }
    };
    let cpu = cpu_seconds(server.0.id()) - before;
    let wall = begun.elapsed();
    drop((server, fleet));
    let restarted = Instant::now();
    let (again, _) = serve(program, &data);
    let restart = restarted.elapsed();
    drop(again);
    let counted = shown["contributions_total"].as_u64().unwrap();
    println!(
        "{}",
        serde_json::json!({
            "devices": devices,
            "rounds": rounds,
            "mode": mode,
            "client_rounds": counted,
            "server_cpu_seconds": cpu,
            "server_cpu_us_per_client_round": (cpu * 1e6 / counted as f64).round(),
            "wall_seconds": wall.as_secs_f64(),
            "restart_seconds": restart.as_secs_f64(),
        })
    );
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server and waits until it serves; its address.
fn serve(program: &str, data: &Path) -> (Running, String) {
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
    let announced: Value = serde_json::from_str(&line).expect("it serves");
    let coordinator = format!("http://{}", announced["listen"].as_str().unwrap());
    (Running(server), coordinator)
}

fn fleet(program: &str, coordinator: &str, devices: usize) -> Running {
    let fleet = Command::new(program)
        .args(["device", "--region", "eu", "--seed", "1"])
        .args([
            "--count",
            &devices.to_string(),
            "--coordinator",
            coordinator,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(fleet.unwrap())
}

fn ask(program: &str, coordinator: &str, words: &[&str]) -> Value {
    let output = Command::new(program)
        .args(words)
        .args(["--format", "json", "--coordinator", coordinator])
        .output()
        .unwrap();
    let answer = serde_json::from_slice(&output.stdout);
    answer.unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// All devices in every round, one step each.
fn recipe(devices: usize, rounds: usize, mode: &str) -> String {
    let noise = match mode {
        "dp" => "noise_multiplier = 1.0",
        _ => "",
    };
    format!(
        r#"
name = "cost"
task = "watch"
regions = ["eu"]
[model]
name = "small"
input = [150]
layers = [{{ kind = "dense", units = 32 }}, {{ kind = "relu" }}, {{ kind = "dense", units = 7 }}, {{ kind = "softmax" }}]
[rounds]
count = {rounds}
cohort = {devices}
minimum = {devices}
over_selection = 1.0
deadline_ms = 3600000
population = {devices}
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

/// User and system time of a process, at the usual 100 ticks a second.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}
