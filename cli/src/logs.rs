//! Logs on standard error, written by a thread of its own ([`queue`]).

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use self::queue::{LogQueue, WAITING_BYTES};
use crate::output;

/// How long the end of the process waits for lines that are not written yet.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Where lines go once logging has begun.
static LOG: OnceLock<LogQueue> = OnceLock::new();

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging; `RUST_LOG` decides what is logged, `level` where it is not set.
pub fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let confession = match format {
        LogFormat::Text => |lost| format!("{}\n", lost_lines(lost)),
        LogFormat::Json => |lost| {
            format!(
                "{{\"level\":\"WARN\",\"message\":\"{}\"}}\n",
                lost_lines(lost)
            )
        },
    };
    let queue = LOG.get_or_init(|| LogQueue::to_stderr(confession));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue.clone())
        // it would say on standard error, with a panic, that standard error can't be written
        .log_internal_errors(false)
        .with_ansi(output::Palette::stderr().is_on());
    // a second start, in a test of this process, keeps the first one's settings
    let _ = match format {
        LogFormat::Text => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
}

fn lost_lines(lost: u64) -> String {
    format!(
        "{lost} lines of the log are missing before this one: they could not be written, or more than \
         {WAITING_BYTES} bytes waited for a reader"
    )
}

/// Says a sentence on standard error among the lines of the log, without waiting for a reader.
pub fn say(sentence: &str) {
    match LOG.get() {
        Some(queue) => queue.push(format!("{}\n", output::fitting_stderr(sentence)).as_bytes()),
        None => output::to_stderr(sentence),
    }
}

/// Panics are told in the log as well: the usual hook waits for a reader.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let mut told = format!("thread '{}' {panic}", thread.name().unwrap_or("unnamed"));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            told.push_str(&format!("\nstack backtrace:\n{trace}"));
        }
        say(&told);
        // the process may end with it before the log's thread has its turn
        if thread.name() == Some("main") {
            flush();
        }
    }));
}

/// Waits for a moment until what was logged is written.
pub fn flush() {
    if let Some(queue) = LOG.get() {
        queue.flush(LAST_LINES);
    }
}
