//! What sessions tell a run without waiting for it: a run that is busy with a release must not hold up
//! the sessions of others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};
use tributary_proto::DeviceId;

use super::Command;

/// The newest word of each device and kind, until the run takes it. Bounded by the fleet.
#[derive(Default)]
pub struct Notices {
    waiting: Mutex<BTreeMap<(DeviceId, Kind), Command>>,
    added: Notify,
}

/// Hands notices to a run until it is over. Only this waits when the run is busy.
pub async fn forward(notices: Arc<Notices>, commands: mpsc::Sender<Command>) {
    loop {
        tokio::select! {
            () = commands.closed() => return,
            () = notices.waiting() => {}
        }
        for command in notices.take() {
            if commands.send(command).await.is_err() {
                return;
            }
        }
    }
}

/// What a notice is about; a newer one of a device replaces the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The device shows what it has answered: heard before it gives up, which may end the round.
    Showed,
    /// The device gives up.
    Abandon,
    /// The device opened a session.
    Connected,
}

impl Notices {
    /// Leaves a notice.
    pub fn leave(&self, device: DeviceId, kind: Kind, command: Command) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert((device, kind), command);
        drop(waiting);
        self.added.notify_one();
    }

    /// Waits until there is a notice.
    pub async fn waiting(&self) {
        self.added.notified().await;
    }

    /// Takes all notices, in the order of the devices' ids.
    pub fn take(&self) -> Vec<Command> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DropReason;
    use crate::fixtures::device;

    #[tokio::test]
    async fn notices_wait_without_holding_anybody_up_and_the_newest_counts() {
        let notices = Notices::default();
        for round in 1..=3 {
            for number in 0..5_000 {
                let device = device(number);
                let command = Command::Abandon {
                    device: device.clone(),
                    round,
                    reason: DropReason::default(),
                };
                notices.leave(device, Kind::Abandon, command);
            }
        }
        notices.waiting().await;
        let taken = notices.take();
        assert_eq!(taken.len(), 5_000, "one for each device");
        let newest = |command: &Command| matches!(command, Command::Abandon { round: 3, .. });
        assert!(taken.iter().all(newest));
        assert!(notices.take().is_empty());
    }
}
