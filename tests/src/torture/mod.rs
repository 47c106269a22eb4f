//! The store under kills, flipped bytes and power cuts: is everything there that was acknowledged?
//!
//! ```text
//!  parent: kills, flips, cuts          child: work
//!    spawns, kills, forgets   <-marks-   opens, verifies what the parent expects, commits on
//! ```
//! A child has four writers. Batch `n` of a writer is a function of (seed, writer, n), and so is the
//! state after it, so a verifier that reads a writer's head can recompute every record it must find.
//!
//! - [`workload`]: what batch n writes, and the state after it
//! - [`work`]: the child: opens, verifies, commits
//! - [`truth`]: what the parent knows from the child's marks
//! - [`child`]: a child as its parent sees it
//! - [`kills`], [`flips`], [`cuts`]: the three attacks
//! - [`disk`]: what a power cut leaves of a recorded series of writes

pub mod child;
pub mod cuts;
pub mod disk;
pub mod flips;
pub mod kills;
pub mod truth;
pub mod work;
pub mod workload;

use std::path::Path;
use std::sync::Arc;

use tributary_store::{EmbeddedStore, EngineKind, Store, StoreError};

/// Opens a store of this engine.
///
/// # Errors
/// Those of the store.
pub fn open(engine: EngineKind, folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(EmbeddedStore::open(folder, Some(engine))?))
}

/// A parent's own mishap: a folder, a process or a pipe failed, so nothing is known of the store.
pub type Outcome<T> = std::io::Result<T>;

/// What was found wrong with the store, with how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which attempt it was, from 0.
    pub attempt: u64,
    /// What was found.
    pub what: String,
}

/// The faults as JSON, at most twenty of them spelt out.
fn faults_json(faults: &[Fault]) -> serde_json::Value {
    let text = |fault: &Fault| format!("attempt {}: {}", fault.attempt, fault.what);
    faults.iter().take(20).map(text).collect()
}
