//! From an assignment to the encoded update.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tributary_aggregator::{FeedbackError, LocalNoise, NoiseSource, UnknownCodec, UpdateError};
use tributary_model::{
    Batch, Digest, FastEngine, LocalAlgorithm, ModelError, Personalisation, mean_loss,
    named_parameters, scaffold_offset,
};

use crate::agent::Core;
use crate::compute::Workbench;
use crate::data::Examples;
use crate::encode::Encoder;
use crate::identity::IdentityError;
use crate::library::LoadedModel;
use crate::local::{LocalWork, put_back};
use crate::memory::{Kept, RunState};
use crate::payload::Trained;
use crate::personal::Seen;
use crate::plan::{LocalPlan, in_plan};
use crate::privacy::noise_source;
use crate::randomness::{Purposes, seeded_or_os};
use crate::turns::Pass;

/// A finished update, ready to be sent any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedUpdate {
    /// The run.
    pub run_id: String,
    /// The round, from 1.
    pub round: u32,
    /// Digest of the model version that the training started from.
    pub model_digest: String,
    /// Name of the codec.
    pub codec: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The encoded payload.
    pub bytes: Bytes,
    /// Its weight in units of 2^-20; 0 stands for 1.
    pub weight: u64,
    /// Its weight times its number of steps, in units of 2^-20; FedNova only.
    pub work: u64,
    /// The cluster that was trained, an index into the assignment's models; IFCA only.
    pub cluster: u32,
    /// Whether the payload's norm was at most the clip before clipping; false unless the plan asks.
    pub within_clip: bool,
}

/// Why there is no update.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The plan can't be followed.
    #[error("plan field {field} {problem}; the recipe of the run must be corrected")]
    Plan {
        /// Field of the plan.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The codec is not known to this device.
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    /// The model or the data does not fit, or training diverged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The payload can't be clipped.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The payload can't be joined with what earlier ones left out.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// Training changed nothing.
    #[error("the update is zero everywhere; check the data and the learning rate")]
    Zero,
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] IdentityError),
}

impl TrainingError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "bad_plan",
            Self::Codec(_) => "unknown_codec",
            Self::Model(_) => "model",
            Self::Update(_) => "clip",
            Self::Feedback(_) => "feedback",
            Self::Zero => "zero",
            Self::Randomness(_) => "randomness",
        }
    }
}

/// Everything that one training needs, owned, so that it can go to another thread.
pub(crate) struct TrainingJob {
    pub(crate) core: Arc<Core>,
    pub(crate) run_id: String,
    pub(crate) round: u32,
    pub(crate) attempt: u32,
    pub(crate) plan: LocalPlan,
    pub(crate) pass: Pass,
    /// The models to choose from: the assigned one, or one per cluster.
    pub(crate) models: Vec<Arc<LoadedModel>>,
    /// The server's control variate; empty when the assignment names none.
    pub(crate) control: Vec<f32>,
    pub(crate) examples: Examples,
}

/// An update with the state that moves once it was counted.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) update: EncodedUpdate,
    pub(crate) pass: Pass,
    pub(crate) on_receipt: RunState,
}

