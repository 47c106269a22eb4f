//! Privacy loss distributions: the tightest account of many equal steps.

mod compose;
mod discretise;

use super::error::check_steps;
use super::guarantee::{Accountant, Guarantee, NoisyRun};
use super::{AccountingError, Adjacency, PoissonGaussian, check_delta, check_epsilon_of_delta};
use compose::{MOST_POINTS, TooWide, ln_above};
use discretise::{StepLoss, StepLosses, discretise, width};

/// The step between losses unless another is asked for, the one that other accountants use as well.
pub const DEFAULT_GRID: f64 = 1e-4;

/// The finest and the coarsest grid that is accepted.
const GRIDS: (f64, f64) = (1e-7, 0.5);

/// The most steps of a run.
const MOST_STEPS: u64 = 1 << 32;

/// The privacy loss of one Gaussian step on a Poisson sample, ready to be composed with itself.
///
/// The claim is for adding or removing one device: both directions are computed and the larger
/// epsilon (or delta) is reported. Losses lie on a grid and every approximation counts against the
/// claim, so results are never below the truth; a finer grid is tighter, which shows where a
/// step's own loss is no larger than the grid (very rare samples over very many steps).
#[derive(Debug, Clone)]
pub struct LossDistribution {
    step: PoissonGaussian,
    losses: StepLosses,
}

impl LossDistribution {
    /// On the default grid, or a coarser one when the losses of a single step need more than two
    /// million points.
    ///
    /// # Errors
    /// [`AccountingError::LossTooWide`].
    pub fn new(step: &PoissonGaussian) -> Result<Self, AccountingError> {
        Self::with_grid(step, DEFAULT_GRID)
    }

    /// On a grid of this step, from 1e-7 to 0.5, or a coarser one as in [`LossDistribution::new`].
    /// [`Guarantee::accountant`] tells which grid was used.
    ///
    /// # Errors
    /// [`AccountingError::BadGrid`], [`AccountingError::LossTooWide`].
    pub fn with_grid(step: &PoissonGaussian, grid: f64) -> Result<Self, AccountingError> {
        let (least, most) = GRIDS;
        if !(least..=most).contains(&grid) {
            return Err(AccountingError::BadGrid { grid, least, most });
        }
        let mut grid = grid;
        while width(step, grid) > MOST_POINTS {
            grid *= 2.0;
            if grid > most {
                return Err(AccountingError::LossTooWide { steps: 1 });
            }
        }
        let losses = if step.sampling_rate() == 0.0 {
            StepLosses {
                removal: StepLoss::none(grid),
                addition: StepLoss::none(grid),
            }
        } else {
            discretise(step, grid)
        };
        Ok(Self {
            step: *step,
            losses,
        })
    }

    /// The step between losses.
    pub fn grid(&self) -> f64 {
        self.losses.removal.grid
    }

    /// The epsilon at `delta` of `steps` steps.
    ///
    /// # Errors
    /// [`AccountingError::BadDelta`]; [`AccountingError::NoSteps`];
    /// [`AccountingError::TooManySteps`] above 2^32; [`AccountingError::DeltaTooSmall`] below the
    /// mass that the grid leaves out, about 4e-33 per step; [`AccountingError::LossTooWide`].
    pub fn epsilon(&self, steps: u64, delta: f64) -> Result<Guarantee, AccountingError> {
        check_delta(delta)?;
        self.answer(steps, |losses| {
            let removal = epsilon(&losses.removal, steps, delta, 0.0)?;
            epsilon(&losses.addition, steps, delta, removal)
        })
        .map(|(epsilon, grid)| self.guarantee(steps, epsilon, delta, grid))
    }

    /// The delta at `epsilon` of `steps` steps.
    ///
    /// # Errors
    /// [`AccountingError::BadEpsilon`] unless epsilon is finite and at least 0; otherwise as [`LossDistribution::epsilon`].
    pub fn delta(&self, steps: u64, epsilon: f64) -> Result<Guarantee, AccountingError> {
        check_epsilon_of_delta(epsilon)?;
        self.answer(steps, |losses| {
            Ok(delta(&losses.removal, steps, epsilon)?.max(delta(
                &losses.addition,
                steps,
                epsilon,
            )?))
        })
        .map(|(delta, grid)| self.guarantee(steps, epsilon, delta, grid))
    }

