//! A child as its parent sees it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tributary_store::EngineKind;

use super::Outcome;
use super::truth::{Mark, Truth};

/// Longest that a child may take to open, verify and end.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Exit code of a child that found the store open, silent and wrong.
pub const FAULT: u8 = 3;
/// Exit code of a child whose store refused.
pub const REFUSED: u8 = 4;

/// How children are started.
#[derive(Clone, Debug)]
pub struct Children {
    /// The program `store-torture`.
    pub program: PathBuf,
    /// Which store.
    pub engine: EngineKind,
    /// Of the workload and of every random choice.
    pub seed: u64,
}

impl Children {
    /// A command that verifies `folder` and then commits `batches` with each writer.
    pub fn command(&self, folder: &Path, expected: &Truth, batches: u64) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["work", "--engine", &self.engine.to_string()])
            .arg("--folder")
            .arg(folder)
            .args(["--seed", &self.seed.to_string()])
            .args(["--expected", &expected.to_string()])
            .args(["--batches", &batches.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Verifies a folder and says how that ended.
    ///
    /// # Errors
    /// When the child can't be started.
    pub fn verify(&self, folder: &Path, expected: &Truth) -> Outcome<Ended> {
        let mut child = Running::start(&mut self.command(folder, expected, 0))?;
        child.wait(PATIENCE)
    }
}

/// A child that runs.
pub struct Running {
    process: Process,
    started: Instant,
    marks: Receiver<(Duration, Mark)>,
    reader: Option<JoinHandle<()>>,
    errors: Option<JoinHandle<String>>,
    seen: Vec<Mark>,
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// What the operating system says; none when it had to be stopped because it hung.
    pub status: Option<ExitStatus>,
    /// All its marks.
    pub marks: Vec<Mark>,
    /// What it wrote to its standard error, the last 2,000 characters.
    pub errors: String,
}

impl Ended {
    /// Its exit code; none when a signal ended it or it hung.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// Whether it got so far that its store was open.
    pub fn opened(&self) -> bool {
        self.marks.contains(&Mark::Open)
    }

    /// What it says, in one line.
    pub fn summary(&self) -> String {
        let ended = match self.status {
            Some(status) => status.to_string(),
            None => format!("hung for {} s", PATIENCE.as_secs()),
        };
        format!("{ended}: {}", self.errors.trim().replace('\n', " | "))
    }
}

impl Running {
    /// Starts a child and listens to it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(command: &mut Command) -> Outcome<Self> {
        let mut process = command.spawn()?;
        let started = Instant::now();
        let piped = || std::io::Error::other("a child has no pipes");
        let output = process.stdout.take().ok_or_else(piped)?;
        let mut errors = process.stderr.take().ok_or_else(piped)?;
        let (sender, marks) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // a kill may cut the last line
                if let Ok(mark) = line.parse() {
                    let _ = sender.send((started.elapsed(), mark));
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            let text = String::from_utf8_lossy(&bytes);
            let skipped = text.chars().count().saturating_sub(2_000);
            text.chars().skip(skipped).collect()
        });
        Ok(Self {
            process,
            started,
            marks,
            reader: Some(reader),
            errors: Some(errors),
            seen: Vec::new(),
        })
    }

    /// Waits until the store is open, and says how long after the start that was; none when the child
    /// ends before, or hangs.
    pub fn wait_open(&mut self) -> Option<Duration> {
        let end = self.started + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.marks.recv_timeout(left) {
                Ok((after, mark)) => {
                    self.seen.push(mark);
                    if mark == Mark::Open {
                        return Some(after);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// SIGKILL, unless it has ended by itself.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub fn kill(&mut self) -> Outcome<Ended> {
        self.process.kill()?;
        let status = self.process.wait()?;
        self.ended(Some(status))
    }

    /// Waits for its end, and stops it when it hangs.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub fn wait(&mut self, patience: Duration) -> Outcome<Ended> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(status) = self.process.try_wait()? {
                return self.ended(Some(status));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.process.kill()?;
        self.process.wait()?;
        self.ended(None)
    }

    fn ended(&mut self, status: Option<ExitStatus>) -> Outcome<Ended> {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let errors = self.errors.take().and_then(|errors| errors.join().ok());
        let mut marks = std::mem::take(&mut self.seen);
        marks.extend(self.marks.try_iter().map(|(_, mark)| mark));
        Ok(Ended {
            status,
            marks,
            errors: errors.unwrap_or_default(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
