//! What releases cost in privacy.
//!
//! Runs of the coordinator are charged in zCDP, in exact integers ([`Rho`](crate::Rho)): `charge` says
//! what noise costs and what a charge buys, `conversion` turns a sum of charges into (epsilon, delta), and
//! `gaussian_curve` is the tighter curve for pure Gaussian noise. `statement` is what is printed and `budget` is what refuses.
//!
//! Simulated runs may sample their devices at random, and only those may claim amplification. Their
//! accountants are `rdp` (any order, any mixture of steps) and `pld` (tighter, one kind of step);
//! `calibration` inverts both. Each answers with a [`Guarantee`]: an epsilon that carries its delta,
//! its adjacency, its mechanism and the accountant that proved it. Devices that check in on their own
//! are not sampled by anybody's coin, so none of these may be quoted for them.
//!
//! | accountant | for | adjacency |
//! |---|---|---|
//! | [`Rho`](crate::Rho) and its conversions | fresh, correlated or local noise, every device counted | as charged |
//! | [`RdpCurve`] | Poisson samples, samples of fixed size, trees, mixtures | of the mechanism |
//! | [`LossDistribution`] | many equal steps on Poisson samples | add or remove one device |
//! | [`DistributedGaussian`] | noise that devices add in shares under secure aggregation | any |

mod budget;
mod calibration;
mod charge;
mod conversion;
mod distributed_gaussian;
mod error;
mod gaussian_curve;
mod guarantee;
mod pld;
mod rdp;
mod sampled;
mod statement;
mod tree;

pub use budget::{Budget, BudgetError};
pub use calibration::{
    Method, fixed_size_noise_multiplier, most_poisson_steps, poisson_noise_multiplier,
};
pub use charge::{gaussian_rho, noise_for};
pub use conversion::{epsilon_bun_steinke, epsilon_cks20, epsilon_opendp, rho_for_epsilon};
pub use distributed_gaussian::DistributedGaussian;
pub use error::AccountingError;
pub use gaussian_curve::{epsilon_gaussian, gaussian_delta, gaussian_noise_multiplier};
pub use guarantee::{Accountant, Guarantee, NoisyRun};
pub use pld::{DEFAULT_GRID, LossDistribution};
pub use rdp::{LARGEST_ORDER, RdpCurve, default_orders};
pub use sampled::{FixedSizeGaussian, LEAST_NOISE_MULTIPLIER, PoissonGaussian};
pub use statement::{Adjacency, Mechanism, PrivacyStatement};
pub use tree::{tree_height, tree_rho};

use error::{check_delta, check_epsilon, check_epsilon_of_delta, check_positive};