    /// Evaluates on ever coarser grids until the windows fit; returns the grid as well.
    fn answer(
        &self,
        steps: u64,
        evaluate: impl Fn(&StepLosses) -> Result<f64, Stopped>,
    ) -> Result<(f64, f64), AccountingError> {
        check_steps(steps)?;
        if steps > MOST_STEPS {
            let most = MOST_STEPS;
            return Err(AccountingError::TooManySteps { steps, most });
        }
        let mut coarser;
        let mut losses = &self.losses;
        loop {
            let grid = losses.removal.grid;
            let factor = match evaluate(losses) {
                Ok(value) => return Ok((value, grid)),
                Err(Stopped::Refused(error)) => return Err(error),
                Err(Stopped::TooWide(TooWide { factor })) => factor,
            };
            // windows scale with the grid but for the deviations that the coarser grid adds
            let grid = grid * 2f64.powf(factor.log2().ceil().max(1.0));
            if !(..=GRIDS.1).contains(&grid) {
                return Err(AccountingError::LossTooWide { steps });
            }
            coarser = discretise(&self.step, grid);
            losses = &coarser;
        }
    }

    fn guarantee(&self, steps: u64, epsilon: f64, delta: f64, grid: f64) -> Guarantee {
        Guarantee {
            epsilon,
            delta,
            adjacency: Adjacency::AddOrRemoveDevice,
            mechanism: NoisyRun::Poisson {
                step: self.step,
                steps,
            },
            accountant: Accountant::Pld { grid },
        }
    }
}

/// Why an evaluation stopped.
enum Stopped {
    TooWide(TooWide),
    Refused(AccountingError),
}

/// The probability that any of `steps` losses is infinite, at most.
fn lost(loss: &StepLoss, steps: u64) -> f64 {
    (loss.lost * steps as f64).min(1.0)
}

/// The epsilon of one direction, or `known` if that is larger.
fn epsilon(loss: &StepLoss, steps: u64, delta: f64, known: f64) -> Result<f64, Stopped> {
    let count = steps as f64;
    // what the window may use: a little goes to the mass above it
    let above = ln_above(delta.ln());
    let left = delta - lost(loss, steps) - above.exp();
    if left < 0.5 * delta {
        let least = 2.5 * lost(loss, steps);
        let error = AccountingError::DeltaTooSmall { delta, least };
        return Err(Stopped::Refused(error));
    }
    // bounds that cost little often settle it: the largest loss there is, then Chernoff's
    if count * loss.largest() <= known {
        return Ok(known);
    }
    let tilt = loss.tilt_for_delta(count, left.ln());
    if loss.rarely_passed(count, tilt, left.ln()) <= known {
        return Ok(known);
    }
    let top = loss.rarely_passed(count, tilt, above);
    let mut lowest = None;
    loop {
        let window = loss
            .compose(steps, tilt, lowest, top)
            .map_err(Stopped::TooWide)?;
        match window.epsilon(left.ln()) {
            Some(epsilon) => return Ok(epsilon.max(known)),
            None if window.bottom() <= known => return Ok(known),
            None => lowest = Some((2.0 * window.bottom() - top).max(known)),
        }
    }
}

/// The delta of one direction.
fn delta(loss: &StepLoss, steps: u64, epsilon: f64) -> Result<f64, Stopped> {
    let count = steps as f64;
    let lost = lost(loss, steps);
    if count * loss.largest() <= epsilon {
        return Ok(lost);
    }
    let tilt = loss.tilt_for_epsilon(count, epsilon);
    let chernoff = count * loss.ln_moment(tilt) - tilt * epsilon;
    // delta may be thousands of times smaller than Chernoff's bound, hence a share of a share
    let above = ln_above(ln_above(chernoff.min(0.0)));
    let top = loss.rarely_passed(count, tilt, above);
    if top <= epsilon {
        return Ok((lost + above.exp()).min(1.0));
    }
    let window = loss
        .compose(steps, tilt, Some(epsilon), top)
        .map_err(Stopped::TooWide)?;
    Ok((window.ln_delta(epsilon).exp() + lost + above.exp()).min(1.0))
}

#[cfg(test)]
mod tests;
