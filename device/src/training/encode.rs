//! Clipping, noising and encoding of a payload, and the feedback of what a sparse codec leaves out.

use rand_chacha::ChaCha20Rng;
use tributary_aggregator::{Codec, ErrorFeedback};
use tributary_privacy::{LocalNoise, NoiseSource};

use crate::state::memory::{Kept, RunState};
use crate::training::error::TrainingError;
use crate::training::hooks::TrainingHooks;
use crate::training::payload::Payload;

/// Longest residual in clips: about what top-1 % leaves out when every update is as long as the
/// clip. Under a clip that always binds it would grow without end.
const RESIDUAL_CLIPS: f32 = 100.0;

/// Makes bytes of payloads.
pub(crate) struct Encoder<'a> {
    pub(crate) conduct: &'a dyn TrainingHooks,
    pub(crate) codec: Codec,
    pub(crate) clip: f32,
    /// L2 norm that the encoded payload may have.
    pub(crate) wire_clip: f32,
    /// The device's own noise and its key.
    pub(crate) local: Option<(LocalNoise, NoiseSource)>,
}

/// An encoded payload.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) weight: u64,
    pub(crate) work: u64,
    /// Whether the payload's norm was at most the clip before clipping.
    pub(crate) within_clip: bool,
    /// State that moves once the payload was counted.
    pub(crate) changes: RunState,
}

impl Encoder<'_> {
    pub(crate) fn encode(
        mut self,
        mut payload: Payload,
        state: &RunState,
        noise: &mut ChaCha20Rng,
    ) -> Result<Encoded, TrainingError> {
        self.conduct.alter_delta(&mut payload.values);
        let (weight, work, share) = (payload.weight, payload.work, payload.share);
        let feedback = self.add_residual(&mut payload.values, state, noise)?;
        let factor = payload.clip(self.clip)?;
        if let Some((local, source)) = &mut self.local {
            local.add(&mut payload.values, source)?;
        }
        // with feedback nothing is lost to the clip: the residual sends it later
        let factor = if feedback.is_some() { 1.0 } else { factor };
        let mut changes = payload.changes(factor, state);
        let bytes = if self.conduct.alter_clipped(&mut payload.values) {
            self.codec.encode(&payload.values, noise)
        } else {
            let bytes = self
                .codec
                .encode_clipped(&payload.values, self.wire_clip, noise)?;
            if let Some((feedback, wanted)) = feedback {
                let residual = self.residual(feedback, &wanted, &bytes, share)?;
                changes.set(Kept::Residual, residual);
            }
            bytes
        };
        Ok(Encoded {
            bytes,
            weight,
            work,
            within_clip: payload.within_clip,
            changes,
        })
    }

    /// For a sparse codec: adds what earlier payloads left out and leaves in `values` the part that
    /// is sent, so that the clip measures that part alone. Returns the feedback and the whole.
    fn add_residual(
        &self,
        values: &mut [f32],
        state: &RunState,
        noise: &mut ChaCha20Rng,
    ) -> Result<Option<(ErrorFeedback, Vec<f32>)>, TrainingError> {
        if !self.codec.scheme().is_sparse() {
            return Ok(None);
        }
        let feedback = match state.get(Kept::Residual, values.len()) {
            Some(residual) => ErrorFeedback::from_residual(residual.to_vec())?,
            None => ErrorFeedback::new(values.len()),
        };
        let wanted = feedback.compensate(values)?;
        let bytes = self.codec.encode(&wanted, noise);
        self.codec.decode_into(&bytes, values)?;
        Ok(Some((feedback, wanted)))
    }

    /// What `bytes` leave out of `wanted`, once the share of examples is taken out of them.
    fn residual(
        &self,
        mut feedback: ErrorFeedback,
        wanted: &[f32],
        bytes: &[u8],
        share: f32,
    ) -> Result<Vec<f32>, TrainingError> {
        let mut sent = vec![0.0; wanted.len()];
        self.codec.decode_into(bytes, &mut sent)?;
        sent.iter_mut().for_each(|value| *value /= share);
        feedback.settle(wanted, &sent)?;
        feedback.limit(self.clip * RESIDUAL_CLIPS)?;
        Ok(feedback.residual().to_vec())
    }
}
