//! Why an experiment does not reach its end.

use tributary_coordinator::ServerError;
use tributary_device_sim::FleetError;
use tributary_model::ModelError;

use crate::data::DataError;
use crate::output::OutputError;
use crate::partition::PartitionError;

/// Why a demo or an experiment does not reach its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The data can't be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data can't be split as asked.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The coordinator does not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The fleet does not start.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A model that was downloaded can't be read or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The report can't be written.
    #[error(transparent)]
    Report(#[from] OutputError),
    /// A setting makes no sense.
    #[error("{field} {problem}: {remedy}")]
    Setting {
        /// The setting.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// A temporary folder can't be made or removed.
    #[error("temporary folder: {0}; free some space or set TMPDIR to another place")]
    Folder(#[from] std::io::Error),
    /// The coordinator can't be reached.
    #[error("the coordinator can't be reached: {0}")]
    Connection(#[from] tonic::transport::Error),
    /// The coordinator refused a call.
    #[error("{call} was refused ({code:?}): {message}")]
    Call {
        /// The call.
        call: &'static str,
        /// The status code.
        code: tonic::Code,
        /// The coordinator's words.
        message: String,
    },
    /// A run ended before its last round.
    #[error("run {run} ended after round {round}: {reason}")]
    RunEnded {
        /// The run.
        run: String,
        /// Its last round.
        round: u32,
        /// Why.
        reason: String,
    },
    /// Something that must come did not come.
    #[error("{what} did not come within {seconds} s: {state}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// How things stood.
        state: String,
    },
    /// It was asked to end before there was anything to report.
    #[error("interrupted before there was anything to report: nothing was written")]
    Interrupted,
    /// An answer of the coordinator lacks something or does not hold together.
    #[error("the coordinator's answer to {call} {problem}")]
    Answer {
        /// The call.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl RunnerError {
    pub(crate) fn setting(
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Setting {
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
