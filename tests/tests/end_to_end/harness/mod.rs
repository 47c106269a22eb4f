//! A coordinator, operators, devices that are driven by hand, and small fleets.

pub mod agent;
pub mod coordinator;
pub mod failing;
pub mod fleet;
pub mod hand;
pub mod operator;
pub mod process;
pub mod raw;
pub mod recipe;
pub mod tap;
pub mod time_of_day;

use std::time::Duration;

pub use coordinator::Coordinator;
pub use hand::{Hand, Session};
pub use operator::Operator;
pub use recipe::Recipe;
use tonic::transport::{Channel, Endpoint};

/// Longest that anything is waited for; a test that gets there has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at while it is waited for.
pub const GLANCE: Duration = Duration::from_millis(20);

/// A connection to a coordinator.
pub async fn channel(endpoint: &str) -> Channel {
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
    endpoint.connect_timeout(PATIENCE).connect().await.unwrap()
}

/// Waits for `future`, or fails with what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
