//! The child: opens a store, verifies what its parent expects to be there, and commits on.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tributary_store::{Batch, EngineKind, Expect, Store, StoreError, Versioned};

use super::truth::{Mark, Truth};
use super::workload::{Writer, writers};

/// Every so many batches a writer tries one that must be refused.
const CONFLICT_EVERY: u64 = 16;

/// What a child does.
#[derive(Debug)]
pub struct Task {
    /// Which store.
    pub engine: EngineKind,
    /// Where.
    pub folder: PathBuf,
    /// Of the series.
    pub seed: u64,
    /// What must be there.
    pub expected: Truth,
    /// Batches that each writer commits after that; 0 only verifies.
    pub batches: u64,
}

/// How a child ends when not all is well.
#[derive(Debug)]
pub enum Finding {
    /// The store says itself that it is not what it was.
    Refused(String),
    /// The store is open and says nothing, but something is missing or wrong.
    Fault(String),
}

impl From<StoreError> for Finding {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Where marks go: each is one write, so that a kill leaves whole lines.
#[derive(Clone)]
pub struct Marks(Arc<Mutex<Box<dyn Write + Send>>>);

impl Marks {
    /// Marks that are written to `output`.
    pub fn to(output: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(output))))
    }

    fn set(&self, mark: Mark) {
        let line = format!("{mark}\n");
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = output
            .write_all(line.as_bytes())
            .and_then(|()| output.flush());
        if written.is_err() {
            std::process::exit(1); // nobody listens any more
        }
    }
}

/// Does the task.
///
/// # Errors
/// What was found wrong.
pub async fn run(task: &Task, marks: &Marks) -> Result<(), Finding> {
    let store = super::open(task.engine, &task.folder)?;
    marks.set(Mark::Open);
    let mut heads = Vec::new();
    for writer in writers(task.seed) {
        let head = verify(&*store, writer, &task.expected)?;
        let (batch, version) = head.unwrap_or_default();
        marks.set(Mark::Head(writer.number, batch, version));
        heads.push((writer, batch));
    }
    marks.set(Mark::Verified);
    if task.batches == 0 {
        return Ok(());
    }
    let tasks: Vec<_> = heads
        .into_iter()
        .map(|(writer, batch)| {
            let (store, marks) = (store.clone(), marks.clone());
            let after = task.expected.version;
            let last = batch.saturating_add(task.batches);
            tokio::spawn(async move {
                for number in batch + 1..=last {
                    commit(&*store, writer, number, after, &marks).await?;
                }
                Ok::<(), Finding>(())
            })
        })
        .collect();
    for task in tasks {
        let ended = task.await;
        ended.map_err(|error| Finding::Fault(format!("a writer crashed: {error}")))??;
    }
    Ok(())
}

/// Checks that a writer's records are exactly those of one batch between the last acknowledged and
/// the last begun; gives that batch and the version of its head.
fn verify(
    store: &dyn Store,
    writer: Writer,
    expected: &Truth,
) -> Result<Option<(u64, u64)>, Finding> {
    let number = writer.number;
    let (table, key) = writer.head();
    let head = store.get(table, &key)?;
    let batch = head.as_ref().map_or(Ok(0), head_number)?;
    let (first, last) = (expected.acknowledged[number], expected.begun[number]);
    if batch < first || batch > last {
        return Err(Finding::Fault(format!(
            "writer {number} stands at batch {batch}: {first} was acknowledged, {last} begun"
        )));
    }
    let state = writer.state(batch);
    for slot in Writer::slots() {
        let (table, key) = writer.place(slot);
        let wrong = |what: &str| {
            Finding::Fault(format!(
                "writer {number} at batch {batch}: slot {slot} in {table} {what}"
            ))
        };
        match (state.get(&slot), store.get(table, &key)?) {
            (None, None) => {}
            (None, Some(_)) => return Err(wrong("was deleted and is there")),
            (Some(_), None) => return Err(wrong("is missing")),
            (Some(&(by, bytes)), Some(found)) => {
                if found.value != writer.value(by, slot, bytes) {
                    return Err(wrong(&format!("is not what batch {by} put")));
                }
                let same_commit = head.as_ref().map(|head| head.version) == Some(found.version);
                if same_commit != (by == batch) {
                    return Err(wrong("has the version of another batch"));
                }
            }
        }
    }
    Ok(head.map(|head| (batch, head.version)))
}

fn head_number(head: &Versioned) -> Result<u64, Finding> {
    let bytes = head.value.as_slice().try_into();
    let bytes = bytes.map_err(|_| Finding::Fault("a head is not eight bytes".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Commits one batch, which must succeed, with a version above all that were there before.
async fn commit(
    store: &dyn Store,
    writer: Writer,
    number: u64,
    after: u64,
    marks: &Marks,
) -> Result<(), Finding> {
    let (table, key) = writer.head();
    let head = store.get(table, &key)?;
    let mut batch = Batch::new();
    let value = number.to_be_bytes();
    batch.put(table, key.clone(), value, Expect::from(head.as_ref()));
    for change in writer.changes(number) {
        let (table, key) = writer.place(change.slot);
        let expect = match change.compares {
            true => Expect::from(store.get(table, &key)?.as_ref()),
            false => Expect::Any,
        };
        match change.bytes {
            Some(bytes) => {
                let value = writer.value(number, change.slot, bytes);
                batch.put(table, key, value, expect)
            }
            None => batch.delete(table, key, expect),
        };
    }
    if number.is_multiple_of(CONFLICT_EVERY) {
        let mut refused = Batch::new();
        refused.put(table, key, u64::MAX.to_be_bytes(), Expect::Absent);
        let outcome = store.commit(refused).await;
        if !outcome.as_ref().is_err_and(StoreError::is_conflict) {
            return Err(Finding::Fault(format!(
                "a batch that expects no head was not refused: {outcome:?}"
            )));
        }
    }
    marks.set(Mark::Begun(writer.number, number));
    let receipt = store.commit(batch).await?;
    if receipt.version <= after {
        return Err(Finding::Fault(format!(
            "version {} was given again: {after} was given before",
            receipt.version
        )));
    }
    marks.set(Mark::Acknowledged(writer.number, number, receipt.version));
    Ok(())
}
