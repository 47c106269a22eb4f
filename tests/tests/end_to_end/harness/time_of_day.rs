//! Time of day that a test sets: for a coordinator in this process by its clock, for a real process by
//! a library that is loaded before the C library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use tributary_coordinator::clock::{Clock, SystemClock};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/preload/time_of_day.c");
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

/// The system's clocks, with a time of day that can be stepped.
pub struct SteppedClock {
    system: SystemClock,
    step_ms: AtomicI64,
}

impl SteppedClock {
    pub fn new() -> Self {
        Self {
            system: SystemClock::new(),
            step_ms: AtomicI64::new(0),
        }
    }

    /// Steps the time of day.
    pub fn step(&self, by_ms: i64) {
        self.step_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now_ms(&self) -> u64 {
        let step_ms = self.step_ms.load(Ordering::SeqCst);
        self.system.now_ms().saturating_add_signed(step_ms)
    }

    fn service_ms(&self) -> u64 {
        self.system.service_ms()
    }

    fn resume(&self, service_ms: u64) {
        self.system.resume(service_ms);
    }
}

/// The time of day of a process.
pub struct PreloadedTime {
    library: PathBuf,
    step: PathBuf,
}

impl PreloadedTime {
    /// Compiles the library into a folder, with the `cc` that Rust links with.
    pub fn new(folder: &Path) -> Self {
        let library = folder.join("time_of_day.so");
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-shared", "-fPIC", "-o"]);
        let compiled = compile.arg(&library).arg(SOURCE).arg("-ldl").status();
        assert!(compiled.unwrap().success(), "{SOURCE} does not compile");
        let preloaded = Self {
            library,
            step: folder.join("step"),
        };
        preloaded.step(0);
        preloaded
    }

    /// Sets the time of day so many seconds off.
    pub fn step(&self, seconds: i64) {
        // by rename: a reading sees the old or the new number
        let new = self.step.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, &self.step).unwrap();
    }

    /// What the process needs in its environment.
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("TIME_OF_DAY_STEP", self.step.clone().into()),
        ]
    }
}
