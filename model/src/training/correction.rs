//! What client algorithms add to the gradient of the data.

use crate::engine::check_len;
use crate::{Batch, Engine, ModelError};

/// Values corrected at a time: they stay in the first-level cache from one term to the next.
const BLOCK: usize = 1024;

/// Changes every step from `w -= rate x g` to
/// `w -= rate x (g + offset + strength (w - anchor))`, for the parameters that don't rest.
///
/// Without any part, training runs as if there were no correction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Correction<'a> {
    /// Added to each gradient; one value per parameter. SCAFFOLD: c - c_i; FedDyn: -g_i.
    pub offset: Option<&'a [f32]>,
    /// The pull towards an anchor. FedProx, FedDyn, Ditto.
    pub proximal: Option<Proximal<'a>>,
    /// One flag per parameter: true where it keeps its value. FedRep.
    pub frozen: Option<&'a [bool]>,
}

/// The derivative of `strength / 2 x |w - anchor|^2`.
#[derive(Debug, Clone, Copy)]
pub struct Proximal<'a> {
    /// How strong the pull is.
    pub strength: f32,
    /// Where it pulls to; one value per parameter.
    pub anchor: &'a [f32],
}

impl Correction<'_> {
    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        self.offset.is_none() && self.proximal.is_none() && self.frozen.is_none()
    }

    fn check(&self, parameters: usize) -> Result<(), ModelError> {
        if let Some(offset) = self.offset {
            check_len("correction offset", parameters, offset.len())?;
        }
        if let Some(proximal) = self.proximal {
            check_len("correction anchor", parameters, proximal.anchor.len())?;
        }
        if let Some(frozen) = self.frozen {
            check_len("correction mask", parameters, frozen.len())?;
        }
        Ok(())
    }
}

/// Takes corrected steps; holds the gradient's memory.
pub(super) struct Corrector<'a> {
    correction: Correction<'a>,
    gradient: Vec<f32>,
}

impl<'a> Corrector<'a> {
    pub(super) fn new(correction: Correction<'a>, parameters: usize) -> Result<Self, ModelError> {
        correction.check(parameters)?;
        let values = if correction.is_none() { 0 } else { parameters };
        Ok(Self {
            correction,
            gradient: vec![0.0; values],
        })
    }

    /// One step; returns the loss before it.
    pub(super) fn step(
        &mut self,
        engine: &mut dyn Engine,
        params: &mut [f32],
        batch: Batch<'_>,
        learning_rate: f32,
    ) -> Result<f32, ModelError> {
        if self.correction.is_none() {
            return engine.step(params, batch, learning_rate);
        }
        let loss = engine.gradient(params, batch, &mut self.gradient)?;
        self.descend(params, learning_rate);
        Ok(loss)
    }

    /// One pass over the parameters, block by block.
    fn descend(&mut self, params: &mut [f32], learning_rate: f32) {
        let blocks = params
            .chunks_mut(BLOCK)
            .zip(self.gradient.chunks_mut(BLOCK));
        for (index, (params, gradient)) in blocks.enumerate() {
            let range = index * BLOCK..index * BLOCK + params.len();
            if let Some(offset) = self.correction.offset {
                for (gradient, offset) in gradient.iter_mut().zip(&offset[range.clone()]) {
                    *gradient += offset;
                }
            }
            if let Some(Proximal { strength, anchor }) = self.correction.proximal {
                let pairs = params.iter().zip(&anchor[range.clone()]);
                for (gradient, (param, anchor)) in gradient.iter_mut().zip(pairs) {
                    *gradient += strength * (param - anchor);
                }
            }
            if let Some(frozen) = self.correction.frozen {
                for (gradient, &rests) in gradient.iter_mut().zip(&frozen[range]) {
                    *gradient = if rests { 0.0 } else { *gradient };
                }
            }
            for (param, gradient) in params.iter_mut().zip(gradient) {
                *param -= learning_rate * *gradient;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_and_parts_make_no_difference(
            // more than two blocks at most
            rows in prop::collection::vec((-2.0f32..2.0, -2.0f32..2.0, -2.0f32..2.0, -2.0f32..2.0, any::<bool>()), 1..2500),
            parts in any::<[bool; 3]>(),
            strength in 0.0f32..2.0,
        ) {
            let column = |of: fn(&(f32, f32, f32, f32, bool)) -> f32| rows.iter().map(of).collect();
            let mut params: Vec<f32> = column(|row| row.0);
            let gradient: Vec<f32> = column(|row| row.1);
            let offset: Vec<f32> = column(|row| row.2);
            let anchor: Vec<f32> = column(|row| row.3);
            let frozen: Vec<bool> = rows.iter().map(|row| row.4).collect();
            let correction = Correction {
                offset: parts[0].then_some(&offset[..]),
                proximal: parts[1].then_some(Proximal { strength, anchor: &anchor }),
                frozen: parts[2].then_some(&frozen[..]),
            };
            let expected: Vec<f32> = rows
                .iter()
                .map(|&(param, mut gradient, offset, anchor, frozen)| {
                    if parts[0] {
                        gradient += offset;
                    }
                    if parts[1] {
                        gradient += strength * (param - anchor);
                    }
                    if parts[2] && frozen { param } else { param - 0.5 * gradient }
                })
                .collect();
            let mut corrector = Corrector { correction, gradient };
            corrector.descend(&mut params, 0.5);
            prop_assert_eq!(params, expected);
        }
    }
}
