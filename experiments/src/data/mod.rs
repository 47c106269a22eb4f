//! Data sets as plain row-major arrays, and the loaders that make them.
//!
//! - [`watch`]: wrist inertial sensor, 20 natural devices and a real covariate shift; compiled in.
//! - [`digits`]: 8 x 8 handwritten digits; compiled in.
//! - [`idx`]: MNIST and Fashion-MNIST from a folder of IDX files.
//! - [`npy`], [`npz`]: readers for NumPy arrays and archives of them.
//! - [`windowing`]: how a recording is cut into training and test windows that share no sample.

pub mod digits;
pub mod idx;
pub mod npy;
pub mod npz;
pub mod watch;
pub mod windowing;

mod dataset;
mod error;
mod normalisation;

pub use dataset::{Dataset, Samples, Side, User};
pub use error::DataError;
pub use normalisation::{Normalisation, PUBLIC_LIMIT};
