//! A coordinator whose data folder is open: what its parts share, its runs, and its monitors.

use std::sync::Arc;

use crate::CoordinatorError;
use crate::core::Core;
use crate::monitor::{self, Monitors};
use crate::rollback::PastRuns;
use crate::run::{Runs, recover_runs};

/// An open coordinator. The services translate between the wire and this.
pub struct Coordinator {
    /// What all parts share.
    pub core: Arc<Core>,
    /// The runs.
    pub runs: Arc<Runs>,
    /// The monitors.
    pub monitors: Arc<Monitors>,
    /// Runs that are over, as far as devices show tickets of them.
    pub(crate) past_runs: PastRuns,
}

impl Coordinator {
    /// A coordinator without any run or monitor at work yet.
    pub fn new(core: Arc<Core>) -> Arc<Self> {
        let (runs, ended) = Runs::new(core.clone());
        let monitors = Monitors::new(runs.clone());
        tokio::spawn(monitor::follow(monitors.clone(), ended));
        Arc::new(Self {
            core,
            runs,
            monitors,
            past_runs: PastRuns::default(),
        })
    }

    /// Goes on with the runs and monitors that are on disk.
    ///
    /// # Errors
    /// When the store as a whole can't be read.
    pub async fn recover(&self) -> Result<(), CoordinatorError> {
        let over = recover_runs(&self.runs).await?;
        monitor::recover(&self.monitors, over).await
    }
}
