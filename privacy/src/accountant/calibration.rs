//! From a target (epsilon, delta) to the noise or the number of steps that keeps it.

use super::guarantee::Guarantee;
use super::{
    AccountingError, FixedSizeGaussian, LEAST_NOISE_MULTIPLIER, LossDistribution, PoissonGaussian,
    RdpCurve, check_delta, check_epsilon, default_orders,
};

/// The largest noise multiplier that is tried.
const MOST_NOISE: f64 = (1u64 << 40) as f64;

/// The most steps that are counted.
const MOST_STEPS: u64 = 1 << 32;

/// Which accountant answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Renyi differential privacy at the default orders.
    Rdp,
    /// The privacy loss distribution on the default grid.
    Pld,
}

impl Method {
    /// The (epsilon, delta) of a run of Poisson steps by this accountant.
    ///
    /// # Errors
    /// Those of [`RdpCurve::poisson_gaussian`] and [`RdpCurve::epsilon`], or of
    /// [`LossDistribution::new`] and [`LossDistribution::epsilon`].
    pub fn epsilon(
        self,
        step: &PoissonGaussian,
        steps: u64,
        delta: f64,
    ) -> Result<Guarantee, AccountingError> {
        match self {
            Self::Rdp => RdpCurve::poisson_gaussian(step, steps, &default_orders())?.epsilon(delta),
            Self::Pld => LossDistribution::new(step)?.epsilon(steps, delta),
        }
    }

    /// Relative distance from the exact answer at which the search ends, on the private side.
    fn tolerance(self) -> f64 {
        match self {
            Self::Rdp => 1e-10,
            Self::Pld => 1e-6,
        }
    }
}

/// The least noise multiplier with which `steps` steps on Poisson samples of rate `sampling_rate`
/// keep `epsilon` at `delta`, with the guarantee that it gives. It errs on the side of more noise, by
/// a millionth at most.
///
/// # Errors
/// [`AccountingError::BadSamplingRate`], [`AccountingError::BadEpsilon`],
/// [`AccountingError::BadDelta`], [`AccountingError::NoSteps`]; [`AccountingError::Unreachable`] when
/// no multiplier up to 10^12 suffices; those of [`Method::epsilon`].
pub fn poisson_noise_multiplier(
    sampling_rate: f64,
    steps: u64,
    epsilon: f64,
    delta: f64,
    method: Method,
) -> Result<(f64, Guarantee), AccountingError> {
    let by = |method: Method| {
        move |noise| method.epsilon(&PoissonGaussian::new(sampling_rate, noise)?, steps, delta)
    };
    let target = Target { epsilon, delta };
    let cheap = least_noise(target, 1.0, Method::Rdp.tolerance(), by(Method::Rdp))?;
    match method {
        Method::Rdp => Ok(cheap),
        // the cheap answer is close, and nearly always private
        Method::Pld => least_noise(target, cheap.0, method.tolerance(), by(method)),
    }
}

/// The same for samples of fixed size, by RDP; the multiplier is over the sensitivity 2 C, see
/// [`FixedSizeGaussian::new`].
///
/// # Errors
/// [`AccountingError::BadSample`], and as [`poisson_noise_multiplier`].
pub fn fixed_size_noise_multiplier(
    population: u64,
    sample: u64,
    steps: u64,
    epsilon: f64,
    delta: f64,
) -> Result<(f64, Guarantee), AccountingError> {
    let orders = default_orders();
    let target = Target { epsilon, delta };
    least_noise(target, 1.0, Method::Rdp.tolerance(), |noise| {
        let step = FixedSizeGaussian::new(population, sample, noise)?;
        RdpCurve::fixed_size_gaussian(&step, steps, &orders)?.epsilon(delta)
    })
}

