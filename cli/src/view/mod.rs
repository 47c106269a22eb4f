//! What `--format json` prints. Names and meanings of these fields are fixed: scripts rely on them.

mod drift;
mod fleet;
mod model;
mod plan;
mod privacy;
mod run;
mod terms;

pub use drift::{DriftView, MonitorView, WindowView};
pub use fleet::{FleetView, MovedView};
pub use model::{BuildView, ModelView};
pub use plan::{AccountantView, PlanView};
pub use privacy::{AccountView, PrivacyView, RegionSpendView, Spend};
pub use run::{DropView, RoundView, RunSummary, RunView};
pub use terms::{CapView, CapsView, DecisionView, ReservationView};
