//! What waits for a device that polls, and what it was given but may never have got.
//!
//! An answer can be lost on its way. A device says with each poll which answer it got last; what was in
//! a later one is answered again, with the time that is left. A device that never says so is given its
//! orders again until it answers them.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::v1::Directive;
use tributary_proto::v1::directive::Directive as Order;

/// Directives that may wait for one device.
pub const MAILBOX: usize = 16;

/// Orders without a time of their own are not repeated after so long.
const REPEATED: Duration = Duration::from_secs(600);

/// An order that was in an answer.
struct Given {
    directive: Directive,
    at: Instant,
}

/// What waits for a device that polls.
pub(super) struct Mailbox {
    waiting: VecDeque<Directive>,
    /// Orders of answers that the device has not said to have got, nor answered.
    given: VecDeque<Given>,
    /// Number of the last answer.
    number: u64,
    /// Whether the device says which answers it got.
    acknowledges: bool,
}

impl Mailbox {
    /// An empty one; its first answer has the number after `number`.
    pub(super) fn new(number: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            given: VecDeque::new(),
            number,
            acknowledges: false,
        }
    }

    /// Number of the last answer.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// True when a poll shows that the device has forgotten what it got.
    pub(super) fn has_restarted(&self, received: u64) -> bool {
        self.acknowledges && received == 0
    }

    /// Adds a directive; false when there is no room.
    pub(super) fn push(&mut self, directive: Directive) -> bool {
        if self.waiting.len() >= MAILBOX {
            return false;
        }
        self.waiting.push_back(directive);
        true
    }

    /// Notes a poll of a device that got the answer with this number last; the number of the new
    /// answer, and what is in it.
    pub(super) fn poll(&mut self, received: u64) -> (u64, Vec<Directive>) {
        let now = Instant::now();
        self.acknowledges = received != 0;
        if received == self.number {
            self.given.clear();
        }
        let mut answer: Vec<Directive> = Vec::with_capacity(self.given.len() + self.waiting.len());
        self.given.retain(|given| {
            let left = time_left(&given.directive, now.duration_since(given.at));
            answer.extend(left.iter().cloned());
            left.is_some()
        });
        for directive in self.waiting.drain(..) {
            if is_order(&directive) {
                // an order takes the place of an older one of the same run or monitor
                self.given
                    .retain(|given| !replaces(&directive, &given.directive));
                if self.given.len() >= MAILBOX {
                    self.given.pop_front();
                }
                let directive = directive.clone();
                self.given.push_back(Given { directive, at: now });
            }
            answer.push(directive);
        }
        // 0 is what a device says that got none
        self.number = self.number.wrapping_add(1).max(1);
        (self.number, answer)
    }

    /// Forgets orders that the device has answered.
    pub(super) fn answered(&mut self, is_answered: impl Fn(&Order) -> bool) {
        self.given
            .retain(|given| !given.directive.directive.as_ref().is_some_and(&is_answered));
    }
}

fn is_order(directive: &Directive) -> bool {
    matches!(
        directive.directive,
        Some(Order::Assignment(_) | Order::SummaryRequest(_) | Order::BuildOffer(_))
    )
}

fn replaces(new: &Directive, old: &Directive) -> bool {
    match (&new.directive, &old.directive) {
        (Some(Order::Assignment(new)), Some(Order::Assignment(old))) => new.run_id == old.run_id,
        (Some(Order::SummaryRequest(new)), Some(Order::SummaryRequest(old))) => {
            new.monitor_id == old.monitor_id
        }
        (Some(Order::BuildOffer(new)), Some(Order::BuildOffer(old))) => {
            new.build_digest == old.build_digest
        }
        _ => false,
    }
}

/// An order with the time that is left for it; nothing when there is none.
fn time_left(directive: &Directive, elapsed: Duration) -> Option<Directive> {
    let elapsed_ms = elapsed.as_millis() as u64;
    let mut left = directive.clone();
    let time = match &mut left.directive {
        Some(Order::Assignment(order)) => &mut order.lease_ms,
        Some(Order::SummaryRequest(order)) => &mut order.deadline_ms,
        _ => return (elapsed < REPEATED).then_some(left),
    };
    *time = time.saturating_sub(elapsed_ms);
    (*time > 0).then_some(left)
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1::{Assignment, ModelPublished};

    use super::*;

    fn assignment(round: u32, lease_ms: u64) -> Directive {
        Directive {
            directive: Some(Order::Assignment(Assignment {
                run_id: "tiny-1".to_owned(),
                round,
                lease_ms,
                ..Assignment::default()
            })),
        }
    }

    fn rounds(answer: &[Directive]) -> Vec<u32> {
        let round = |directive: &Directive| match &directive.directive {
            Some(Order::Assignment(order)) => order.round,
            _ => 0,
        };
        answer.iter().map(round).collect()
    }

    #[test]
    fn what_was_in_a_lost_answer_is_answered_again_until_it_came() {
        let mut mailbox = Mailbox::new(7);
        let (first, nothing) = mailbox.poll(0);
        assert!(nothing.is_empty());
        mailbox.push(assignment(1, 60_000));
        // this answer is lost, and so is the next
        let (_, answer) = mailbox.poll(first);
        assert_eq!(rounds(&answer), [1]);
        let (came, again) = mailbox.poll(first);
        assert_eq!(rounds(&again), [1]);
        let (_, nothing) = mailbox.poll(came);
        assert!(nothing.is_empty());
    }

    #[test]
    fn who_never_says_what_came_is_given_an_order_again_until_it_is_answered() {
        let mut mailbox = Mailbox::new(7);
        mailbox.push(assignment(1, 60_000));
        mailbox.push(Directive {
            directive: Some(Order::ModelPublished(ModelPublished::default())),
        });
        assert_eq!(rounds(&mailbox.poll(0).1), [1, 0]);
        assert_eq!(rounds(&mailbox.poll(0).1), [1], "news are told once");
        mailbox.push(assignment(2, 60_000));
        assert_eq!(rounds(&mailbox.poll(0).1), [1, 2]);
        assert_eq!(rounds(&mailbox.poll(0).1), [2], "the newer one replaces it");
        mailbox.answered(|order| matches!(order, Order::Assignment(order) if order.round == 2));
        assert!(mailbox.poll(0).1.is_empty());
    }

    #[test]
    fn an_order_is_repeated_with_the_time_that_is_left() {
        let left = |elapsed_ms| {
            let elapsed = Duration::from_millis(elapsed_ms);
            let left = time_left(&assignment(1, 1_000), elapsed)?;
            match left.directive {
                Some(Order::Assignment(order)) => Some(order.lease_ms),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(left(0), Some(1_000));
        assert_eq!(left(400), Some(600));
        assert_eq!(left(1_000), None, "its lease is over");
    }

    #[test]
    fn what_is_given_is_bounded() {
        let mut mailbox = Mailbox::new(0);
        for number in 0..3 * MAILBOX as u32 {
            let mut order = assignment(number, 60_000);
            if let Some(Order::Assignment(order)) = &mut order.directive {
                order.run_id = number.to_string();
            }
            assert!(mailbox.push(order));
            mailbox.poll(0);
        }
        assert_eq!(mailbox.poll(0).1.len(), MAILBOX);
    }
}
