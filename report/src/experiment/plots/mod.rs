//! The plots of an experiment's report.

mod accuracy;
mod colour;
mod drift;
mod epsilon;
mod flags;
mod wire;

pub(crate) use accuracy::{accuracy, journey};
pub(crate) use drift::drift;
pub(crate) use epsilon::epsilon;
pub(crate) use wire::wire;
