//! Exact integer noise and the randomness behind it.
//!
//! `uniform` draws integers and compares random bits lazily, `bernoulli_exp` turns that into coins
//! of probability e^-x, `discrete_laplace` and `discrete_gaussian` into samples. `gaussian_table` is a
//! faster way to the same Gaussian; where its floats can't decide, `exact_coin` does, in the integers
//! of `natural`; `fastest` takes whichever serves. `fraction` says which scales are sampled exactly,
//! `source` owns the key, and `chunks` spreads long vectors over threads.

mod bernoulli_exp;
mod chunks;
mod discrete_gaussian;
mod discrete_laplace;
mod error;
mod exact_coin;
mod fastest;
mod fraction;
mod gaussian_table;
mod natural;
mod source;
mod uniform;

pub use discrete_gaussian::DiscreteGaussian;
pub use discrete_laplace::DiscreteLaplace;
pub use error::NoiseError;
pub use fastest::FastestGaussian;
pub use gaussian_table::GaussianTable;
pub use source::NoiseSource;
pub use uniform::uniform_below;
