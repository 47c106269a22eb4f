//! Running totals of windows: a monitor without end leaves no entry behind for each of them.
//!
//! The newest entries of windows stay one by one. What is older is added up in one record of their account,
//! in a commit of its own that deletes them: what the ledger says does not change by it, and a crash before
//! or after it changes nothing.

use std::sync::{Mutex, PoisonError};

use super::charge::{AccountKey, Charge, StoredCharge};
use super::state::{AccountState, LedgerState};
use super::total::{Total, is_added_up};
use crate::CoordinatorError;
use tributary_store::key::{Key, KeyReader};
use tributary_store::{Batch, Expect, Store, Table};

/// Entries of an account that stay one by one.
const KEPT: u64 = 256;
/// Entries of an account at which the oldest are added up.
const MOST: u64 = 2 * KEPT;
/// Entries that one commit adds up.
const AT_ONCE: usize = 1_024;

/// The key of an account's total, a prefix of the keys of its entries.
fn key_of((account, kind): &AccountKey) -> Vec<u8> {
    Key::new().text(account).text(kind.name()).into_bytes()
}

/// The number in the key of an entry.
fn number_of(key: &[u8]) -> Option<u64> {
    let mut parts = KeyReader::new(key);
    parts.text()?;
    parts.text()?;
    parts.number()
}

impl AccountState {
    /// True when so many entries are there one by one that the oldest should be added up.
    fn is_long(&self) -> bool {
        self.entries > MOST
    }
}

/// Adds the oldest entries of an account up if it has many, but none of the window `open`. Nobody else may
/// charge meanwhile.
///
/// # Errors
/// When the store refuses; then nothing has changed, and the next charge tries again.
pub(super) async fn add_up(
    store: &dyn Store,
    books: &Mutex<LedgerState>,
    account: &AccountKey,
    open: u64,
) -> Result<(), CoordinatorError> {
    let excess = {
        let books = books.lock().unwrap_or_else(PoisonError::into_inner);
        let book = books.account(&account.0, account.1);
        match book.filter(|book| book.is_long()) {
            Some(book) => book.entries.saturating_sub(KEPT),
            None => return Ok(()),
        }
    };
    let key = key_of(account);
    let oldest = store.scan(Table::Ledger, &key, Some(&key), 1)?;
    if oldest.first().and_then(|(entry, _)| number_of(entry)) >= Some(open) {
        return Ok(());
    }
    let known = store.get(Table::Ledger, &key)?;
    let mut total: Option<Total> = known.as_ref().map(|known| known.json()).transpose()?;
    let most = AT_ONCE.min(usize::try_from(excess).unwrap_or(AT_ONCE));
    let mut batch = Batch::new();
    let mut added = 0;
    for (entry, record) in store.scan(Table::Ledger, &key, Some(&key), most)? {
        let charge = Charge::from(record.json::<StoredCharge>()?);
        if charge.number < open && is_added_up(&charge) {
            total
                .get_or_insert_with(|| Total::new(&charge))
                .add(&charge);
            batch.delete(Table::Ledger, entry, Expect::from(Some(&record)));
            added += 1;
        }
    }
    let Some(total) = total.filter(|_| added > 0) else {
        return Ok(());
    };
    batch.put_json(Table::Ledger, key, &total, Expect::from(known.as_ref()))?;
    store.commit(batch).await?;
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    books.added_up(account, added, total.last);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tributary_privacy::Mechanism;

    use super::*;
    use crate::ledger::Ledger;
    use crate::ledger::charge::ChargeKind;
    use crate::ledger::tests::{open, pay};
    use tributary_store::MemoryStore;

    const MONITOR: &str = "run-1-drift";

    fn window(number: u64, part: u64) -> Charge {
        Charge {
            part,
            unix_ms: 1_000 + number,
            ..Charge::new(MONITOR, ChargeKind::Drift, number)
        }
    }

    async fn charge(ledger: &Ledger, charge: Charge) -> Result<(), CoordinatorError> {
        ledger.charge(charge, &pay(3, 0..2), Batch::new()).await
    }

    fn entries(store: &MemoryStore) -> usize {
        let store: Arc<dyn Store> = Arc::new(store.clone());
        store.records(Table::Ledger, b"").count()
    }

    #[tokio::test]
    async fn ten_thousand_windows_leave_a_ledger_of_one_size_that_says_the_same() {
        let store = MemoryStore::new();
        let ledger = open(&store);
        let mut largest = 0;
        for number in 1..=10_000 {
            charge(&ledger, window(number, 0)).await.unwrap();
            largest = largest.max(entries(&store));
        }
        assert!(largest <= MOST as usize + 2, "{largest} records");
        let said = ledger.accounts(None, |_| 1e-5);
        let account = &said[0];
        assert_eq!((said.len(), account.charges), (1, 10_000));
        let rho = account.spend.as_ref().unwrap().rho;
        assert!((rho - 30_000e-12).abs() < 1e-18, "{rho}");
        let again = open(&store);
        assert_eq!(again.accounts(None, |_| 1e-5), said, "after a restart too");
        let drift = ChargeKind::Drift;
        assert_eq!(again.charged(MONITOR, drift), 30_000);
        assert_eq!(again.worst_by_region(1e-5), ledger.worst_by_region(1e-5));
        charge(&again, window(10_001, 0)).await.unwrap();
        assert_eq!(again.accounts(None, |_| 1e-5)[0].charges, 10_001);
    }

    #[tokio::test]
    async fn a_window_that_was_added_up_is_never_charged_again_and_an_open_one_is_not_added_up() {
        let store = MemoryStore::new();
        let ledger = open(&store);
        for number in 1..=MOST {
            charge(&ledger, window(number, 0)).await.unwrap();
        }
        for part in 0..2 * MOST {
            charge(&ledger, window(MOST + 1, part)).await.unwrap();
        }
        let before = ledger.accounts(None, |_| 1e-5);
        for known in [&ledger, &open(&store)] {
            for twice in [window(1, 0), window(MOST + 1, 0), window(MOST + 1, MOST)] {
                let refused = charge(known, twice).await.unwrap_err();
                let is_known =
                    matches!(&refused, CoordinatorError::Store(error) if error.is_conflict());
                assert!(is_known, "{refused}");
            }
            assert_eq!(known.accounts(None, |_| 1e-5), before);
        }
    }

    #[tokio::test]
    async fn what_is_not_private_in_an_old_window_stays_said() {
        let store = MemoryStore::new();
        let ledger = open(&store);
        let seeded = Charge {
            mechanism: Mechanism::SeededNotPrivate,
            ..window(1, 0)
        };
        charge(&ledger, seeded).await.unwrap();
        for number in 2..=3 * MOST {
            charge(&ledger, window(number, 0)).await.unwrap();
        }
        let account = &open(&store).accounts(None, |_| 1e-5)[0];
        assert!(account.spend.as_ref().unwrap().not_private, "{account:?}");
    }
}
