//! Places where a test makes the coordinator fail.

use std::sync::Mutex;

use tributary_coordinator::engine::Reject;
use tributary_coordinator::failpoint::{Failpoint, Place};
use tributary_proto::RunId;

/// Fails at one place of one run, a number of times once it is armed.
#[derive(Default)]
pub struct Failing {
    armed: Mutex<Option<(Place, String, u32)>>,
}

impl Failing {
    /// From now on, the run fails so many times at the place.
    pub fn arm(&self, place: Place, run: &str, times: u32) {
        *self.armed.lock().unwrap() = Some((place, run.to_owned(), times));
    }

    /// True when it has failed as often as it was armed for.
    pub fn is_spent(&self) -> bool {
        let armed = self.armed.lock().unwrap();
        armed.as_ref().is_none_or(|(_, _, left)| *left == 0)
    }
}

impl Failpoint for Failing {
    fn reach(&self, place: Place, run: &RunId) -> Result<(), Reject> {
        {
            let mut armed = self.armed.lock().unwrap();
            match armed.as_mut() {
                Some((at, of, left)) if *at == place && of == run.as_str() && *left > 0 => {
                    *left -= 1
                }
                _ => return Ok(()),
            }
        }
        assert!(
            place == Place::Applying,
            "a test makes {run} fail at {place:?}"
        );
        Err(Reject::WrongPhase)
    }
}
