//! Signals that ask for an end in good order.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for SIGINT, SIGTERM, or SIGHUP, which a terminal sends when it is closed.
pub async fn stop_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut hangup = hangup()?;
    let closed = async {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = closed => {}
    }
    Ok(())
}

/// SIGHUP; none under `nohup`, which wants the process to outlive its terminal.
fn hangup() -> Result<Option<Signal>> {
    if is_hangup_ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
        return Ok(None);
    }
    let hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    Ok(Some(hangup))
}

/// Reads the mask of ignored signals, in which signal n is bit n - 1 (proc_pid_status(5)). False where it is
/// not told, as on systems without that file.
fn is_hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_nohup_the_hangup_is_seen_to_be_ignored() {
        let status = |mask: &str| format!("Name:\ttributary\nSigIgn:\t{mask}\nSigCgt:\t1\n");
        assert!(is_hangup_ignored(&status("0000000000001001")));
        assert!(!is_hangup_ignored(&status("0000000000001000")));
        assert!(!is_hangup_ignored(""));
    }
}
