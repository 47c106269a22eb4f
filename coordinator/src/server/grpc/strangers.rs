//! Streams that have not said who they are: so many over all connections, and always room for one more.
//!
//! When all places are taken, a newcomer gets one of those who have waited long: of the connection that has
//! most of them, the oldest. So whoever says at once who it is gets in, however many others hold their places.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Status};

use crate::error::CoordinatorError;

/// Who has waited for longer is sent away first, whatever its connection has: a first message is sent with
/// the head of its stream, and comes as soon.
const LONG: Duration = Duration::from_millis(500);
/// So many parts of the places are emptied at once.
const PARTS: usize = 64;
/// When to try again, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// The connection that a request came over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) u64);

impl Caller {
    fn of(extensions: &Extensions) -> Self {
        // none only beside a server
        extensions.get().copied().unwrap_or_default()
    }
}

/// The places of one kind of stream.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    /// What there is too much of, for those who are sent away.
    what: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    inside: BTreeMap<u64, Inside>,
}

#[derive(Debug)]
struct Inside {
    caller: Caller,
    since: Instant,
    sent_away: CancellationToken,
}

/// One stream's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
    sent_away: CancellationToken,
}

impl State {
    /// Empties so many places: of who waits long, by how many places its connection has of those, and then
    /// by age. Only where nobody waits long, of all.
    fn send_away(&mut self, places: usize) {
        let now = Instant::now();
        let waits_long = |inside: &Inside| now.saturating_duration_since(inside.since) >= LONG;
        // the oldest comes first
        let only_long = self.inside.values().next().is_some_and(waits_long);
        let candidates: Vec<_> = (self.inside.iter())
            .filter(|(_, inside)| !only_long || waits_long(inside))
            .map(|(number, inside)| (*number, inside.caller.0))
            .collect();
        let mut held: HashMap<u64, usize> = HashMap::new();
        for (_, connection) in &candidates {
            *held.entry(*connection).or_default() += 1;
        }
        let mut order: Vec<_> = candidates
            .into_iter()
            .map(|(number, connection)| (Reverse(held.get(&connection).copied()), number))
            .collect();
        order.sort_unstable();
        for (_, number) in order.into_iter().take(places) {
            if let Some(gone) = self.inside.remove(&number) {
                gone.sent_away.cancel();
            }
        }
    }
}

impl Strangers {
    pub(super) fn new(most: usize, what: &'static str) -> Arc<Self> {
        Arc::new(Self {
            most,
            what,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stream that just began; others lose theirs where there is none.
    pub(super) fn enter(self: &Arc<Self>, extensions: &Extensions) -> Stranger {
        let sent_away = CancellationToken::new();
        let mut state = self.lock();
        if state.inside.len() >= self.most {
            state.send_away((self.most / PARTS).max(1));
        }
        state.next += 1;
        let number = state.next;
        let inside = Inside {
            caller: Caller::of(extensions),
            since: Instant::now(),
            sent_away: sent_away.clone(),
        };
        state.inside.insert(number, inside);
        Stranger {
            strangers: self.clone(),
            number,
            sent_away,
        }
    }
}

impl Stranger {
    /// Waits for the first message of the stream, as long as the place is kept.
    ///
    /// # Errors
    /// `late` when it does not come in time; when others need the place, that it must come again; and what
    /// the stream says.
    pub(super) async fn first<T>(
        &self,
        message: impl Future<Output = Result<T, Status>>,
        within: Duration,
        late: CoordinatorError,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            first = tokio::time::timeout(within, message) => match first {
                Ok(first) => first.map_err(|status| super::unreadable(&status)),
                Err(_) => Err(late.into()),
            },
            () = self.sent_away.cancelled() => Err(CoordinatorError::Busy {
                what: self.strangers.what,
                retry_after_ms: RETRY_MS,
            }
            .into()),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.lock().inside.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(connection: u64) -> Extensions {
        let mut extensions = Extensions::default();
        extensions.insert(Caller(connection));
        extensions
    }

    fn is_gone(stranger: &Stranger) -> bool {
        stranger.sent_away.is_cancelled()
    }

    #[tokio::test]
    async fn a_newcomer_gets_the_place_of_the_oldest_of_the_connection_that_has_most() {
        let strangers = Strangers::new(128, "too many");
        let honest: Vec<_> = (0..20).map(|_| strangers.enter(&over(1))).collect();
        let greedy: Vec<_> = (0..108).map(|_| strangers.enter(&over(2))).collect();
        assert_eq!(strangers.lock().inside.len(), 128);
        let newcomer = strangers.enter(&over(3));
        assert_eq!(greedy.iter().filter(|one| is_gone(one)).count(), 2);
        assert!(is_gone(&greedy[0]) && is_gone(&greedy[1]));
        assert!(!honest.iter().any(is_gone) && !is_gone(&newcomer));
        drop((honest, greedy, newcomer));
        assert!(strangers.lock().inside.is_empty());
    }

    #[tokio::test]
    async fn who_waits_long_goes_before_a_gateway_whose_devices_all_come_at_once() {
        let strangers = Strangers::new(64, "too many");
        let slow: Vec<_> = (0..32)
            .map(|connection| strangers.enter(&over(100 + connection)))
            .collect();
        tokio::time::sleep(LONG).await;
        let gateway: Vec<_> = (0..64).map(|_| strangers.enter(&over(1))).collect();
        assert!(slow.iter().all(is_gone));
        assert!(!gateway.iter().any(is_gone));
    }

    #[tokio::test]
    async fn the_first_message_comes_or_the_place_is_needed_or_time_is_over() {
        let strangers = Strangers::new(1, "too many streams");
        let late = || CoordinatorError::Slow {
            what: "the hello",
            remedy: "send it",
        };
        let within = Duration::from_millis(100);
        let first = strangers.enter(&over(1));
        let come = first.first(async { Ok(7) }, within, late()).await;
        assert_eq!(come.unwrap(), 7);
        let never = std::future::pending::<Result<u8, Status>>;
        let status = first.first(never(), within, late()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        let _second = strangers.enter(&over(2));
        let status = first.first(never(), within, late()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.message().contains("too many streams"), "{status:?}");
    }
}
