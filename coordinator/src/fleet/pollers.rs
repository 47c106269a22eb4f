//! Devices that poll: what waits for each, and which of them can be expected back.
//!
//! Every poll is answered with the window in which the next one is due. A device that lets it pass by
//! more than [`GRACE`] has gone away: it is not within reach, and its mailbox is dropped. Should it
//! come back, what it has not answered is sent to it again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::DeviceId;
use tributary_proto::v1::Directive;
use tributary_proto::v1::directive::Directive as Order;

use super::mailbox::Mailbox;

/// A poll comes back at the earliest after this.
const POLL_AFTER: Duration = Duration::from_millis(500);
/// Polls of a fleet are spread so that at most so many come per second.
const POLLS_PER_SECOND: u32 = 2_000;
/// How late a poll may be: a link that is slow to come up, or a processor that is busy.
pub const GRACE: Duration = Duration::from_secs(5);

/// A device that polls.
struct Poller {
    mailbox: Mailbox,
    /// The last moment at which its next poll is expected.
    back_by: Instant,
    /// When the queue looks at it again.
    looked_at: Instant,
}

/// The devices of one fleet that poll. Every call takes time that does not grow with their number, but
/// for the logarithm of it now and then.
pub struct Pollers {
    pollers: HashMap<DeviceId, Poller>,
    /// When to look at each; entries that are not its `looked_at` are stale.
    queue: BinaryHeap<Reverse<(Instant, DeviceId)>>,
    /// Answers of a new mailbox are numbered from here on, so that no number is one that its device got
    /// from a mailbox before it.
    first_answer: u64,
    /// Entries of the queue that were looked at.
    #[cfg(test)]
    looks: usize,
}

impl Pollers {
    /// None yet; their answers are numbered from `first_answer` on.
    pub fn new(first_answer: u64) -> Self {
        Self {
            pollers: HashMap::new(),
            queue: BinaryHeap::new(),
            first_answer,
            #[cfg(test)]
            looks: 0,
        }
    }

    /// Notes a poll of a device that got the answer with the number `received` last; the number of the
    /// new answer, and what is in it.
    pub fn poll(&mut self, id: &DeviceId, received: u64, now: Instant) -> (u64, Vec<Directive>) {
        self.forget_gone(now);
        let (_, latest) = self.window();
        let back_by = now + latest + GRACE;
        if let Some(poller) = self.pollers.get_mut(id) {
            poller.back_by = back_by;
            return poller.mailbox.poll(received);
        }
        let mut mailbox = Mailbox::new(self.first_answer);
        let answer = mailbox.poll(received);
        let poller = Poller {
            mailbox,
            back_by,
            looked_at: back_by,
        };
        self.pollers.insert(id.clone(), poller);
        self.queue.push(Reverse((back_by, id.clone())));
        answer
    }

    /// The window in which a device that polls now is to poll again, from its answer on.
    pub fn window(&self) -> (Duration, Duration) {
        let pollers = u32::try_from(self.pollers.len()).unwrap_or(u32::MAX);
        let spread = Duration::from_secs(1) * pollers / POLLS_PER_SECOND;
        (POLL_AFTER, POLL_AFTER + spread.max(POLL_AFTER))
    }

    /// Puts a directive into a device's mailbox; false when it has none, or a full one.
    pub fn push(&mut self, id: &DeviceId, directive: Directive, now: Instant) -> bool {
        self.forget_gone(now);
        let poller = self.pollers.get_mut(id);
        poller.is_some_and(|poller| poller.mailbox.push(directive))
    }

    /// Forgets orders that a device has answered.
    pub fn answered(&mut self, id: &DeviceId, is_answered: impl Fn(&Order) -> bool) {
        if let Some(poller) = self.pollers.get_mut(id) {
            poller.mailbox.answered(is_answered);
        }
    }

    /// True when a poll shows that the device has forgotten what it got.
    pub fn has_restarted(&self, id: &DeviceId, received: u64) -> bool {
        let poller = self.pollers.get(id);
        poller.is_some_and(|poller| poller.mailbox.has_restarted(received))
    }

    /// Drops a device's mailbox: it holds a session now, or went away.
    pub fn remove(&mut self, id: &DeviceId) {
        if let Some(poller) = self.pollers.remove(id) {
            self.first_answer = self.first_answer.max(poller.mailbox.number());
        }
    }

    /// True when the device can be expected back.
    pub fn is_here(&self, id: &DeviceId, now: Instant) -> bool {
        let poller = self.pollers.get(id);
        poller.is_some_and(|poller| now <= poller.back_by)
    }

