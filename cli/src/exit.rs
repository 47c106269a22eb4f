//! Exit codes, and errors that know theirs.

use std::fmt;
use std::process::ExitCode;

use serde_json::json;
use tributary_experiments::runner::RunnerError;

use crate::output::{self, Format, Output, Tone};

/// How the command ended. The numbers are fixed: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Done = 0,
    /// The command or the run failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The coordinator does not answer.
    Unreachable = 3,
    /// The coordinator refused.
    Refused = 4,
    /// The run was stopped before its last round.
    Incomplete = 5,
    /// Nobody reads standard output any more, and how it ended was not seen: 128 + SIGPIPE, as shells
    /// count it.
    Unread = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with its exit code: one sentence with the remedy.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong and what to do.
    pub sentence: String,
    /// The stable code, for example `TRB-0200`; see docs/errors.md.
    pub code: Option<String>,
}

impl Failure {
    /// A failure without a stable code.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
            code: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// What to say of work that did not reach its end; being asked to end is no failure.
pub fn unfinished(what: &'static str) -> impl Fn(RunnerError) -> anyhow::Error {
    move |error| match error {
        RunnerError::Interrupted => Failure::new(Exit::Incomplete, error.to_string()).into(),
        error => anyhow::Error::from(error).context(format!("{what} did not reach its end")),
    }
}

/// Says on standard error what went wrong and gives the exit code. A reader of standard output that
/// went away (`| head`) is no error.
pub fn report(error: &anyhow::Error, output: Output) -> ExitCode {
    if is_broken_pipe(error) {
        return Exit::Done.into();
    }
    let failure = error.downcast_ref::<Failure>();
    let exit = failure.map_or(Exit::Failed, |failure| failure.exit);
    let code = failure.and_then(|failure| failure.code.as_deref());
    let sentence = format!("{error:#}");
    match output.format {
        Format::Json => {
            let body = json!({ "error": sentence, "code": code, "exit": exit as u8 });
            output::json_to_stderr(&body.to_string());
        }
        Format::Human => {
            let colours = output.errors;
            let code =
                code.map(|code| format!(" {}", colours.paint(Tone::Dim, &format!("[{code}]"))));
            let label = colours.paint(Tone::Bad, "error:");
            output::to_stderr(&format!("{label} {sentence}{}", code.unwrap_or_default()));
        }
    }
    exit.into()
}

/// True when standard output was closed by its reader.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_recognised_through_its_context() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(
            &anyhow::Error::from(closed).context("printing")
        ));
        assert!(!is_broken_pipe(&anyhow::anyhow!("another")));
    }
}
