//! The seam where a simulation makes a device slow, absent or hostile.
//!
//! A real device uses [`NoHooks`], which trains at once and sends what it computed.

use std::time::Duration;

use crate::training::data::Examples;
use crate::training::update::EncodedUpdate;

/// What an assignment asks of the device.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    /// The run.
    pub run_id: &'a str,
    /// The round, from 1.
    pub round: u32,
    /// Examples that the device would train on.
    pub examples: usize,
    /// Optimiser steps, those for personal parameters included.
    pub steps: u64,
    /// Time until the lease ends.
    pub lease: Duration,
}

/// What the device does with an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Train at once.
    Train,
    /// Train after a pause of real time.
    TrainAfter(Duration),
    /// Give the assignment back with this reason: `battery`, `network`, `slow` or `failed`.
    Abandon(&'static str),
}

/// Decides over assignments and may alter what is sent.
pub trait TrainingHooks: Send + Sync {
    /// Whether and when to train.
    fn decide(&self, _workload: &Workload<'_>) -> Decision {
        Decision::Train
    }

    /// Changes the examples that are trained on. The model knows `classes` classes.
    fn alter_examples(&self, examples: Examples, _classes: usize) -> Examples {
        examples
    }

    /// Changes the payload before it is clipped: what arrives passes every check of its form.
    fn alter_delta(&self, _payload: &mut [f32]) {}

    /// Changes the clipped payload before it is encoded; true when it did. The payload is then
    /// encoded as it is, whatever its norm.
    fn alter_clipped(&self, _payload: &mut [f32]) -> bool {
        false
    }

    /// Changes the encoded update before it is sent.
    fn alter_update(&self, _update: &mut EncodedUpdate) {}

    /// How many times a finished update is sent; at least once.
    fn copies(&self) -> u32 {
        1
    }

    /// How long a finished update is held back, with `lease` left.
    fn hold(&self, _lease: Duration) -> Duration {
        Duration::ZERO
    }
}

/// Trains at once and sends what it computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl TrainingHooks for NoHooks {}