    /// Devices that can be expected back, in no order.
    pub fn here(&self, now: Instant) -> impl Iterator<Item = &DeviceId> {
        let is_fresh = move |poller: &Poller| now <= poller.back_by;
        let pollers = self.pollers.iter();
        pollers.filter_map(move |(id, poller)| is_fresh(poller).then_some(id))
    }

    /// Drops the mailboxes of devices that went away.
    fn forget_gone(&mut self, now: Instant) {
        while let Some(Reverse((due, _))) = self.queue.peek()
            && *due < now
        {
            let Some(Reverse((due, id))) = self.queue.pop() else {
                return;
            };
            #[cfg(test)]
            {
                self.looks += 1;
            }
            let Some(poller) = self.pollers.get_mut(&id) else {
                continue;
            };
            if poller.looked_at != due {
                continue; // of a mailbox that was dropped and made anew
            }
            if poller.back_by < now {
                self.remove(&id);
            } else {
                poller.looked_at = poller.back_by;
                self.queue.push(Reverse((poller.back_by, id)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::device;

    #[test]
    fn a_poller_is_here_for_its_window_and_a_grace_and_then_leaves_nothing() {
        let mut pollers = Pollers::new(7);
        let begun = Instant::now();
        pollers.poll(&device(1), 0, begun);
        assert!(pollers.push(&device(1), Directive::default(), begun));
        let (_, latest) = pollers.window();
        let last = begun + latest + GRACE;
        assert!(pollers.is_here(&device(1), last));
        let gone = last + Duration::from_millis(1);
        assert!(!pollers.is_here(&device(1), gone));
        assert_eq!(pollers.here(gone).count(), 0);
        assert!(!pollers.push(&device(1), Directive::default(), gone));
        assert_eq!((pollers.pollers.len(), pollers.queue.len()), (0, 0));
        assert!(
            pollers.poll(&device(1), 0, gone).1.is_empty(),
            "sent anew instead"
        );
    }

    #[test]
    fn a_poller_that_comes_back_in_time_keeps_its_mailbox_and_one_place_in_the_queue() {
        let mut pollers = Pollers::new(7);
        let mut now = Instant::now();
        for number in 0..50 {
            pollers.poll(&device(number), 0, now);
        }
        for _ in 0..100 {
            now += Duration::from_secs(1);
            for number in 0..50 {
                assert!(pollers.push(&device(number), Directive::default(), now));
                assert!(!pollers.poll(&device(number), 0, now).1.is_empty());
            }
        }
        assert_eq!((pollers.pollers.len(), pollers.queue.len()), (50, 50));
        // sessions in between leave stale entries, which go with time
        for _ in 0..100 {
            now += Duration::from_secs(1);
            pollers.remove(&device(0));
            pollers.poll(&device(0), 0, now);
        }
        assert!(pollers.queue.len() < 70, "{}", pollers.queue.len());
    }

    #[test]
    fn a_poll_looks_at_no_more_devices_in_a_large_fleet_than_in_a_small_one() {
        const POLLS: usize = 20;
        for devices in [10, 100, 10_000] {
            let mut pollers = Pollers::new(7);
            let mut now = Instant::now();
            let mut most = 0;
            for _ in 0..POLLS {
                for number in 0..devices {
                    let before = pollers.looks;
                    pollers.poll(&device(number), 0, now);
                    most = most.max(pollers.looks - before);
                }
                now += pollers.window().1;
            }
            // at most one device for each poll, whoever's poll that is and however many there are
            assert!(
                pollers.looks <= POLLS * devices,
                "{} looks of {devices} devices",
                pollers.looks
            );
            assert!(most <= devices, "one poll looked at {most} of {devices}");
            // without anybody gone a poll that comes at the same moment looks at nobody
            let before = pollers.looks;
            for number in 0..devices {
                pollers.poll(&device(number), 0, now);
            }
            let again = pollers.looks - before;
            for number in 0..devices {
                pollers.poll(&device(number), 0, now);
            }
            assert_eq!(pollers.looks - before, again);
        }
    }

    #[test]
    fn the_window_grows_with_the_fleet() {
        let mut pollers = Pollers::new(7);
        let now = Instant::now();
        for number in 0..4_000 {
            pollers.poll(&device(number), 0, now);
        }
        let (earliest, latest) = pollers.window();
        assert_eq!(latest - earliest, Duration::from_secs(2));
    }
}
