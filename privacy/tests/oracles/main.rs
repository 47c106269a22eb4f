//! Closed forms and distributions against reference values computed with independent tools.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

mod adaptive_clip;
mod ddg;
mod matrix;
mod pld;
mod rdp;
mod reference;
mod sampling;
mod series;
mod zcdp;
