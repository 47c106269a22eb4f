//! Running a quantised model with integers, in an arena as small as its plan.

use std::ops::Range;

use super::kernel::{Int8Tensor, Step};
use super::vectors::SelfTest;
use crate::ModelError;
use crate::arena::{ArenaPlan, TensorLifetime, plan_arena};
use crate::bundle::BUNDLE_NAME_LIMIT;

/// A model whose inference needs integers only: a chain of steps, ready to be sent to a device.
///
/// Made by [`quantise`](super::quantise) or read from a [bundle](crate::bundle). The final softmax
/// is left out: the highest score is the same class without it.
#[derive(Debug, Clone)]
pub struct Int8Model {
    name: String,
    input: Int8Tensor,
    steps: Vec<Step>,
    self_tests: Vec<SelfTest>,
    plan: ArenaPlan,
}

/// Memory for inference, reused from call to call; grows to the arena of the largest model run.
#[derive(Debug, Clone, Default)]
pub struct Int8Scratch {
    arena: Vec<i8>,
    input: Vec<i8>,
}

impl Int8Scratch {
    /// The arena, for the self-test.
    pub(super) fn arena_mut(&mut self) -> &mut Vec<i8> {
        &mut self.arena
    }
}

/// What a model says of one example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int8Prediction<'s> {
    /// The class with the highest score; the lowest of several.
    pub class: usize,
    /// One score per class, quantised logits; see [`Int8Model::logits`].
    pub scores: &'s [i8],
}

impl Int8Model {
    /// Puts checked parts together and plans the arena. The name is cut to the bundle's limit.
    pub(crate) fn assemble(name: &str, input: Int8Tensor, steps: Vec<Step>) -> Self {
        let mut end = name.len().min(BUNDLE_NAME_LIMIT);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let sizes = std::iter::once(input.len()).chain(steps.iter().map(|step| step.output.len()));
        // Step i reads tensor i and writes tensor i + 1.
        let lifetimes: Vec<_> = sizes
            .enumerate()
            .map(|(index, bytes)| {
                let first = index.saturating_sub(1);
                TensorLifetime {
                    bytes,
                    first,
                    last: index,
                }
            })
            .collect();
        let plan = plan_arena(&lifetimes);
        Self {
            name: name[..end].to_owned(),
            input,
            steps,
            self_tests: Vec::new(),
            plan,
        }
    }

    /// The model's name, at most 255 bytes of it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tensor that [`predict`](Self::predict) fills from its input.
    pub fn input(&self) -> &Int8Tensor {
        &self.input
    }

    /// The steps, first to last.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The tensor of scores.
    pub fn output(&self) -> &Int8Tensor {
        self.steps.last().map_or(&self.input, |step| &step.output)
    }

    /// Number of input values.
    pub fn features(&self) -> usize {
        self.input.len()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.output().len()
    }

    /// Where each tensor lies in RAM during inference, and the bytes needed.
    pub fn arena(&self) -> &ArenaPlan {
        &self.plan
    }

    /// Bytes of flash a slot needs: the length of the bundle.
    pub fn flash_bytes(&self) -> usize {
        self.to_bytes().len()
    }

    /// The self-test vectors.
    pub(crate) fn self_tests(&self) -> &[SelfTest] {
        &self.self_tests
    }

    pub(crate) fn set_self_tests(&mut self, self_tests: Vec<SelfTest>) {
        self.self_tests = self_tests;
    }

