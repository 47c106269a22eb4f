//! End-to-end tests of the whole product: the real server, real gRPC over loopback, real devices.
//!
//! The tests are in `tests/end_to_end/`, one file per promise; `oracles/` holds reference values.
//! What they share with the measuring programs in `src/bin`:
//!
//! - [`measured`]: a server and a fleet as processes
//! - [`preload`]: libraries that stand between a program and its disk
//! - [`torture`]: the store under kills, flipped bytes and power cuts
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod measured;
pub mod preload;
pub mod torture;
