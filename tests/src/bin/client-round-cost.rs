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

use std::time::Instant;

use tributary_tests::measured::{Fleet, Served, recipe};

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
    let server = Served::start(program, &data);
    let fleet = Fleet::start(program, &server, devices);
    let begun = Instant::now();
    let before = server.cpu_seconds();
    let shown = server.complete(&recipe(devices, rounds, mode));
    let cpu = server.cpu_seconds() - before;
    let wall = begun.elapsed();
    drop((server, fleet));
    let restarted = Instant::now();
    let again = Served::start(program, &data);
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
