//! Robust aggregation: one vector out of n, of which f may come from devices that lie.
//!
//! The rules see single updates, so they exclude secure sums; and one device can move their result
//! by more than C/n, so they exclude central privacy. What they promise instead: as long as at most
//! f of the n vectors are bad, the result stays near the honest ones, whatever the bad ones say.
//!
//! Everything here is sequential and depends on nothing but its arguments: the same vectors in the
//! same order give the same bits. Ties are broken by position.
//!
//! | module | what it holds |
//! |---|---|
//! | `spec` | rules, pre-aggregators and their settings, as a recipe writes them |
//! | `check` | which combination bears how many bad devices |
//! | `aggregate` | from vectors to the one result |
//! | `cloud` | the vectors a rule looks at, scaled and mixed without copies |
//! | `distances` | squared distances of all pairs, in cache blocks |
//! | `matrix` | the square matrix that they are kept in |
//! | `pre` | ARC, NNM, bucketing |
//! | `coordinate` | median, trimmed mean and the mean around the median, column by column |
//! | `krum` | Krum, Multi-Krum, Bulyan |
//! | `geometric_median` | smoothed Weiszfeld |
//! | `clipping` | centered clipping, norm bounding |
//! | `fltrust` | FLTrust |

mod aggregate;
mod check;
mod clipping;
mod coordinate;
mod distances;
mod error;
mod fltrust;
mod geometric_median;
mod krum;
mod matrix;
mod pre;
mod spec;
mod update_set;

pub use error::RobustError;
pub use spec::{PreAggregator, RobustRule, RobustSpec};
