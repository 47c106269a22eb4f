//! Whether a build fits a device.

use std::fmt;

use thiserror::Error;

use crate::quant::Int8Model;

/// A kind of memory that a device has too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceMemory {
    /// RAM for the activation arena.
    Ram,
    /// One of the two flash slots that hold builds.
    FlashSlot,
}

impl fmt::Display for DeviceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ram => "RAM for the activation arena",
            Self::FlashSlot => "flash in a slot",
        })
    }
}

/// Why a build does not fit a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "build needs {needed} bytes of {what}, the device has {available}; use a smaller variant or prune it"
)]
pub struct FitError {
    /// The memory that is too small.
    pub what: DeviceMemory,
    /// Bytes the build needs.
    pub needed: usize,
    /// Bytes the device has.
    pub available: usize,
}

/// Checks a build against what a device has free for models: `ram_bytes` for the arena (buffers for
/// input and output are inside it; the caller's stack is not) and `slot_bytes` of flash per slot.
///
/// # Errors
/// The memory that is too small; flash first, as it is what a transfer would fill.
pub fn fits(model: &Int8Model, ram_bytes: usize, slot_bytes: usize) -> Result<(), FitError> {
    let requirements = [
        (DeviceMemory::FlashSlot, model.flash_bytes(), slot_bytes),
        (DeviceMemory::Ram, model.arena().bytes, ram_bytes),
    ];
    for (what, needed, available) in requirements {
        if needed > available {
            return Err(FitError {
                what,
                needed,
                available,
            });
        }
    }
    Ok(())
}
