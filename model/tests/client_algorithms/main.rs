//! Client algorithms against their papers' update equations, on losses worked by hand.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod by_hand;
mod fixed_points;
mod personal;
mod quadratic;
