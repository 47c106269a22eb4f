//! Numbers of a monitor's calibrations: each is a release of its own, and devices answer none that is not newer
//! than the last.

use serde::{Deserialize, Serialize};
use tributary_proto::MonitorId;

use super::MonitorRecord;
use crate::CoordinatorError;
use crate::core::Core;
use crate::epoch::{Asked, FIRST_CALIBRATION, Lineage, Place};
use tributary_store::{Batch, Expect, StoreError, Table, Versioned};

/// What is kept of the calibrations of a monitor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    /// The newest, in a folder of before starts of the coordinator were told apart.
    Newest(u64),
    Asked {
        newest: u64,
        lineage: Lineage,
    },
}

impl Stored {
    fn read(record: Option<&Versioned>) -> Result<Asked, CoordinatorError> {
        Ok(match record.map(Versioned::json).transpose()? {
            None => Asked::default(),
            Some(Self::Newest(newest)) => Asked {
                newest,
                ..Asked::default()
            },
            Some(Self::Asked { newest, lineage }) => Asked { newest, lineage },
        })
    }
}

fn key(id: &MonitorId) -> Vec<u8> {
    format!("calibrations/{id}").into_bytes()
}

impl MonitorRecord {
    /// The calibrations that devices of a monitor were asked in; none of one that is not known.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn calibrations_asked(core: &Core, id: &MonitorId) -> Result<Asked, CoordinatorError> {
        Stored::read(core.store.get(Table::Meta, &key(id))?.as_ref())
    }

    /// Takes the next number for a calibration, durably.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn next_calibration(core: &Core, id: &MonitorId) -> Result<u64, CoordinatorError> {
        let key = key(id);
        loop {
            let known = core.store.get(Table::Meta, &key)?;
            let Asked {
                newest,
                mut lineage,
            } = Stored::read(known.as_ref())?;
            let newest = newest.max(FIRST_CALIBRATION) + 1;
            lineage.note(Place::of_window(newest), core.epoch.incarnation());
            let next = Stored::Asked { newest, lineage };
            let mut batch = Batch::new();
            let expected = Expect::from(known.as_ref());
            batch.put_json(Table::Meta, key.clone(), &next, expected)?;
            match core.store.commit(batch).await {
                // another region's calibration was faster
                Err(StoreError::Conflict { .. }) => {}
                outcome => return Ok(outcome.map(|_| newest)?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_of_before_is_read() {
        let read = |text: &str| serde_json::from_str::<Stored>(text).unwrap();
        assert!(matches!(
            read("281474976710658"),
            Stored::Newest(281_474_976_710_658)
        ));
        let text = r#"{"newest":281474976710659,"lineage":[[{"number":7,"attempt":0},9]]}"#;
        let Stored::Asked { newest, lineage } = read(text) else {
            panic!("not a record of now");
        };
        assert_eq!(
            (newest, lineage.of(Place::of_window(8))),
            ((1 << 48) + 3, 9)
        );
        assert_eq!(
            serde_json::to_string(&Stored::Asked { newest, lineage }).unwrap(),
            text
        );
    }
}
