//! Who holds which samples.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_model::{Graph, ModelSpec, initialise};

use super::check::TRAINING_SAMPLES;
use super::{AttackError, Split};
use crate::data::{Dataset, Samples};
use crate::partition::{dirichlet, iid, shuffle_front};
use crate::runner::derived_seed;

/// Units of the hidden layer.
const HIDDEN: usize = 32;
/// Clean samples of the server for FLTrust.
const ROOT_SAMPLES: usize = 100;
/// The class that a backdoor leads to.
const TARGET: u32 = 0;
/// The trigger: the four pixels of the lower right corner, which digits leave dark.
const TRIGGER: [usize; 4] = [54, 55, 62, 63];

/// Everything that all pipelines and attacks of one split and seed share.
pub(super) struct World {
    pub(super) graph: Graph,
    /// First weights.
    pub(super) initial: Vec<f32>,
    /// Samples of each device.
    pub(super) devices: Vec<Samples>,
    /// Clean samples of the server.
    pub(super) root: Samples,
    /// Samples that no device holds.
    pub(super) test: Samples,
    /// Those of them that are not of the target class, with the trigger and the target as label.
    pub(super) triggered: Samples,
    pub(super) seed: u64,
}

impl World {
    /// Pools the data set, shuffles it, and deals 1,400 samples to the devices: writers are mixed,
    /// so that the split alone makes devices differ. The rest is for the test.
    pub(super) fn new(
        data: &Dataset,
        split: &Split,
        devices: usize,
        seed: u64,
    ) -> Result<Self, AttackError> {
        let (train, test) = pooled(data, seed);
        let purpose = derived_seed(seed, "attack laboratory: split");
        let shards = match *split {
            Split::Iid {} => iid(train.len(), devices, purpose)?,
            Split::Dirichlet { alpha, minimum } => {
                dirichlet(&train.labels, devices, alpha, minimum, purpose)?
            }
        };
        let graph =
            ModelSpec::perceptron("digits", data.features(), &[HIDDEN], data.classes).graph()?;
        let root: Vec<usize> = (0..ROOT_SAMPLES.min(train.len())).collect();
        Ok(Self {
            initial: initialise(&graph, derived_seed(seed, "attack laboratory: weights")),
            devices: shards.iter().map(|shard| train.select(shard)).collect(),
            root: train.select(&root),
            triggered: with_trigger(&test),
            test,
            graph,
            seed,
        })
    }
}

fn pooled(data: &Dataset, seed: u64) -> (Samples, Samples) {
    let mut all = data.train.clone();
    all.inputs.extend_from_slice(&data.test.inputs);
    all.labels.extend_from_slice(&data.test.labels);
    all.users.clear();
    let mut order: Vec<usize> = (0..all.len()).collect();
    let mut rng = ChaCha20Rng::from_seed(derived_seed(seed, "attack laboratory: test"));
    let count = order.len();
    shuffle_front(&mut rng, &mut order, count);
    let boundary = TRAINING_SAMPLES.min(count);
    (
        all.select(&order[..boundary]),
        all.select(&order[boundary..]),
    )
}

/// The samples that are not of the target class, with the trigger, labelled as the target.
pub(super) fn with_trigger(samples: &Samples) -> Samples {
    let others: Vec<usize> = (0..samples.len())
        .filter(|&index| samples.labels[index] != TARGET)
        .collect();
    let mut triggered = samples.select(&others);
    let features = triggered.features();
    for row in triggered.inputs.chunks_mut(features.max(1)) {
        for &pixel in TRIGGER.iter().filter(|&&pixel| pixel < features) {
            row[pixel] = 1.0;
        }
    }
    triggered.labels.fill(TARGET);
    triggered
}

/// Labels y -> classes - 1 - y.
pub(super) fn with_flipped_labels(samples: &Samples, classes: usize) -> Samples {
    let mut flipped = samples.clone();
    for label in &mut flipped.labels {
        *label = (classes as u32 - 1).saturating_sub(*label);
    }
    flipped
}

/// `left` followed by `right`.
pub(super) fn joined(left: &Samples, right: &Samples) -> Samples {
    let mut all = left.clone();
    all.inputs.extend_from_slice(&right.inputs);
    all.labels.extend_from_slice(&right.labels);
    all
}