    /// Classifies one example of real values. Values outside the calibrated range saturate.
    ///
    /// # Errors
    /// If `input` has another length than [`features`](Self::features), or a value is not finite.
    pub fn predict<'s>(
        &self,
        input: &[f32],
        scratch: &'s mut Int8Scratch,
    ) -> Result<Int8Prediction<'s>, ModelError> {
        self.check_length(input.len())?;
        if let Some(index) = input.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::NotFinite {
                what: "input",
                index,
            });
        }
        let mut quantised = std::mem::take(&mut scratch.input);
        quantised.clear();
        quantised.extend(input.iter().map(|&value| self.input.scale.quantise(value)));
        let scores = self.run(&quantised, &mut scratch.arena, |_| {});
        scratch.input = quantised;
        Ok(prediction(&scratch.arena[scores]))
    }

    /// Classifies one example that is already quantised with the input's scale.
    ///
    /// # Errors
    /// If `input` has another length than [`features`](Self::features).
    pub fn predict_quantised<'s>(
        &self,
        input: &[i8],
        scratch: &'s mut Int8Scratch,
    ) -> Result<Int8Prediction<'s>, ModelError> {
        self.check_length(input.len())?;
        let scores = self.run(input, &mut scratch.arena, |_| {});
        Ok(prediction(&scratch.arena[scores]))
    }

    /// The real logits that quantised scores stand for.
    pub fn logits(&self, scores: &[i8]) -> Vec<f32> {
        scores
            .iter()
            .map(|&score| self.output().scale.dequantise(score))
            .collect()
    }

    /// Class probabilities: the softmax of the dequantised scores, in floating point. Reporting
    /// only; the class does not depend on it.
    pub fn probabilities(&self, scores: &[i8]) -> Vec<f32> {
        let logits = self.logits(scores);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f32 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    }

    /// Share of examples classified as labelled; `inputs` holds them row after row.
    ///
    /// # Errors
    /// If there are no labels, lengths disagree or a value is not finite.
    pub fn accuracy(
        &self,
        inputs: &[f32],
        labels: &[u32],
        scratch: &mut Int8Scratch,
    ) -> Result<f64, ModelError> {
        if labels.is_empty() {
            return Err(ModelError::EmptyBatch);
        }
        let expected = labels.len() * self.features();
        if inputs.len() != expected {
            let actual = inputs.len();
            return Err(ModelError::WrongLength {
                what: "inputs",
                expected,
                actual,
            });
        }
        let mut correct = 0_usize;
        for (example, &label) in inputs.chunks_exact(self.features()).zip(labels) {
            let class = self.predict(example, scratch)?.class;
            correct += usize::from(class as u64 == u64::from(label));
        }
        Ok(correct as f64 / labels.len() as f64)
    }

    fn check_length(&self, actual: usize) -> Result<(), ModelError> {
        let expected = self.features();
        if actual == expected {
            Ok(())
        } else {
            Err(ModelError::WrongLength {
                what: "input",
                expected,
                actual,
            })
        }
    }

    /// Runs all steps on an input of the right length, shows each output to `observe`, and returns
    /// where in the arena the scores are.
    pub(super) fn run(
        &self,
        input: &[i8],
        arena: &mut Vec<i8>,
        mut observe: impl FnMut(&[i8]),
    ) -> Range<usize> {
        if arena.len() < self.plan.bytes {
            arena.resize(self.plan.bytes, 0);
        }
        let mut current = self.place(0, input.len());
        arena[current.clone()].copy_from_slice(input);
        for (index, step) in self.steps.iter().enumerate() {
            let next = self.place(index + 1, step.output.len());
            let (source, target) = two_places(arena, current, next.clone());
            step.kernel.run(source, target);
            observe(target);
            current = next;
        }
        current
    }

    /// Where tensor `index` lies in the arena.
    fn place(&self, index: usize, length: usize) -> Range<usize> {
        let offset = self.plan.offsets[index];
        offset..offset + length
    }
}

/// A place to read and a place to write in the arena; the plan keeps them apart.
fn two_places(arena: &mut [i8], read: Range<usize>, write: Range<usize>) -> (&[i8], &mut [i8]) {
    if read.end <= write.start {
        let (low, high) = arena.split_at_mut(write.start);
        (&low[read], &mut high[..write.len()])
    } else {
        let (low, high) = arena.split_at_mut(read.start);
        (&high[..read.len()], &mut low[write])
    }
}

fn prediction(scores: &[i8]) -> Int8Prediction<'_> {
    let best = scores
        .iter()
        .enumerate()
        .max_by_key(|&(class, &score)| (score, -(class as i64)));
    Int8Prediction {
        class: best.map_or(0, |(class, _)| class),
        scores,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_give_the_lowest_class() {
        assert_eq!(prediction(&[-5, 7, 7, 1]).class, 1);
        assert_eq!(prediction(&[-128, -128]).class, 0);
    }

    #[test]
    fn reading_and_writing_places_may_lie_in_any_order() {
        let mut arena: Vec<i8> = (0..8).collect();
        let (read, write) = two_places(&mut arena, 0..3, 4..6);
        assert_eq!((read, write), (&[0, 1, 2][..], &mut [4, 5][..]));
        let (read, write) = two_places(&mut arena, 4..8, 1..3);
        assert_eq!((read, write), (&[4, 5, 6, 7][..], &mut [1, 2][..]));
    }
}
