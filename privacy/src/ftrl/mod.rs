//! Noise that is correlated over the rounds of a run (DP-FTRL), for devices that check in on their
//! own, where no sampling may be assumed.
//!
//! A strategy is a lower triangular matrix C with unit diagonal. Round t adds (C^-1 z)_t to its
//! sum, z being independent discrete Gaussian seeds: later rounds take back a part of what earlier
//! ones added, so the running sum, which is what a model consists of, carries far less noise than
//! with fresh noise at the same privacy. The guarantee is for the run as a whole: the outputs are a
//! function of G + C^-1 z, so changing one device's contributions by D is hidden as well as moving
//! the seeds by C D, and rho = sens^2 / (2 sigma^2) with sens the largest ||C D|| that the
//! [`Participation`] limits allow.
//!
//! `blt` is the strategy to use (buffered linear Toeplitz: m buffers of model size), `optimise`
//! chooses its parameters, `integer_blt` runs it in integers and holds the proof, `tree` is the
//! fallback in plain sums of integers, and `correlated` is the state that a run keeps. `sensitivity`,
//! `error` and `toeplitz` judge strategies.
//!
//! # Why rho holds for outputs that depend on each other
//! Contributions of a round may depend on all earlier outputs. Given the outputs so far, each
//! neighbour explains the next one by exactly one seed vector, and the two seeds differ by some
//! integer vector d_t that the earlier outputs determine. Let L_t be the ratio of the two
//! probabilities of the seeds; for alpha > 1, E[L_t^(alpha - 1) | past] <= e^(alpha (alpha - 1)
//! |d_t|^2 / (2 sigma^2)) for discrete Gaussian seeds (Canonne, Kamath, Steinke 2020, theorem 4).
//! If the sum of |d_t|^2 is at most D^2 on every path, the product of L_t^(alpha - 1) e^(-alpha
//! (alpha - 1) |d_t|^2 / (2 sigma^2)) is a supermartingale that starts at 1, hence the whole run is
//! D^2 / (2 sigma^2)-zCDP. [`Strategy::squared_sensitivity`] is that D^2.
//!
//! # Secrets
//! A state is noise that outputs already carry: keep it as secret as the un-noised sums. `Debug`
//! shows none of it, and the state itself is erased on drop; the bytes that it is stored as are the
//! caller's to keep and to delete.

mod blt;
mod correlated;
mod dimension;
mod error;
mod geometric;
mod integer_blt;
mod interlaced;
mod minimise;
#[cfg(test)]
mod noise_tests;
mod optimise;
#[cfg(test)]
mod optimise_tests;
mod participation;
mod sensitivity;
#[cfg(test)]
mod sensitivity_tests;
mod stored;
mod strategy;
mod toeplitz;
mod tree;

pub use blt::{Blt, MAX_BUFFERS, apply_buffered_inverse, buffered_coefficients};
pub use correlated::CorrelatedNoise;
pub use error::{Errors, FtrlError};
pub use participation::Participation;
pub use sensitivity::toeplitz_squared_sensitivity;
pub use strategy::Strategy;
pub use toeplitz::Reference;

/// Largest number of rounds of one run.
pub const MAX_ROUNDS: u32 = 1 << 20;
