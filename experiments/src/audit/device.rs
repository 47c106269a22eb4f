//! Devices that send what the auditor says, through the agent that every device runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tributary_device::{
    DataError, Decision, EncodedUpdate, Examples, LocalData, Purpose, TrainingHooks, Workload,
};

/// What a device does in a round.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Gives its assignment back.
    StayAway,
    /// Sends this payload like any other: it is clipped and encoded by the agent.
    Send(Vec<f32>),
    /// Its training fails: what it computes is not a number.
    Fail,
    /// Sends this payload as it is, whatever its norm: what a device whose software was changed does.
    SendUnclipped(Vec<f32>),
}

/// What a device does in each round, from 1.
pub(crate) type Script = Arc<dyn Fn(u32) -> Act + Send + Sync>;

/// A device that follows a script.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) script: Script,
    /// Examples that it holds, at least 1.
    pub(crate) examples: usize,
    /// The weight that it claims in units of 2^-20, instead of what the plan says.
    pub(crate) claims: Option<u64>,
}

impl Scripted {
    /// A device with one example.
    pub(crate) fn new(script: impl Fn(u32) -> Act + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            examples: 1,
            claims: None,
        }
    }

    /// The same device with so many examples.
    pub(crate) fn holding(mut self, examples: usize) -> Self {
        self.examples = examples;
        self
    }
}

/// What devices sent, as it travelled: by round and number of the device.
#[derive(Default)]
pub(crate) struct Sent(Mutex<BTreeMap<(u32, usize), Vec<f32>>>);

impl Sent {
    /// Takes what was sent in a round, by number of the device.
    pub(crate) fn take(&self, round: u32) -> BTreeMap<usize, Vec<f32>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_round = all.extract_if((round, 0)..(round + 1, 0), |_, _| true);
        of_round
            .map(|((_, device), values)| (device, values))
            .collect()
    }

    fn note(&self, round: u32, device: usize, bytes: &[u8]) {
        let (raw, _) = bytes.as_chunks::<4>();
        let values = raw.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((round, device), values);
    }
}

/// Puts a script's payload in the place of what was trained, and notes the bytes that leave.
pub(crate) struct ScriptedConduct {
    pub(crate) number: usize,
    pub(crate) device: Scripted,
    pub(crate) sent: Arc<Sent>,
    /// The round at work; an agent works on one at a time.
    pub(crate) round: AtomicU32,
}

impl ScriptedConduct {
    fn act(&self) -> Act {
        (self.device.script)(self.round.load(Ordering::Acquire))
    }
}

impl TrainingHooks for ScriptedConduct {
    fn decide(&self, workload: &Workload<'_>) -> Decision {
        self.round.store(workload.round, Ordering::Release);
        match self.act() {
            Act::StayAway => Decision::Abandon("network"),
            Act::Send(_) | Act::Fail | Act::SendUnclipped(_) => Decision::Train,
        }
    }

    fn alter_delta(&self, payload: &mut [f32]) {
        match self.act() {
            Act::Send(values) => put(&values, payload),
            // anything that the agent lets pass; it is replaced after clipping
            Act::SendUnclipped(_) => payload.fill(1.0),
            Act::Fail => payload.fill(f32::NAN),
            Act::StayAway => {}
        }
    }

    fn alter_clipped(&self, payload: &mut [f32]) -> bool {
        let Act::SendUnclipped(values) = self.act() else {
            return false;
        };
        put(&values, payload);
        true
    }

    fn alter_update(&self, update: &mut EncodedUpdate) {
        if let Some(weight) = self.device.claims {
            update.weight = weight;
        }
        self.sent.note(update.round, self.number, &update.bytes);
    }
}

/// Copies as many values as there are on both sides.
fn put(values: &[f32], payload: &mut [f32]) {
    for (place, value) in payload.iter_mut().zip(values) {
        *place = *value;
    }
}

/// Examples without content: what is trained on them is never sent.
pub(crate) struct Blank {
    pub(crate) examples: Examples,
}

impl Blank {
    pub(crate) fn new(count: usize, features: usize) -> Self {
        let examples = Examples {
            inputs: vec![0.0; count * features].into(),
            labels: vec![0; count].into(),
        };
        Self { examples }
    }
}

impl LocalData for Blank {
    fn examples(&self, _task: &str, _purpose: &Purpose) -> Result<Examples, DataError> {
        Ok(self.examples.clone())
    }
}
