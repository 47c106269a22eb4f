//! `tributary serve` and a fleet as processes, for programs that measure them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measuring program ends with the first thing that goes wrong"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// How often a run is asked whether it is over.
const GLANCE: Duration = Duration::from_millis(200);
/// Longest that a page is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A serving process, which is killed when this goes.
pub struct Served {
    process: Running,
    program: String,
    /// Where devices and operators find it, as `http://ADDRESS`.
    pub endpoint: String,
    /// Where its admin page is.
    pub admin: String,
}

impl Served {
    /// Starts `tributary serve` on a folder and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(program: &str, data: &Path) -> Self {
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
        let address = |name: &str| announced[name].as_str().unwrap().to_owned();
        Self {
            endpoint: format!("http://{}", address("listen")),
            admin: address("admin"),
            process: Running(server),
            program: program.to_owned(),
        }
    }

    /// What a command of an operator answers.
    ///
    /// # Panics
    /// When it answers no JSON.
    pub fn ask(&self, words: &[&str]) -> Value {
        let output = Command::new(&self.program)
            .args(words)
            .args(["--format", "json", "--coordinator", &self.endpoint])
            .output()
            .unwrap();
        let answer = serde_json::from_slice(&output.stdout);
        answer.unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Starts a run and waits until it has completed; the run as it is shown then.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub fn complete(&self, recipe: &str) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recipe.toml");
        std::fs::write(&file, recipe).unwrap();
        let started = self.ask(&["run", "start", file.to_str().unwrap()]);
        let run = started["run"].as_str().expect("the run's id").to_owned();
        loop {
            let shown = self.ask(&["run", "show", &run]);
            match shown["state"].as_str() {
                Some("running") => std::thread::sleep(GLANCE),
                Some("completed") => return shown,
                _ => panic!("the run ended: {shown}"),
            }
        }
    }

    /// User and system time of the process in seconds, at the usual 100 ticks a second.
    ///
    /// # Panics
    /// When it is gone, or there is no `/proc`.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.process.0.id())
    }

    /// Status of a page of the admin address, over a connection of its own.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn page(&self, path: &str) -> u16 {
        status(&self.admin, path)
    }
}

/// Status of a page of an admin address, over a connection of its own.
///
/// # Panics
/// When it does not answer within a minute.
pub fn status(admin: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).map(str::parse);
    status.expect("a status").expect("a number")
}

/// User and system time of a process in seconds, at the usual 100 ticks a second.
///
/// # Panics
/// When it is gone, or there is no `/proc`.
pub fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

/// Devices of one process, which is killed when this goes.
pub struct Fleet {
    _process: Running,
}

impl Fleet {
    /// Starts so many devices of region `eu` against a server.
    ///
    /// # Panics
    /// When the program can't be started.
    pub fn start(program: &str, server: &Served, devices: usize) -> Self {
        let fleet = Command::new(program)
            .args(["device", "--region", "eu", "--seed", "1"])
            .args(["--count", &devices.to_string()])
            .args(["--coordinator", &server.endpoint])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            _process: Running(fleet.unwrap()),
        }
    }
}

/// A recipe in which all devices are in every round, with one step each. `mode` is `none` or `dp`.
pub fn recipe(devices: usize, rounds: usize, mode: &str) -> String {
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