impl TrainingJob {
    /// Trains, keeps what is personal, and makes the update.
    pub(crate) fn run(mut self, bench: &mut Workbench) -> Result<Finished, TrainingError> {
        self.check_models()?;
        let classes = self.models[0].graph.classes();
        self.examples = self.core.conduct.alter_examples(self.examples, classes);
        let state = self.core.recall(&self.run_id);
        let cluster = self.choose(bench)?;
        let model = Arc::clone(&self.models[cluster]);
        let personal = self.personal_flags(&model);
        let local = self.local_noise(&personal)?;
        let start = starting_point(&model, &personal, &state);
        let control = self.control(start.len())?;
        let offset = self.offset(&control, &state)?;
        let mut rng = self.stream(Purposes::Training)?;

        let parts = bench.engine(&model);
        let loss = self.loss(parts.engine, &model)?;
        parts.weights.clear();
        parts.weights.extend_from_slice(&start);
        let work = LocalWork {
            plan: &self.plan,
            data: self.data(),
            start: &start,
            offset: offset.as_deref(),
            personal: &personal,
            state: &state,
        };
        let result = work.train(parts.engine, parts.weights, &mut rng)?;
        self.note_personal(&model, cluster);

        let pairs = parts.weights.iter().zip(start.iter());
        let trained = Trained {
            plan: &self.plan,
            delta: pairs.map(|(new, old)| new - old).collect(),
            steps: result.steps,
            examples: self.examples.len(),
            personal: &personal,
            control: &control,
            loss,
            state: &state,
        };
        let encoder = Encoder {
            conduct: self.core.conduct.as_ref(),
            codec: self.plan.codec,
            clip: self.plan.clip,
            wire_clip: self.plan.privacy.wire_clip,
            local,
        };
        let mut noise = self.stream(Purposes::Encoding)?;
        let encoded = encoder.encode(trained.payload()?, &state, &mut noise)?;
        let mut update = EncodedUpdate {
            run_id: self.run_id,
            round: self.round,
            model_digest: model.digest.to_string(),
            codec: self.plan.codec.to_string(),
            digest: Digest::of(&encoded.bytes),
            bytes: Bytes::from(encoded.bytes),
            weight: encoded.weight,
            work: encoded.work,
            cluster: cluster as u32,
            within_clip: self.plan.privacy.report_within_clip && encoded.within_clip,
        };
        self.core.conduct.alter_update(&mut update);
        let mut on_receipt = encoded.changes;
        if self.plan.personalisation.is_some() {
            on_receipt.merge(result.kept);
        }
        Ok(Finished {
            update,
            pass: self.pass,
            on_receipt,
        })
    }

