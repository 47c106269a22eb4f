//! Why an audit does not reach its verdicts.

use tributary_coordinator::ServerError;
use tributary_device::{AgentError, ConnectionsError};
use tributary_model::ModelError;
use tributary_privacy::ftrl::FtrlError;
use tributary_privacy::{AccountingError, VectorError};

use crate::output::OutputError;
use crate::runner::RunnerError;

/// Why a recipe of an audit is refused or not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A setting makes no sense.
    #[error("{field} {problem}: {remedy}")]
    Setting {
        /// The key of the recipe.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// A run does not reach its end, or an answer of the coordinator does not hold together.
    #[error("{run}: {source}")]
    Run {
        /// What was being run.
        run: String,
        /// Why.
        source: Box<RunnerError>,
    },
    /// A device can't be made.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The coordinator's address can't be used.
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    /// The coordinator does not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The model can't be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A privacy quantity can't be computed.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// The grid of a round can't be made.
    #[error(transparent)]
    Grid(#[from] VectorError),
    /// The matrix of correlated noise can't be worked out.
    #[error(transparent)]
    Correlation(#[from] FtrlError),
    /// A covariance that is predicted is none.
    #[error("the predicted covariance of {mechanism} is not positive definite; this is a bug")]
    Covariance {
        /// The mechanism.
        mechanism: String,
    },
    /// The outcome can't be written.
    #[error(transparent)]
    Report(#[from] OutputError),
}

impl AuditError {
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

    /// Says which run an error belongs to.
    pub(crate) fn in_run(run: &str) -> impl FnOnce(RunnerError) -> Self {
        move |source| Self::Run {
            run: run.to_owned(),
            source: Box::new(source),
        }
    }
}
