//! Conversions by opendp leave the process's panic hook alone. A test program of its own, since the hook is
//! the whole process's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tributary_privacy::{Rho, epsilon_opendp};

#[test]
fn panics_are_still_told_after_conversions_on_many_threads() {
    let told = Arc::new(AtomicU32::new(0));
    let counts = told.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
    }));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for pico in 1..=20 {
                    epsilon_opendp(Rho::from_pico(pico * 10_000_000_000), 1e-5).unwrap();
                }
            });
        }
    });
    let earlier = told.load(Ordering::SeqCst);
    let crashed = std::thread::spawn(|| panic!("told")).join();
    std::panic::set_hook(before);
    assert!(crashed.is_err());
    assert_eq!(told.load(Ordering::SeqCst), earlier + 1);
}
