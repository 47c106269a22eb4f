//! Everything that can be wrong with what the caller hands in.

use crate::quantity_id::QuantityId;
use crate::verdict::{DriftId, Verdict};

/// Why an input was refused. The monitor's state is unchanged whenever one of these is returned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DriftError {
    /// The definition of a quantity can't be used.
    #[error("quantity `{name}`: {reason}")]
    BadQuantity {
        /// Name of the quantity.
        name: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// The counts of a histogram contradict each other.
    #[error("histogram of `{quantity}`: {reason}")]
    BadHistogram {
        /// Quantity it claims to count.
        quantity: QuantityId,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// Two histograms count different things, or the same thing with other edges.
    #[error(
        "histogram of `{found}` can't be combined with one of `{expected}`: the names or edges differ; \
         rebase the monitor after a change of edges"
    )]
    DifferentQuantities {
        /// What was needed.
        expected: QuantityId,
        /// What was given.
        found: QuantityId,
    },
    /// A sum left the range in which counts are exact.
    #[error("histogram of `{quantity}`: the sum passes 2^53; merge fewer windows")]
    Overflow {
        /// Quantity that was summed.
        quantity: QuantityId,
    },
    /// A comparison needs at least one device on both sides.
    #[error("histogram of `{quantity}` counts no device; wait for a window with devices")]
    Empty {
        /// Quantity that was compared.
        quantity: QuantityId,
    },
    /// A setting is out of its range.
    #[error("`{field}` is {value}: {remedy}")]
    BadConfig {
        /// Name of the setting.
        field: &'static str,
        /// Value it has.
        value: String,
        /// What is allowed.
        remedy: &'static str,
    },
    /// A window came twice, or after a later one.
    #[error("window {window} comes after window {last}: send each window once, in order")]
    WindowOutOfOrder {
        /// Window that was sent.
        window: u64,
        /// Last window that was observed.
        last: u64,
    },
    /// One window holds two histograms of the same quantity.
    #[error("window holds `{quantity}` twice: merge its histograms first")]
    DuplicateQuantity {
        /// Quantity that came twice.
        quantity: QuantityId,
    },
    /// The histogram's quantity isn't monitored in this region.
    #[error(
        "`{quantity}` isn't monitored in region `{region}`: add it when the monitor is created"
    )]
    UnknownQuantity {
        /// Quantity that was sent.
        quantity: QuantityId,
        /// Region of the monitor.
        region: String,
    },
    /// The verdict doesn't allow the step.
    #[error("can't {step} in region `{region}` while its verdict is {verdict}")]
    IllegalStep {
        /// Step that was asked for.
        step: &'static str,
        /// Region of the monitor.
        region: String,
        /// Verdict that forbids it.
        verdict: Verdict,
    },
    /// The step names another drift than the one that is open.
    #[error("drift `{given}` isn't the open one{}: read the monitor again", .open.as_ref().map(|id| format!(" (`{id}`)")).unwrap_or_default())]
    WrongDrift {
        /// Drift that was named.
        given: DriftId,
        /// Drift that is open, if any.
        open: Option<DriftId>,
    },
}
