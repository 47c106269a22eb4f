//! The mathematics of differential privacy for sums of clipped vectors: what is clipped, what noise is
//! drawn, and what a release costs.
//!
//! What it promises:
//! - noise is an exact integer sample; floats may find it faster, but integers decide;
//! - the sensitivity of a sum is an integer bound on a fixed grid, rounding included;
//! - a charge is an integer that is rounded up, so that no sum of charges lies below the truth;
//! - no vector, norm, noise or key appears in an error or in `Debug` output.
//!
//! The crate knows no codecs and no rounds, does no I/O and reads no clock. Its only source of entropy is
//! [`NoiseSource::from_os`]; all other randomness is an argument.
//!
//! ```
//! use tributary_privacy::{Grid, NoiseSource, noise_for, rho_for_epsilon};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // a sum of vectors of three values, each clipped to norm 1 and rounded to the grid
//! let grid = Grid::new(1.0, 3)?;
//! let mut sums = [314_573, -524_288, 104_858];
//!
//! // the noise that epsilon 1 at delta 1e-5 buys, and what it costs
//! let squared_sensitivity = u128::from(grid.bound()).pow(2);
//! let noise = noise_for(squared_sensitivity, rho_for_epsilon(1.0, 1e-5)?)?;
//! let charge = noise.rho(squared_sensitivity)?; // into the ledger, before the next line
//! noise.add_noise(&mut sums, &mut NoiseSource::from_os()?);
//! # assert!(charge.as_f64() > 0.01);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `grid` | the integer grid of clipped vectors and the sensitivity on it |
//! | `clip` | norms, and scaling a vector into the L2 ball |
//! | `adaptive_clip` | a clip that follows a quantile of the norms, from noised votes |
//! | `noise` | exact integer noise and the randomness behind it |
//! | `local_noise` | the noise that a device adds itself before it sends |
//! | [`ftrl`] | noise correlated over the rounds of a run (DP-FTRL): BLT and tree |
//! | `rho` | a zCDP charge as an integer |
//! | [`accountant`] | charges to epsilon and back, budgets, the privacy statement |
//! | `vector_error` | why a vector or its grid is refused |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod accountant;
mod adaptive_clip;
mod clip;
pub mod ftrl;
mod grid;
mod local_noise;
mod noise;
mod rho;
mod vector_error;

pub use accountant::{
    AccountingError, Adjacency, Budget, BudgetError, Mechanism, PrivacyStatement, epsilon_cks20,
    epsilon_gaussian, epsilon_opendp, gaussian_delta, gaussian_noise_multiplier, gaussian_rho,
    noise_for, rho_for_epsilon,
};
pub use adaptive_clip::{AdaptiveClip, AdaptiveClipError};
pub use clip::{ClipReport, clip_l2, clipped_l2, l2_norm, squared_norm};
pub use grid::{Grid, MAX_DIMENSION, SCALE};
pub use local_noise::{LocalNoise, LocalNoiseError};
pub use noise::{
    DiscreteGaussian, DiscreteLaplace, FastestGaussian, GaussianTable, NoiseError, NoiseSource,
    uniform_below,
};
pub use rho::{Rho, RhoError};
pub use vector_error::VectorError;