    fn data(&self) -> Batch<'_> {
        Batch {
            inputs: &self.examples.inputs,
            labels: &self.examples.labels,
        }
    }

    fn stream(&self, purpose: Purposes) -> Result<rand_chacha::ChaCha20Rng, IdentityError> {
        let device = self.core.identity.device_id.as_str();
        let round = u64::from(self.round);
        seeded_or_os(&self.plan.seed, &self.run_id, round, device, purpose)
    }

    /// The device's own noise for this payload, with a fresh key.
    fn local_noise(
        &self,
        personal: &[bool],
    ) -> Result<Option<(LocalNoise, NoiseSource)>, TrainingError> {
        let kept = personal.iter().filter(|flag| **flag).count();
        let dimension = self.plan.parameters as usize - kept;
        let Some(noise) = self.plan.privacy.noise(self.plan.clip, dimension)? else {
            return Ok(None);
        };
        let device = self.core.identity.device_id.as_str();
        let (seed, run) = (&self.plan.seed, &self.run_id);
        let source = noise_source(seed, run, self.round, self.attempt, device)?;
        Ok(Some((noise, source)))
    }

    fn check_models(&self) -> Result<(), TrainingError> {
        let wrong = |field, problem| Err(TrainingError::Plan { field, problem });
        for model in &self.models {
            let values = model.weights.len();
            if self.plan.parameters != values as u64 {
                return wrong("parameters", format!("is not the model's {values}"));
            }
            if model.architecture != self.models[0].architecture {
                let problem = "must name models of one architecture".to_owned();
                return wrong("auxiliary_digests", problem);
            }
            if let Some(personalisation) = &self.plan.personalisation {
                personalisation.check(&model.graph).map_err(in_plan)?;
            }
        }
        Ok(())
    }

    /// The model with the smallest loss on the device's data, the first of equals (Ghosh et al. 2020,
    /// "IFCA", algorithm 1, line 7). A model whose loss is not finite is passed over.
    fn choose(&self, bench: &mut Workbench) -> Result<usize, ModelError> {
        let mut best = (0, f64::INFINITY);
        if self.models.len() > 1 {
            for (index, model) in self.models.iter().enumerate() {
                let engine = bench.engine(model).engine;
                let loss = match mean_loss(engine, &model.weights, self.data()) {
                    Err(ModelError::NotFinite { .. }) => continue,
                    loss => loss?,
                };
                if loss < best.1 {
                    best = (index, loss);
                }
            }
        }
        Ok(best.0)
    }

    fn personal_flags(&self, model: &LoadedModel) -> Vec<bool> {
        let layers = self.plan.personalisation.as_ref();
        match layers.map(Personalisation::personal_layers) {
            Some(layers) if !layers.is_empty() => named_parameters(&model.graph, layers),
            _ => Vec::new(),
        }
    }

    /// The server's control variate, zeros before it exists; empty for other algorithms.
    fn control(&self, parameters: usize) -> Result<Cow<'_, [f32]>, TrainingError> {
        if self.plan.algorithm != LocalAlgorithm::Scaffold {
            return Ok(Cow::Borrowed(&[]));
        }
        if self.control.is_empty() {
            return Ok(Cow::Owned(vec![0.0; parameters]));
        }
        let fits = self.control.len() == parameters;
        if fits && self.control.iter().all(|value| value.is_finite()) {
            return Ok(Cow::Borrowed(&self.control));
        }
        Err(TrainingError::Plan {
            field: "auxiliary_digests",
            problem: format!("must name a control variate of {parameters} finite values"),
        })
    }

    /// What SCAFFOLD and FedDyn add to every gradient.
    fn offset(&self, control: &[f32], state: &RunState) -> Result<Option<Vec<f32>>, ModelError> {
        let parameters = self.plan.parameters as usize;
        match self.plan.algorithm {
            LocalAlgorithm::Scaffold => match state.get(Kept::ControlVariate, parameters) {
                Some(own) => scaffold_offset(control, own).map(Some),
                None => Ok(Some(control.to_vec())),
            },
            LocalAlgorithm::FedDyn { .. } => {
                let own = state.get(Kept::DynamicGradient, parameters);
                Ok(own.map(|own| own.iter().map(|value| -value).collect()))
            }
            _ => Ok(None),
        }
    }

    /// The mean loss before training, where the algorithm weighs by it.
    fn loss(&self, engine: &mut FastEngine, model: &LoadedModel) -> Result<f64, ModelError> {
        match self.plan.algorithm {
            LocalAlgorithm::QFedAvg { .. } => mean_loss(engine, &model.weights, self.data()),
            _ => Ok(0.0),
        }
    }

    fn note_personal(&self, model: &Arc<LoadedModel>, cluster: usize) {
        if let Some(personalisation) = &self.plan.personalisation {
            self.core.seen.note(Seen {
                run_id: self.run_id.clone(),
                model: Arc::clone(model),
                personalisation: personalisation.clone(),
                cluster: cluster as u32,
            });
        }
    }
}

/// The assigned parameters, with the personal ones put in.
fn starting_point<'a>(model: &'a LoadedModel, flags: &[bool], state: &RunState) -> Cow<'a, [f32]> {
    let count = flags.iter().filter(|flag| **flag).count();
    match state.get(Kept::Personal, count) {
        Some(known) if count > 0 => {
            let mut start = model.weights.clone();
            put_back(&mut start, flags, known);
            Cow::Owned(start)
        }
        _ => Cow::Borrowed(&model.weights),
    }
}

impl Core {
    /// What is kept of a run; nothing when it can't be read, which is counted.
    pub(crate) fn recall(&self, run_id: &str) -> RunState {
        self.memory.load(run_id).unwrap_or_else(|error| {
            tracing::warn!(device = self.identity.hashed_id(), %error, "state of a run is lost");
            self.environment.tally.count("memory", error.reason());
            RunState::default()
        })
    }

    /// Keeps `changes`; a failure is counted and the old state stays.
    pub(crate) fn remember(&self, run_id: &str, changes: RunState) {
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.memory.merge(run_id, changes) {
            tracing::warn!(device = self.identity.hashed_id(), %error, "state of a run not kept");
            self.environment.tally.count("memory", error.reason());
        }
    }
}
