//! Fleets of agents in one process: thousands of devices over a few real HTTP/2 connections.
//!
//! Each simulated device is a real agent of `tributary-device`: it enrols, holds a stream or polls,
//! downloads, trains, uploads and installs over the wire. Only its data, its speed and its faults
//! are simulated. With a seed the fleet sends the same bytes in every run, whatever the number of
//! threads: time is virtual, so a slow device gives its assignment back at once instead of sleeping.
//!
//! - [`fleet`], `error`: starting, watching and stopping a fleet, and why it can't start
//! - [`device`]: what one simulated device is made of
//! - [`behaviour`]: speed, drop-out and faults
//! - [`shard`], [`drift`]: the data of a device, and the switch that shifts a region's data
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod behaviour;
pub mod device;
pub mod drift;
mod error;
pub mod fleet;
pub mod shard;

pub use behaviour::{Behaviour, Fault, Pace};
pub use device::SimDevice;
pub use drift::{DriftInjection, DriftSwitch};
pub use error::FleetError;
pub use fleet::{
    DEVICES_PER_CONNECTION, Fleet, FleetConfig, FleetHandle, FleetStats, InstalledBuild,
};
pub use shard::Shard;
