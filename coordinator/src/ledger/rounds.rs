//! Which rounds of a run were charged: what is known of a run whose own records can't be read.

use super::{ChargeKind, Ledger};

impl Ledger {
    /// The newest round of a run that was charged, 0 for none; nothing when the ledger knows of no charges of
    /// this run, made or to come. Entries of rounds stay one by one, so that none is missing.
    pub fn newest_round(&self, run: &str) -> Option<u64> {
        let books = self.lock();
        let training = (run.to_owned(), ChargeKind::Training);
        let charged = books.account(run, training.1).map(|book| book.newest);
        charged.or_else(|| books.part_of(&training).map(|_| 0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{open, pay};
    use super::super::{Change, Charge, Part, Reservation};
    use super::*;
    use crate::fixtures::region;
    use tributary_store::{Batch, MemoryStore};

    #[tokio::test]
    async fn the_newest_round_of_a_run_is_known_while_it_reserves_or_was_charged() {
        let store = MemoryStore::new();
        let ledger = open(&store);
        assert_eq!(ledger.newest_round("run-1"), None);
        let part = Part::new("training", Some(80), "run-1", ChargeKind::Training);
        let reserved = Reservation {
            id: "run-1".to_owned(),
            regions: vec![region("eu")],
            parts: vec![part],
        };
        let hold = ledger.hold().await;
        let changes = vec![Change::Reserve(reserved)];
        hold.commit(changes, Batch::new()).await.unwrap();
        assert_eq!(ledger.newest_round("run-1"), Some(0));
        for number in [1, 3, 2] {
            let charge = Charge::new("run-1", ChargeKind::Training, number);
            ledger
                .charge(charge, &pay(1, 0..1), Batch::new())
                .await
                .unwrap();
        }
        let window = Charge::new("run-1", ChargeKind::Drift, 9);
        ledger
            .charge(window, &pay(1, 0..1), Batch::new())
            .await
            .unwrap();
        ledger.release("run-1", None).await.unwrap();
        for ledger in [&ledger, &open(&store)] {
            assert_eq!(ledger.newest_round("run-1"), Some(3));
            assert_eq!(ledger.newest_round("run-2"), None);
        }
    }
}
