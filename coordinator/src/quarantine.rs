//! What is set aside because its records are damaged, so that everything else goes on.
//!
//! Nothing of it is changed or deleted: an operator looks at a copy of the data folder. It is named
//! in `run ls`, on `/readyz` and once in the log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::CoordinatorError;
use tributary_store::blob::BlobError;

/// Things that are named one by one on `/readyz`; of more the number is given.
const NAMED: usize = 50;

/// Why something is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The stable code of what was found.
    pub code: &'static str,
    /// What was found, as a sentence.
    pub sentence: String,
}

impl Cause {
    /// The cause as it is shown: the sentence with its code.
    pub fn shown(&self) -> String {
        format!("{} [{}]", self.sentence, self.code)
    }

    /// The refusal of what is set aside for it: a `run`, a `monitor`.
    pub fn refusal(&self, what: &'static str, name: &str) -> CoordinatorError {
        CoordinatorError::SetAside {
            what,
            name: name.to_owned(),
            cause: self.sentence.clone(),
            code: self.code,
        }
    }
}

impl From<&CoordinatorError> for Cause {
    fn from(error: &CoordinatorError) -> Self {
        Self {
            code: error.code(),
            sentence: match error {
                // who reads this is no downloader
                CoordinatorError::Blob(BlobError::NotFound { digest }) => format!(
                    "the file of blob {digest} is gone from the data folder: put it back from a backup"
                ),
                other => other.to_string(),
            },
        }
    }
}

/// What is set aside, by kind and name.
#[derive(Debug, Default)]
pub struct Quarantine {
    causes: Mutex<BTreeMap<(&'static str, String), Cause>>,
}

impl Quarantine {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Cause>> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets something aside: a `run`, a `monitor`, a `device`, a `build`. It is logged once, however
    /// often it is met; the first cause stays.
    pub fn add(&self, kind: &'static str, name: &str, error: &CoordinatorError) -> Cause {
        use std::collections::btree_map::Entry;
        let cause = match self.lock().entry((kind, name.to_owned())) {
            Entry::Occupied(known) => return known.get().clone(),
            Entry::Vacant(vacant) => vacant.insert(Cause::from(error)).clone(),
        };
        tracing::error!(
            kind,
            name,
            code = cause.code,
            cause = cause.sentence,
            "set aside as damaged; everything else goes on"
        );
        cause
    }

    /// The names of what is set aside of a kind, with the causes.
    pub fn of_kind(&self, kind: &'static str) -> Vec<(String, Cause)> {
        let causes = self.lock();
        let mine = causes.iter().filter(|((known, _), _)| *known == kind);
        mine.map(|((_, name), cause)| (name.clone(), cause.clone()))
            .collect()
    }

    /// Takes something off the list that was put back in order, or given up.
    pub fn remove(&self, kind: &'static str, name: &str) {
        let mut causes = self.lock();
        // most of the time there is nothing to look for
        if !causes.is_empty() && causes.remove(&(kind, name.to_owned())).is_some() {
            tracing::info!(kind, name, "no longer set aside");
        }
    }

    /// Why something is set aside; none when it is not.
    pub fn cause(&self, kind: &'static str, name: &str) -> Option<Cause> {
        let causes = self.lock();
        if causes.is_empty() {
            return None;
        }
        causes.get(&(kind, name.to_owned())).cloned()
    }

    /// True when nothing is set aside.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// One line for each, for the page that says whether the coordinator is ready; empty for nothing.
    pub fn page(&self) -> String {
        let causes = self.lock();
        let mut page = String::new();
        for ((kind, name), cause) in causes.iter().take(NAMED) {
            // writing to a String can't fail
            let _ = writeln!(page, "quarantined {kind} {name}: {}", cause.shown());
        }
        if causes.len() > NAMED {
            let _ = writeln!(page, "and {} more", causes.len() - NAMED);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_named_with_its_cause_and_code() {
        let quarantine = Quarantine::default();
        assert!(quarantine.is_empty() && quarantine.page().is_empty());
        let error = CoordinatorError::Crashed("the task of a run");
        quarantine.add("run", "tiny-1", &error);
        quarantine.add("run", "tiny-1", &error);
        let page = quarantine.page();
        assert!(page.starts_with("quarantined run tiny-1: "), "{page}");
        assert!(page.ends_with("[TRB-0610]\n"), "{page}");
        assert_eq!(page.lines().count(), 1);
        for number in 0..NAMED {
            quarantine.add("device", &format!("d-{number}"), &error);
        }
        assert!(quarantine.page().ends_with("and 1 more\n"));
    }
}
