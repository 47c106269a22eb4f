//! The trusted arithmetic of an aggregation round: from the bytes a device sends to the noised mean
//! that becomes a new model. Grid, noise and account come from [`tributary_privacy`].
//!
//! What it promises:
//! - any byte string is either a valid contribution or a typed error; a refused one leaves no trace;
//! - sums are integers, so any order of arrival and any split into partials give identical bits;
//! - the sensitivity of a sum is the integer bound that every contribution was checked against, and a
//!   sum meets floats only after its noise;
//! - no un-noised value appears in an error, in `Debug` output or in a report.
//!
//! The crate does no I/O, reads no clock and has no source of entropy: all randomness is an argument.
//!
//! ```
//! use tributary_aggregator::{Codec, FixedPoint, Partial, release_mean};
//! use tributary_privacy::{NoiseSource, noise_for, rho_for_epsilon};
//! # use rand_core::SeedableRng;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // on a device
//! let delta = [0.3, -2.0, 0.1];
//! # let mut rounding = rand_chacha::ChaCha20Rng::seed_from_u64(1);
//! let bytes = Codec::INT8.encode_clipped(&delta, 1.0, &mut rounding)?;
//!
//! // on the coordinator: check and sum, then buy noise with a budget and release
//! let grid = FixedPoint::new(1.0, 3)?;
//! let mut partial = Partial::new(3);
//! partial.add_encoded(&grid, Codec::INT8, &bytes)?;
//!
//! let squared_sensitivity = u128::from(grid.bound()).pow(2);
//! let noise = noise_for(squared_sensitivity, rho_for_epsilon(1.0, 1e-5)?)?;
//! let charge = noise.rho(squared_sensitivity)?; // into the ledger, before the next line
//! let mean = release_mean(&partial, &grid, 100.0, Some((&noise, &mut NoiseSource::from_os()?)))?;
//! # assert_eq!(mean.len(), 3);
//! # assert!(charge.as_f64() > 0.01);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `codec` | how a vector of `f32` becomes bytes on the wire |
//! | `fixed_point` | bytes to integers, with the exact norm check |
//! | `partial` | mergeable integer sums |
//! | `release` | sum, noise, one division: the mean that leaves the aggregator |
//! | `robust` | rules that bear lying devices, and their pre-aggregators |
//! | `optimiser` | how the mean moves the global weights |
//! | `stored` | reading the fields of stored bytes |
//! | `error` | why an update is refused |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod codec;
mod error;
mod fixed_point;
mod optimiser;
mod partial;
mod release;
mod robust;
mod stored;

pub use codec::{Codec, EdenBits, ErrorFeedback, FeedbackError, Scheme, Share, UnknownCodec};
pub use error::UpdateError;
pub use fixed_point::{Contribution, FixedPoint};
pub use optimiser::{OptimiserError, OptimiserState, ServerOptimiser};
pub use partial::{
    EncodedContribution, Faults, MAX_CONTRIBUTIONS, MAX_WEIGHT, Partial, PartialError, WEIGHT_ONE,
};
pub use release::{ReleaseError, release_correlated_mean, release_mean};
pub use robust::{PreAggregator, RobustError, RobustRule, RobustSpec};
