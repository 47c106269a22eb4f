//! From an accepted assignment to the encoded update.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tributary_model::{
    Batch, Digest, FastEngine, LocalAlgorithm, ModelError, Personalisation, mean_loss,
    named_parameters, scaffold_offset,
};
use tributary_privacy::{LocalNoise, NoiseSource};
use tributary_proto::v1::ClipReport;

use crate::agent::core::Core;
use crate::agent::in_time::{Slot, StoppingEngine};
use crate::install::library::LoadedModel;
use crate::state::identity::IdentityError;
use crate::state::memory::{Kept, RunState};
use crate::state::permit::Permit;
use crate::state::randomness::{Purposes, seeded_or_os};
use crate::training::compute::Scratch;
use crate::training::data::Examples;
use crate::training::encode::Encoder;
use crate::training::error::TrainingError;
use crate::training::hooks::TrainingHooks;
use crate::training::local::{LocalWork, put_back};
use crate::training::payload::{Payload, Trained};
use crate::training::personal::Seen;
use crate::training::plan::LocalPlan;
use crate::training::privacy::noise_source;
use crate::training::subnormal::flush_subnormals;
use crate::training::update::EncodedUpdate;

/// Everything that one training needs, owned, so that it can go to another thread.
pub(crate) struct TrainingJob {
    pub(crate) core: Arc<Core>,
    pub(crate) run_id: String,
    pub(crate) round: u32,
    pub(crate) attempt: u32,
    pub(crate) plan: LocalPlan,
    pub(crate) pass: Permit,
    /// The models to choose from: the assigned one, or one per cluster.
    pub(crate) models: Vec<Arc<LoadedModel>>,
    /// The server's control variate; empty when the assignment names none.
    pub(crate) control: Vec<f32>,
}

/// What one training looks at.
struct Look<'a> {
    examples: &'a Examples,
    state: &'a RunState,
    personal: &'a [bool],
    control: &'a [f32],
}

impl Look<'_> {
    fn data(&self) -> Batch<'_> {
        Batch {
            inputs: &self.examples.inputs,
            labels: &self.examples.labels,
        }
    }
}

/// An update with the state that moves once it was counted.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) update: EncodedUpdate,
    pub(crate) pass: Permit,
    pub(crate) on_receipt: RunState,
}

impl TrainingJob {
    /// Trains, keeps what is personal, and makes the update. With a `slot` it ends when that is over.
    pub(crate) fn run(
        &self,
        examples: Examples,
        bench: &mut Scratch,
        slot: Option<&Slot>,
    ) -> Result<Finished, TrainingError> {
        let classes = self.models[0].graph.classes();
        let mut examples = self.core.conduct.alter_examples(examples, classes);
        if self.plan.is_private() {
            flush_examples(&mut examples);
        }
        let state = self.core.recall(&self.run_id);
        let cluster = self.choose(bench, &examples)?;
        let model = Arc::clone(&self.models[cluster]);
        let personal = self.personal_flags(&model);
        let control = self.control(model.weights.len())?;
        let look = Look {
            examples: &examples,
            state: &state,
            personal: &personal,
            control: &control,
        };
        let (trained, kept) = self.train(&model, &look, bench, slot)?;
        let mut payload = trained.payload()?;
        if slot.is_some_and(Slot::is_over) {
            return Err(TrainingError::Late);
        }
        if self.plan.is_private() {
            flush_subnormals(&mut payload.values);
        }
        self.note_personal(&model, cluster);
        let conduct = self.core.conduct.as_ref();
        let mut finished = self.encode(conduct, payload, &state, cluster)?;
        if self.plan.personalisation.is_some() {
            finished.on_receipt.merge(kept);
        }
        Ok(finished)
    }

