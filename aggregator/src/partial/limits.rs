//! The units of weights, and how much a partial may hold.

/// The most contributions a partial holds (2^40): with it no i64 sum can overflow.
pub const MAX_CONTRIBUTIONS: u64 = 1 << 40;

/// Weight 1 in the units of a partial: 2^20.
pub const WEIGHT_ONE: u64 = 1 << 20;

/// The largest weight or work of one contribution: 2^40, about a million.
pub const MAX_WEIGHT: u64 = 1 << 40;
