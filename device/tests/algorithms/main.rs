//! Every client algorithm over real gRPC: what arrives, against a computation of its own, and what
//! moves on the device when an update was counted, refused, or survived a restart.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

#[path = "../fake/mod.rs"]
mod fake;

mod clipped;
mod codecs;
mod limits;
mod local_noise;
mod personal;
mod plans;
mod reference;
mod restart;
mod stage;
mod stale;
mod stale_votes;
mod weighted;
mod with_state;
