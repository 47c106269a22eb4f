//! The binary and a coordinator, for tests that see them as scripts do.
#![allow(dead_code, reason = "no file uses all of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Runs the binary to its end.
pub fn tributary(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(words).stdin(Stdio::null());
    command
        .env_remove("TRIBUTARY_COORDINATOR")
        .env_remove("RUST_LOG");
    command.output().unwrap()
}

/// Exit code, standard output, standard error.
pub fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A coordinator on a free port; stopped in order when dropped.
pub struct Served {
    process: Child,
    /// Where it listens.
    pub url: String,
    _data: tempfile::TempDir,
}

impl Served {
    /// Starts it, in a folder of its own.
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args([
                "serve",
                "--format",
                "json",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(data.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap();
        let listen = announced["listen"].as_str().unwrap().to_owned();
        Self {
            process,
            url: format!("http://{listen}"),
            _data: data,
        }
    }

    /// A client verb against this coordinator.
    pub fn ask(&self, words: &[&str]) -> (i32, String, String) {
        parts(&tributary(&[words, &["--coordinator", &self.url]].concat()))
    }

    /// The same verb's answer as JSON; it must be there.
    pub fn json(&self, words: &[&str]) -> Value {
        let (code, stdout, stderr) = self.ask(&[words, &["--format", "json"]].concat());
        assert_eq!(code, 0, "{words:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}
