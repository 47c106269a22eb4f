//! Post-training int8 quantisation.

pub mod arithmetic;
pub mod scale;
