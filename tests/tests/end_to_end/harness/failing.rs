//! Places where a test makes the coordinator fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

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

/// Keeps one place of one run busy from when it is armed until it is let go.
#[derive(Default)]
pub struct Busy {
    held: Mutex<Option<(Place, String)>>,
    changed: Condvar,
    reached: AtomicBool,
}

impl Busy {
    /// From now on, the run does not come past the place.
    pub fn arm(&self, place: Place, run: &str) {
        *self.held.lock().unwrap() = Some((place, run.to_owned()));
    }

    /// True once the run is at the place.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::SeqCst)
    }

    /// The run goes on.
    pub fn let_go(&self) {
        *self.held.lock().unwrap() = None;
        self.changed.notify_all();
    }
}

impl Failpoint for Busy {
    fn reach(&self, place: Place, run: &RunId) -> Result<(), Reject> {
        let here = |held: &mut Option<(Place, String)>| {
            let held = held.as_ref();
            held.is_some_and(|(at, of)| *at == place && of == run.as_str())
        };
        let mut held = self.held.lock().unwrap();
        if here(&mut held) {
            self.reached.store(true, Ordering::SeqCst);
            drop(self.changed.wait_while(held, here));
        }
        Ok(())
    }
}
