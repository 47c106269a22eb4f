//! The recipes of the runs that are audited.

use std::fmt::Write as _;

use tributary_model::{ModelError, ModelSpec};
use tributary_proto::RegionId;

use super::recipe::ModelRecipe;

/// The task of all audited runs.
pub(crate) const TASK: &str = "audit";

/// One run: as much of a recipe as audits vary.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Name of the run.
    pub(crate) name: String,
    /// Region of all its devices.
    pub(crate) region: RegionId,
    /// Input values of the model.
    pub(crate) features: usize,
    /// Units of its hidden layer.
    pub(crate) hidden: usize,
    /// Its classes.
    pub(crate) classes: usize,
    /// Rounds to publish.
    pub(crate) rounds: u32,
    /// Planned contributions: all devices.
    pub(crate) cohort: usize,
    /// Keys of `[rounds]` beside those above, one per line.
    pub(crate) more_rounds: String,
    /// Cap on examples that weigh; none: all alike.
    pub(crate) examples_cap: Option<u64>,
    /// The seed; none: noise from the operating system, as in production.
    pub(crate) seed: Option<u64>,
    /// The `[privacy]` section.
    pub(crate) privacy: Privacy,
}

/// The `[privacy]` section of an audited run.
#[derive(Clone, Debug)]
pub(crate) struct Privacy {
    /// `dp`, `local` or `none`.
    pub(crate) mode: &'static str,
    /// L2 clip.
    pub(crate) clip: f32,
    /// z; left out without noise.
    pub(crate) noise_multiplier: Option<f64>,
    /// Delta at which epsilon is stated.
    pub(crate) delta: f64,
    /// Keys beside those above, one per line, and sub-sections.
    pub(crate) more: String,
}

impl Privacy {
    /// Independent noise of `noise_multiplier` clips in every round.
    pub(crate) fn central(clip: f32, noise_multiplier: f64, delta: f64) -> Self {
        Self {
            mode: "dp",
            clip,
            noise_multiplier: Some(noise_multiplier),
            delta,
            more: String::new(),
        }
    }
}

impl Plan {
    /// A plan for `cohort` devices.
    pub(crate) fn new(
        name: &str,
        model: &ModelRecipe,
        rounds: u32,
        cohort: usize,
        privacy: Privacy,
    ) -> Result<Self, super::AuditError> {
        let region = TASK.parse().map_err(|_| {
            super::AuditError::setting("region", "can't be named", "use another name")
        })?;
        Ok(Self {
            name: name.to_owned(),
            region,
            features: model.features,
            hidden: model.hidden,
            classes: model.classes,
            rounds,
            cohort,
            more_rounds: String::new(),
            examples_cap: None,
            seed: None,
            privacy,
        })
    }

    /// Number of parameters of the model.
    pub(crate) fn dimension(&self) -> Result<usize, ModelError> {
        let spec = ModelSpec::perceptron(TASK, self.features, &[self.hidden], self.classes);
        Ok(spec.graph()?.layout().len())
    }

    /// The recipe as an operator writes it.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = format!("name = \"{}\"\ntask = \"{TASK}\"\n", self.name);
        let _ = writeln!(text, "regions = [\"{}\"]", self.region);
        if let Some(seed) = self.seed {
            let _ = writeln!(text, "seed = {seed}");
        }
        let _ = write!(
            text,
            "\n[model]\nname = \"{TASK}\"\ninput = [{}]\nlayers = [\n\
             {{ kind = \"dense\", units = {} }},\n{{ kind = \"relu\" }},\n\
             {{ kind = \"dense\", units = {} }},\n{{ kind = \"softmax\" }},\n]\n",
            self.features, self.hidden, self.classes
        );
        let _ = write!(
            text,
            "\n[rounds]\ncount = {}\ncohort = {}\nminimum = 1\nover_selection = 1.0\n\
             deadline_ms = 60000\n{}",
            self.rounds, self.cohort, self.more_rounds
        );
        // one step over one example: what is trained is never sent
        text.push_str(
            "\n[training]\nepochs = 1\nbatch_size = 1\nlearning_rate = 1e-6\nmax_steps = 1\n",
        );
        if let Some(cap) = self.examples_cap {
            let _ = writeln!(text, "examples_cap = {cap}");
        }
        let privacy = &self.privacy;
        let (mode, clip) = (privacy.mode, privacy.clip);
        let _ = write!(text, "\n[privacy]\nmode = \"{mode}\"\nclip = {clip:?}\n");
        if let Some(noise) = privacy.noise_multiplier {
            let _ = writeln!(text, "noise_multiplier = {noise:?}");
        }
        if mode != "none" {
            // what devices send is scripted: there is nothing to wait for
            text.push_str("answer_time = \"as-trained\"\n");
        }
        let _ = write!(text, "delta = {:?}\n{}", privacy.delta, privacy.more);
        text
    }
}
