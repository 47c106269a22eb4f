//! How much of everything one coordinator takes.

use std::time::Duration;

/// Limits on what strangers may take up. Zero means no limit where a field says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of devices and operators together.
    pub connections: usize,
    /// Of those from one address; loopback is not counted, since everything behind a proxy on this
    /// machine comes from there. 0 is no limit.
    pub connections_per_peer: usize,
    /// Streams that one connection may carry: a gateway's device has one for its session and one for an
    /// upload or a download, so a connection is for 500 devices. HTTP/2 keeps about 2 kB for each stream
    /// that was begun and not answered yet, so `connections` times this is what a flood can take up.
    pub streams_per_connection: u32,
    /// Streams that may be open at once over all connections; the last eighth is for connections with
    /// fewer than eight.
    pub streams: usize,
    /// How long a connection may take to say that it speaks HTTP/2, and a stream to say hello or to
    /// announce its upload.
    pub hello: Duration,
    /// How long the request of a call that is no stream may take to arrive.
    pub request: Duration,
    /// How often a silent connection is asked for a sign of life; it is closed when none comes within
    /// the same time.
    pub keepalive: Duration,
    /// Devices that may be enrolled in all.
    pub devices: usize,
    /// Bytes of different profiles and lists of tasks that are kept of devices; what many say is kept
    /// once.
    pub profile_bytes: usize,
    /// New devices per second; ten seconds' worth may come at once.
    pub enrolments_per_second: u32,
    /// Bytes of updates that may be in memory at once, over all devices; one update may be larger, and
    /// is then alone.
    pub upload_bytes: usize,
    /// Bytes of requests that may be on their way at once, over all connections; an import is not
    /// counted, there is one at a time.
    pub arriving_bytes: usize,
    /// Bytes of answers that may wait at once for their receivers to take them; a connection has at
    /// most 16 MiB of it.
    pub leaving_bytes: usize,
    /// How long one part of an answer may wait before its connection is closed; a sixth of it while
    /// others wait for the room.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_peer: 1_024,
            streams_per_connection: 1_024,
            streams: 131_072,
            hello: Duration::from_secs(10),
            request: Duration::from_secs(30),
            keepalive: Duration::from_secs(20),
            devices: 1_000_000,
            profile_bytes: 64 * 1024 * 1024,
            enrolments_per_second: 2_000,
            upload_bytes: 64 * 1024 * 1024,
            arriving_bytes: 64 * 1024 * 1024,
            leaving_bytes: 64 * 1024 * 1024,
            answer: Duration::from_secs(120),
        }
    }
}
