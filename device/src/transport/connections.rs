//! A few HTTP/2 connections that many agents share.
//!
//! tonic's channel reconnects by itself, but not well after every kind of end (grpc-rust #1683 and
//! #2185): after several failures in a row the channel is thrown away and built anew.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// Failures in a row after which a channel is rebuilt.
const REBUILD_AFTER: u32 = 3;

/// Window of one stream. Small, since thousands of streams may share a process.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Window of one connection.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Largest frame; 256 KiB chunks cost least processor time in frames that hold them whole.
const FRAME: u32 = 1024 * 1024 - 1;

/// Why connections can't be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionsError {
    /// The address can't be read.
    #[error("coordinator {address:?} is not an address: write it like http://127.0.0.1:7070")]
    Address {
        /// The text given.
        address: String,
    },
}

/// Connections to one coordinator.
#[derive(Debug)]
pub struct Connections {
    endpoint: Endpoint,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    channel: Mutex<(u64, Channel)>,
    failures: AtomicU32,
}

/// A channel and the generation it belongs to.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The channel.
    pub channel: Channel,
    line: usize,
    generation: u64,
}

impl Connections {
    /// Sets up `count` connections (at least one) to `address`. They open when they are first
    /// used. Must be called inside a tokio runtime.
    pub fn new(address: &str, count: usize) -> Result<Self, ConnectionsError> {
        let wrong = || ConnectionsError::Address {
            address: address.chars().take(200).collect(),
        };
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| wrong())?;
        let has_host = endpoint.uri().host().is_some_and(|host| !host.is_empty());
        if !has_host || endpoint.uri().scheme().is_none() {
            return Err(wrong());
        }
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            // thousands of agents reset streams over the life of one connection
            .http2_max_local_error_reset_streams(None::<usize>);
        let lines = (0..count.max(1))
            .map(|_| Line {
                channel: Mutex::new((0, endpoint.connect_lazy())),
                failures: AtomicU32::new(0),
            })
            .collect();
        Ok(Self { endpoint, lines })
    }

    /// The channel for the agent with this number; agents are spread over all connections.
    pub fn lease(&self, agent: u64) -> Leased {
        let line = (agent % self.lines.len() as u64) as usize;
        let guard = self.lines[line]
            .channel
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Leased {
            channel: guard.1.clone(),
            line,
            generation: guard.0,
        }
    }

    /// Says that a call went through.
    pub fn succeeded(&self, leased: &Leased) {
        self.lines[leased.line].failures.store(0, Ordering::Relaxed);
    }

    /// Says that a call failed in transport; rebuilds the channel after several in a row. Calls
    /// of an older channel do not count, so that one break does not rebuild many times.
    pub fn failed(&self, leased: &Leased) {
        let line = &self.lines[leased.line];
        let mut guard = line.channel.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.0 != leased.generation {
            return;
        }
        if line.failures.fetch_add(1, Ordering::Relaxed) + 1 >= REBUILD_AFTER {
            line.failures.store(0, Ordering::Relaxed);
            *guard = (leased.generation + 1, self.endpoint.connect_lazy());
        }
    }

    /// Number of connections.
    pub fn count(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn agents_are_spread_over_all_connections() {
        let connections = Connections::new("http://127.0.0.1:1", 4).unwrap();
        let lines: Vec<_> = (0..8).map(|agent| connections.lease(agent).line).collect();
        assert_eq!(lines, [0, 1, 2, 3, 0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_channel_is_rebuilt_once_after_several_failures() {
        let connections = Connections::new("http://127.0.0.1:1", 1).unwrap();
        let old = connections.lease(0);
        for _ in 0..REBUILD_AFTER {
            assert_eq!(connections.lease(0).generation, 0);
            connections.failed(&old);
        }
        assert_eq!(connections.lease(0).generation, 1);
        for _ in 0..100 {
            connections.failed(&old);
        }
        assert_eq!(connections.lease(0).generation, 1);
    }

    #[tokio::test]
    async fn text_that_is_no_address_is_refused_with_an_example() {
        for address in ["", "nonsense", "127.0.0.1:7070", "http://"] {
            let error = Connections::new(address, 1).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:7070"), "{error}");
        }
    }
}
