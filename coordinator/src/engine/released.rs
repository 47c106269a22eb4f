//! What a released round leaves behind, and what of it goes on into the next.

use tributary_proto::DeviceId;

use super::{AssignmentState, Effect, Event, Lease, RoundState, RunState, RunStatus, Signs};

impl RunState {
    /// Takes over what a round has released, and opens the next.
    pub(super) fn released(&mut self, published: &Event) -> Vec<Effect> {
        let Event::Published {
            model,
            variants,
            control,
            server,
            bytes_down,
            clip,
            signs,
            ..
        } = published
        else {
            return Vec::new();
        };
        let old = std::mem::replace(&mut self.model, *model);
        self.keep_earlier(old);
        self.variants.clone_from(variants);
        self.control = *control;
        self.server = Some(*server);
        let effects = self.published(*bytes_down);
        self.clip = clip.or(self.clip);
        if let Some(signs) = signs {
            Signs::keep(&mut self.releases, *signs);
        }
        effects
    }

    fn published(&mut self, bytes_down: u64) -> Vec<Effect> {
        let number = self.round.number;
        self.count_contributors(true);
        let spent = self.worst_so_far();
        self.record(Some(self.model), bytes_down, String::new(), spent);
        if number == self.spec.rounds.count {
            self.status = RunStatus::Completed;
            let discard = Effect::Discard(self.last_digests());
            return vec![discard, Effect::CountRound, Effect::Finish];
        }
        let discard = Effect::Discard(self.segment_digests());
        self.turn_key();
        let old = std::mem::replace(&mut self.round, RoundState::open(number + 1, 1));
        self.round.leases = self.still_at_work(old);
        vec![discard, Effect::CountRound, Effect::Select]
    }

    /// Remembers the version that late updates of the round may have been trained from.
    fn keep_earlier(&mut self, model: tributary_model::Digest) {
        let cap = self.spec.rounds.staleness_cap();
        if cap == 0 {
            return;
        }
        let number = self.round.number;
        self.earlier.insert(number, model);
        // in the next round, number + 1, an update of this one is one round late
        self.earlier.retain(|&round, _| number + 1 - round <= cap);
    }

    /// Leases of `old` that go on into the open round: those that may still be answered in time.
    fn still_at_work(&self, old: RoundState) -> std::collections::BTreeMap<DeviceId, Lease> {
        let cap = self.spec.rounds.staleness_cap();
        let mut leases = old.leases;
        leases.retain(|_, lease| {
            let late = self.round.number.saturating_sub(lease.round);
            cap > 0 && late <= cap && lease.state == AssignmentState::Waiting
        });
        leases
    }
}