    fn train<'a>(
        &'a self,
        model: &LoadedModel,
        look: &Look<'a>,
        bench: &mut Scratch,
        slot: Option<&Slot>,
    ) -> Result<(Trained<'a>, RunState), TrainingError> {
        let start = starting_point(model, look.personal, look.state);
        let offset = self.offset(look.control, look.state)?;
        let mut rng = self.stream(Purposes::Training)?;
        let parts = bench.engine(model);
        let loss = self.loss(parts.engine, model, look.data())?;
        parts.weights.clear();
        parts.weights.extend_from_slice(&start);
        let work = LocalWork {
            plan: &self.plan,
            data: look.data(),
            start: &start,
            offset: offset.as_deref(),
            personal: look.personal,
            state: look.state,
        };
        let mut engine = StoppingEngine {
            engine: parts.engine,
            slot,
        };
        let result = work.train(&mut engine, parts.weights, &mut rng)?;
        let pairs = parts.weights.iter().zip(start.iter());
        let trained = Trained {
            plan: &self.plan,
            delta: pairs.map(|(new, old)| new - old).collect(),
            steps: result.steps,
            examples: look.examples.len(),
            personal: look.personal,
            control: look.control,
            loss,
            state: look.state,
        };
        Ok((trained, result.kept))
    }

    /// Clips, noises and encodes a payload of the model of `cluster`.
    pub(crate) fn encode(
        &self,
        conduct: &dyn TrainingHooks,
        payload: Payload,
        state: &RunState,
        cluster: usize,
    ) -> Result<Finished, TrainingError> {
        let encoder = Encoder {
            conduct,
            codec: self.plan.codec,
            clip: self.plan.clip,
            wire_clip: self.plan.privacy.wire_clip,
            local: self.local_noise(payload.values.len())?,
        };
        let mut noise = self.stream(Purposes::Encoding)?;
        let encoded = encoder.encode(payload, state, &mut noise)?;
        let is_private = self.plan.is_private();
        let update = EncodedUpdate {
            run_id: self.run_id.clone(),
            round: self.round,
            model_digest: self.models[cluster].digest.to_string(),
            codec: self.plan.codec.to_string(),
            digest: Digest::of(&encoded.bytes),
            bytes: Bytes::from(encoded.bytes),
            // the payload has its share; the number of examples is nobody's business
            weight: if is_private { 0 } else { encoded.weight },
            work: if is_private { 0 } else { encoded.work },
            cluster: cluster as u32,
            clip_report: match (self.plan.privacy.report_within_clip, encoded.within_clip) {
                (false, _) => ClipReport::Unspecified,
                (true, true) => ClipReport::Within,
                (true, false) => ClipReport::Above,
            },
        };
        Ok(Finished {
            update,
            pass: self.pass.clone(),
            on_receipt: encoded.changes,
        })
    }

    fn stream(&self, purpose: Purposes) -> Result<rand_chacha::ChaCha20Rng, IdentityError> {
        let device = self.core.identity.device_id.as_str();
        let round = u64::from(self.round);
        seeded_or_os(&self.plan.seed, &self.run_id, round, device, purpose)
    }

    /// The device's own noise for a payload of `dimension` values, with a fresh key.
    fn local_noise(
        &self,
        dimension: usize,
    ) -> Result<Option<(LocalNoise, NoiseSource)>, TrainingError> {
        let Some(noise) = self.plan.privacy.noise(self.plan.clip, dimension)? else {
            return Ok(None);
        };
        let device = self.core.identity.device_id.as_str();
        let (seed, run) = (&self.plan.seed, &self.run_id);
        let source = noise_source(seed, run, self.round, self.attempt, device)?;
        Ok(Some((noise, source)))
    }

    /// Checks everything that the models and the plan decide, before the device looks at its data.
    ///
    /// # Errors
    /// What does not fit, by the field of the plan.
    pub(crate) fn check(&self) -> Result<(), TrainingError> {
        self.check_models()?;
        let personal = self.personal_flags(&self.models[0]);
        let noise = self
            .plan
            .privacy
            .noise(self.plan.clip, self.payload_length(&personal));
        noise.map(|_| ())?;
        self.control(self.models[0].weights.len()).map(|_| ())
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
                personalisation
                    .check(&model.graph)
                    .map_err(TrainingError::in_plan)?;
            }
        }
        Ok(())
    }

    /// The model with the smallest loss on the device's data, the first of equals (Ghosh et al. 2020,
    /// "IFCA", algorithm 1, line 7). A model whose loss is not finite is passed over.
    fn choose(&self, bench: &mut Scratch, examples: &Examples) -> Result<usize, ModelError> {
        let data = Batch {
            inputs: &examples.inputs,
            labels: &examples.labels,
        };
        let mut best = (0, f64::INFINITY);
        if self.models.len() > 1 {
            for (index, model) in self.models.iter().enumerate() {
                let engine = bench.engine(model).engine;
                let loss = match mean_loss(engine, &model.weights, data) {
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

    pub(crate) fn personal_flags(&self, model: &LoadedModel) -> Vec<bool> {
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
    fn loss(
        &self,
        engine: &mut FastEngine,
        model: &LoadedModel,
        data: Batch<'_>,
    ) -> Result<f64, ModelError> {
        match self.plan.algorithm {
            LocalAlgorithm::QFedAvg { .. } => mean_loss(engine, &model.weights, data),
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

/// Inputs without subnormal numbers; copied only where there are any.
fn flush_examples(examples: &mut Examples) {
    if examples.inputs.iter().any(|value| value.is_subnormal()) {
        let mut inputs = examples.inputs.to_vec();
        flush_subnormals(&mut inputs);
        examples.inputs = inputs.into();
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
