//! The trusted arithmetic of an aggregation round: from the bytes a device sends to the noised mean
//! that becomes a new model, and the account of what that release costs in privacy.
//!
//! What it promises:
//! - any byte string is either a valid contribution or a typed error; a refused one leaves no trace;
//! - sums are integers, so any order of arrival and any split into partials give identical bits;
//! - the sensitivity of a sum is the integer bound that every contribution was checked against, the
//!   noise is an exact integer sample (floats may find it faster, but integers decide), and a sum meets
//!   floats only after its noise;
//! - no un-noised value appears in an error, in `Debug` output or in a report.
//!
//! The crate does no I/O and reads no clock. Its only source of entropy is
//! [`NoiseSource::from_os`]; all other randomness is an argument.
//!
//! ```
//! use tributary_aggregator::{
//!     Codec, FixedPoint, NoiseSource, Partial, noise_for, release_mean, rho_for_epsilon,
//! };
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
//! | `clip` | scaling a vector into the L2 ball, on the device |
//! | `adaptive_clip` | a clip that follows a quantile of the norms, from noised votes |
//! | `fixed_point` | bytes to integers, with the exact norm check |
//! | `partial` | mergeable integer sums |
//! | `noise` | exact integer noise and the randomness behind it |
//! | `local_noise` | the noise that a device adds itself before it sends |
//! | `release` | sum, noise, one division: the mean that leaves the aggregator |
//! | `robust` | rules that bear lying devices, and their pre-aggregators |
//! | `optimiser` | how the mean moves the global weights |
//! | `accountant` | rho, epsilon, budgets, the privacy statement |
//! | `ftrl` | noise correlated over the rounds of a run (DP-FTRL): BLT and tree |
//! | `stored` | reading the fields of stored bytes |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod accountant;
mod adaptive_clip;
mod clip;
mod codec;
mod error;
mod fixed_point;
pub mod ftrl;
mod local_noise;
mod noise;
mod optimiser;
mod partial;
mod release;
mod robust;
mod stored;

pub use accountant::{
    AccountingError, Adjacency, Budget, BudgetError, Mechanism, PrivacyStatement, Rho,
    epsilon_cks20, epsilon_gaussian, epsilon_opendp, gaussian_delta, gaussian_noise_multiplier,
    gaussian_rho, noise_for, rho_for_epsilon,
};
pub use adaptive_clip::{AdaptiveClip, AdaptiveClipError};
pub use clip::{ClipReport, clip_l2};
pub use codec::{Codec, EdenBits, ErrorFeedback, FeedbackError, Scheme, Share, UnknownCodec};
pub use error::UpdateError;
pub use fixed_point::{Contribution, FixedPoint, MAX_DIMENSION, SCALE};
pub use local_noise::{LocalNoise, LocalNoiseError};
pub use noise::{DiscreteGaussian, DiscreteLaplace, GaussianTable, NoiseError, NoiseSource};
pub use optimiser::{OptimiserError, OptimiserState, ServerOptimiser};
pub use partial::{
    EncodedContribution, Faults, MAX_CONTRIBUTIONS, MAX_WEIGHT, Partial, PartialError, WEIGHT_ONE,
};
pub use release::{ReleaseError, release_correlated_mean, release_mean};
pub use robust::{PreAggregator, RobustError, RobustRule, RobustSpec};
