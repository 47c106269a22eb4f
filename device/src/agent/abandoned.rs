//! An assignment that is given back, and the words for it.

use crate::state::permit::PermitError;

/// An assignment that will not be finished: the word for the coordinator and the counted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Abandoned {
    pub(crate) reason: &'static str,
    pub(crate) because: &'static str,
    /// What the device is not made for, by name.
    pub(crate) detail: Option<String>,
}

pub(crate) const fn failed(because: &'static str) -> Abandoned {
    Abandoned {
        reason: "failed",
        because,
        detail: None,
    }
}

/// The device is not made for what it is asked: says nothing but what it declares and what was asked.
pub(crate) fn unfit(because: &'static str, detail: String) -> Abandoned {
    Abandoned {
        reason: "configuration",
        because,
        detail: Some(detail),
    }
}

impl From<&PermitError> for Abandoned {
    fn from(error: &PermitError) -> Self {
        Self {
            reason: match error {
                PermitError::Limit(_) => "limit",
                PermitError::Record(_) | PermitError::Crashed => "failed",
            },
            ..failed(error.reason())
        }
    }
}
