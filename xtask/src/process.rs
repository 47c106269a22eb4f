//! Commands whose output is shown as it comes and kept for reading.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};

/// A command that ended.
pub struct Finished {
    /// Whether it exited with 0.
    pub succeeded: bool,
    /// Its lines, standard output first.
    pub lines: Vec<String>,
}

/// Runs a command with its output going straight through.
pub fn run(command: &mut Command) -> Result<bool> {
    announce(command);
    let status = command
        .status()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    Ok(status.success())
}

/// Runs a command, shows what it prints and keeps it.
pub fn run_kept(command: &mut Command) -> Result<Finished> {
    announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let errors = thread::spawn(move || stderr.map(|pipe| keep(pipe, std::io::stderr())));
    let mut lines = stdout
        .map(|pipe| keep(pipe, std::io::stdout()))
        .unwrap_or_default();
    // a reader that panicked has nothing to add
    lines.extend(errors.join().ok().flatten().unwrap_or_default());
    Ok(Finished {
        succeeded: child.wait()?.success(),
        lines,
    })
}

/// Runs a command and says only whether it succeeded.
pub fn quiet(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn keep(pipe: impl Read, mut screen: impl Write) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while reader
        .read_until(b'\n', &mut bytes)
        .is_ok_and(|length| length > 0)
    {
        // a closed screen must not stop the command
        let _ = screen.write_all(&bytes).and_then(|()| screen.flush());
        lines.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        bytes.clear();
    }
    lines
}

fn announce(command: &Command) {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or(&program).to_owned();
    let words = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    println!(
        "$ {}",
        std::iter::once(name)
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    );
}