/// The most steps, up to 2^32, that keep `epsilon` at `delta`, with the guarantee that they give.
///
/// # Errors
/// [`AccountingError::BadEpsilon`], [`AccountingError::BadDelta`];
/// [`AccountingError::NotOneStep`] when one step is too many; those of [`Method::epsilon`].
pub fn most_poisson_steps(
    step: &PoissonGaussian,
    epsilon: f64,
    delta: f64,
    method: Method,
) -> Result<(u64, Guarantee), AccountingError> {
    check_epsilon(epsilon)?;
    check_delta(delta)?;
    let after: Box<dyn Fn(u64) -> Result<Guarantee, AccountingError>> = match method {
        Method::Rdp => {
            let one = RdpCurve::poisson_gaussian(step, 1, &default_orders())?;
            Box::new(move |steps| one.repeated(step, steps).epsilon(delta))
        }
        Method::Pld => {
            let loss = LossDistribution::new(step)?;
            Box::new(move |steps| loss.epsilon(steps, delta))
        }
    };
    let mut best = after(1)?;
    if best.epsilon > epsilon {
        return Err(AccountingError::NotOneStep { epsilon, delta });
    }
    // `low` steps are affordable, `high` are not
    let (mut low, mut high) = (1u64, 2u64);
    while high < MOST_STEPS {
        let more = after(high)?;
        if more.epsilon > epsilon {
            break;
        }
        (low, high, best) = (high, 2 * high, more);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let more = after(middle)?;
        if more.epsilon > epsilon {
            high = middle;
        } else {
            (low, best) = (middle, more);
        }
    }
    Ok((low, best))
}

#[derive(Clone, Copy)]
struct Target {
    epsilon: f64,
    delta: f64,
}

/// Noise on both sides of the least that keeps a target.
struct Bracket {
    /// It doesn't keep the target, or it is `high` itself.
    low: f64,
    /// It keeps the target.
    high: f64,
    /// What `high` gives.
    best: Guarantee,
}

/// The least noise that keeps the target: epsilon falls with the noise. `start` is where the search
/// begins.
fn least_noise(
    target: Target,
    start: f64,
    tolerance: f64,
    account: impl Fn(f64) -> Result<Guarantee, AccountingError>,
) -> Result<(f64, Guarantee), AccountingError> {
    check_epsilon(target.epsilon)?;
    check_delta(target.delta)?;
    let bracket = bracket(target, start, &account)?;
    if bracket.low == bracket.high {
        return Ok((bracket.high, bracket.best));
    }
    narrow(target, bracket, tolerance, account)
}

/// Doubles the noise from `start` on until it keeps the target, or lowers it until it does not. The two
/// ends are equal where the least noise of all keeps the target.
fn bracket(
    target: Target,
    start: f64,
    account: impl Fn(f64) -> Result<Guarantee, AccountingError>,
) -> Result<Bracket, AccountingError> {
    let mut high = start.max(LEAST_NOISE_MULTIPLIER);
    let mut best = account(high)?;
    let mut low = high;
    while best.epsilon > target.epsilon {
        if high >= MOST_NOISE {
            return Err(AccountingError::Unreachable {
                epsilon: target.epsilon,
                delta: target.delta,
                most: MOST_NOISE,
            });
        }
        (low, high) = (high, 2.0 * high);
        best = account(high)?;
    }
    // below `low` is not private, unless nothing below `high` was tried yet
    while low == high && high > LEAST_NOISE_MULTIPLIER {
        low = (0.8 * high).max(LEAST_NOISE_MULTIPLIER);
        let less = account(low)?;
        if less.epsilon <= target.epsilon {
            (high, best) = (low, less);
        }
    }
    Ok(Bracket { low, high, best })
}

