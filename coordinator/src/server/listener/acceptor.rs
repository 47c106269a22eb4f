//! Accepting connections: within the places there are, and without spinning when the process has no
//! descriptor left.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::server::listener::guarded::{Guarded, Patience};
use crate::server::listener::places::Places;

/// Wait after an accept that failed: the next would fail as well.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// How long fewer connections are taken after there was no descriptor left.
const RECOVERY: Duration = Duration::from_secs(30);
/// Shortest time between two lines of the log about refused connections.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A listener with a limited number of places.
pub(in crate::server) struct Door {
    listener: TcpListener,
    name: &'static str,
    places: Arc<Places>,
    patience: Patience,
    /// Cuts every connection that came through this door.
    cut: CancellationToken,
    /// Given up for a moment to accept, and close, a connection when no descriptor is left; without
    /// it those who wait would never hear that they can't come in.
    spare: Option<File>,
    refused: Refused,
    /// When there was no descriptor left.
    exhausted: Option<Instant>,
}

/// Connections that were turned away since the last line of the log.
#[derive(Default)]
struct Refused {
    count: u64,
    logged: Option<Instant>,
}

impl Door {
    pub(in crate::server) fn new(
        name: &'static str,
        listener: TcpListener,
        places: Arc<Places>,
        patience: Patience,
        cut: CancellationToken,
    ) -> Self {
        Self {
            listener,
            name,
            places,
            patience,
            cut,
            spare: spare(),
            refused: Refused::default(),
            exhausted: None,
        }
    }

    /// The next connection that has a place.
    pub(in crate::server) async fn next(&mut self) -> (Guarded, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if self.exhausted.is_some_and(|last| last.elapsed() > RECOVERY) {
                        self.exhausted = None;
                        self.places.recover();
                    }
                    let Some(place) = self.places.take(peer.ip()) else {
                        drop(stream);
                        self.refused.note(self.name, "all places are taken");
                        continue;
                    };
                    // an address that is not told keeps its delay
                    let _ = stream.set_nodelay(true);
                    let guarded = Guarded::new(stream, place, self.patience, self.cut.clone());
                    return (guarded, peer);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.exhausted = Some(Instant::now());
                    self.places.shrink();
                    self.turn_one_away().await;
                    self.refused.note(self.name, &error.to_string());
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    /// Closes one of those who wait, with the spare descriptor.
    async fn turn_one_away(&mut self) {
        if self.spare.take().is_some() {
            // it may be gone by now, then nobody waits
            let accepted = timeout(Duration::from_millis(1), self.listener.accept()).await;
            drop(accepted);
        }
        self.spare = spare();
    }

    /// All connections, one after the other; never ends.
    pub(in crate::server) fn connections(self) -> impl Stream<Item = io::Result<Guarded>> + Send {
        futures::stream::unfold(self, |mut door| async move {
            let (connection, _) = door.next().await;
            Some((Ok(connection), door))
        })
    }

    /// The next connection, with the spare descriptor when there is no other: the admin page answers
    /// when the process has none left.
    pub(in crate::server) async fn next_even_without_descriptors(
        &mut self,
    ) -> (Guarded, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return self.admit(stream, peer),
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => self.refused.note(self.name, &error.to_string()),
            }
            if self.spare.take().is_some() {
                let accepted = timeout(Duration::from_millis(1), self.listener.accept()).await;
                if let Ok(Ok((stream, peer))) = accepted {
                    return self.admit(stream, peer);
                }
            }
            sleep(AFTER_FAILURE).await;
            self.spare = spare();
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> (Guarded, SocketAddr) {
        self.spare = self.spare.take().or_else(spare);
        let place = self.places.take(peer.ip());
        (
            Guarded::with_place(stream, place, self.patience, self.cut.clone()),
            peer,
        )
    }
}

impl Refused {
    fn note(&mut self, door: &str, why: &str) {
        self.count += 1;
        if self
            .logged
            .is_some_and(|logged| logged.elapsed() < LOG_EVERY)
        {
            return;
        }
        tracing::warn!(
            door,
            why,
            connections = self.count,
            "connections are refused"
        );
        (self.count, self.logged) = (0, Some(Instant::now()));
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether an error of `accept` is about one connection that went away, and not about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
