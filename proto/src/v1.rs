//! Generated messages, clients and servers of package `tributary.v1`.
#![allow(
    missing_docs,
    reason = "the documentation of generated items is in the protos"
)]
#![allow(clippy::all, clippy::unwrap_used, reason = "generated code")]

tonic::include_proto!("tributary.v1");

/// The encoded file descriptor set, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/tributary.v1.bin"));