/// Moves the ends of a bracket together until they are `tolerance` apart, relative to the noise.
fn narrow(
    target: Target,
    bracket: Bracket,
    tolerance: f64,
    account: impl Fn(f64) -> Result<Guarantee, AccountingError>,
) -> Result<(f64, Guarantee), AccountingError> {
    let Bracket {
        mut low,
        mut high,
        mut best,
    } = bracket;
    // ln(epsilon / target) is nearly straight over a short stretch of noise: probe where the chord
    // passes 0, a little to the far side, and halve whenever two probes gained less than half
    let height = |guarantee: &Guarantee| (guarantee.epsilon / target.epsilon).ln();
    let (mut at_low, mut at_high) = (height(&account(low)?), height(&best));
    let mut last_gap = f64::INFINITY;
    let mut probe = 0u32;
    while high - low > tolerance * high {
        let gap = high - low;
        let chord = low + gap * at_low / (at_low - at_high);
        let nudge = 0.4 * tolerance * high;
        let halve = probe % 3 == 2 && gap > 0.5 * last_gap;
        if probe % 3 == 2 {
            last_gap = gap;
        }
        let mut middle = if probe.is_multiple_of(2) {
            chord + nudge
        } else {
            chord - nudge
        };
        if halve || !(middle > low && middle < high) {
            middle = 0.5 * (low + high);
        }
        probe += 1;
        let less = account(middle)?;
        if less.epsilon <= target.epsilon {
            at_high = height(&less);
            (high, best) = (middle, less);
        } else {
            at_low = height(&less);
            low = middle;
        }
    }
    Ok((high, best))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_noise_keeps_the_target_and_a_little_less_does_not() {
        for (method, epsilon) in [(Method::Rdp, 2.0), (Method::Rdp, 0.1), (Method::Pld, 2.0)] {
            let (z, found) = poisson_noise_multiplier(0.1, 100, epsilon, 1e-6, method).unwrap();
            assert!(found.epsilon <= epsilon && found.epsilon > 0.999 * epsilon);
            let less = PoissonGaussian::new(0.1, z * (1.0 - 1e-4)).unwrap();
            assert!(method.epsilon(&less, 100, 1e-6).unwrap().epsilon > epsilon);
        }
        let (z, found) = fixed_size_noise_multiplier(1000, 10, 100, 1.0, 1e-5).unwrap();
        assert!(found.epsilon <= 1.0 && found.epsilon > 0.999);
        assert!(
            z > 0.1 && found.to_string().contains("10 of 1000"),
            "{found}"
        );
    }

    #[test]
    fn a_target_that_any_noise_keeps_gets_the_least() {
        let (z, found) = poisson_noise_multiplier(0.0, 5, 1.0, 1e-5, Method::Pld).unwrap();
        assert_eq!((z, found.epsilon), (LEAST_NOISE_MULTIPLIER, 0.0));
    }

    #[test]
    fn the_found_number_of_steps_is_the_last_that_fits() {
        let step = PoissonGaussian::new(0.01, 1.0).unwrap();
        for method in [Method::Rdp, Method::Pld] {
            let (steps, found) = most_poisson_steps(&step, 1.0, 1e-5, method).unwrap();
            assert!(found.epsilon <= 1.0);
            assert_eq!(found, method.epsilon(&step, steps, 1e-5).unwrap());
            assert!(method.epsilon(&step, steps + 1, 1e-5).unwrap().epsilon > 1.0);
        }
        let nobody = PoissonGaussian::new(0.0, 1.0).unwrap();
        let (steps, _) = most_poisson_steps(&nobody, 1.0, 1e-5, Method::Rdp).unwrap();
        assert!(steps > MOST_STEPS / 2);
    }

    #[test]
    fn targets_that_cannot_be_met_say_what_to_change() {
        let step = PoissonGaussian::new(1.0, 1.0).unwrap();
        let error = most_poisson_steps(&step, 0.1, 1e-5, Method::Rdp).unwrap_err();
        assert!(matches!(error, AccountingError::NotOneStep { .. }));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            for method in [Method::Rdp, Method::Pld] {
                assert!(poisson_noise_multiplier(0.1, 1, bad, 1e-5, method).is_err());
                assert!(poisson_noise_multiplier(0.1, 1, 1.0, bad, method).is_err());
                assert!(poisson_noise_multiplier(bad, 0, 1.0, 1e-5, method).is_err());
                assert!(most_poisson_steps(&step, bad, 1e-5, method).is_err());
            }
            assert!(fixed_size_noise_multiplier(10, 1, 1, bad, 1e-5).is_err());
        }
        assert!(fixed_size_noise_multiplier(10, 11, 1, 1.0, 1e-5).is_err());
        let error = poisson_noise_multiplier(1.0, u64::MAX, 1e-6, 1e-9, Method::Rdp).unwrap_err();
        assert!(matches!(error, AccountingError::Unreachable { .. }));
    }
}
