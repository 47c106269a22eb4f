//! End-to-end tests of the whole product: the real server, real gRPC over loopback, real devices.
//!
//! The tests are in `tests/end_to_end/`, one file per promise; `oracles/` holds reference values.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
