//! A lower bound on epsilon from guesses about many devices in one run (Steinke, Nasr, Jagielski 2023,
//! "Privacy Auditing with One (1) Training Run").

/// Largest epsilon that is looked for.
const MOST: f64 = 64.0;
/// Halvings of the interval that holds the bound.
const HALVINGS: u32 = 50;

/// Guesses about devices that were each included with probability 1/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guesses {
    /// Devices that could be guessed (m).
    pub(crate) canaries: usize,
    /// Guesses made (r); the rest is abstained from.
    pub(crate) made: usize,
    /// Those that are right (v).
    pub(crate) correct: usize,
}

impl Guesses {
    /// Probability of so many right guesses or more, at the most, under any (epsilon, delta)-DP
    /// mechanism (corollary 5.4): P[W >= v] + 2 m delta max_i P[v > W >= v - i] / i, with W binomial
    /// of r trials that succeed with probability e^epsilon / (1 + e^epsilon).
    pub(crate) fn p_value(&self, epsilon: f64, delta: f64) -> f64 {
        let masses = binomial(self.made, epsilon);
        let tail: f64 = masses.iter().skip(self.correct).sum();
        let (mut below, mut steepest) = (0.0, 0.0f64);
        for step in 1..=self.correct {
            below += masses.get(self.correct - step).copied().unwrap_or(0.0);
            steepest = steepest.max(below / step as f64);
        }
        (tail + 2.0 * self.canaries as f64 * delta * steepest).min(1.0)
    }

    /// The largest epsilon that these guesses refute at `level`: no mechanism that is (epsilon,
    /// delta)-DP for a smaller one leads to a larger bound with probability above `level`.
    pub(crate) fn lower_bound(&self, delta: f64, level: f64) -> f64 {
        let refuted = |epsilon| self.p_value(epsilon, delta) < level;
        if !refuted(0.0) {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, MOST);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if refuted(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// P[W = k] for k = 0..=trials with success probability 1 / (1 + e^-epsilon).
fn binomial(trials: usize, epsilon: f64) -> Vec<f64> {
    let success = -(-epsilon).exp().ln_1p();
    let failure = success - epsilon;
    let mut choices = 0.0;
    let mass = |successes: usize| {
        if successes > 0 {
            choices += ((trials - successes + 1) as f64 / successes as f64).ln();
        }
        let failures = (trials - successes) as f64;
        (choices + successes as f64 * success + failures * failure).exp()
    };
    (0..=trials).map(mass).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses(canaries: usize, made: usize, correct: usize) -> Guesses {
        Guesses {
            canaries,
            made,
            correct,
        }
    }

    #[test]
    fn the_p_value_is_that_of_the_paper() {
        // appendix D's example: 75 of 100 right under epsilon ln 3, delta 0
        let p_value = guesses(100, 100, 75).p_value(3f64.ln(), 0.0);
        assert!((p_value - 0.553).abs() < 1e-3, "{p_value}");
    }

    #[test]
    fn bounds_agree_with_a_slow_computation() {
        // summed term by term with log-gamma in another language
        let cases = [
            (guesses(1000, 100, 75), 1e-4, 0.05, 0.672_984_664),
            (guesses(200, 200, 200), 1e-5, 0.05 / 3.0, 3.869_370_942),
            (guesses(200, 100, 98), 1e-5, 0.05 / 3.0, 2.502_974_918),
        ];
        for (guesses, delta, level, expected) in cases {
            let bound = guesses.lower_bound(delta, level);
            assert!((bound - expected).abs() < 1e-6, "{guesses:?}: {bound}");
        }
    }

    #[test]
    fn without_delta_all_right_is_bounded_by_the_root_of_the_level() {
        // q^r = level: epsilon = ln(q / (1 - q))
        let q = 0.05f64.powf(1.0 / 50.0);
        let bound = guesses(50, 50, 50).lower_bound(0.0, 0.05);
        assert!((bound - (q / (1.0 - q)).ln()).abs() < 1e-9);
    }

    #[test]
    fn guesses_no_better_than_coins_refute_nothing() {
        assert_eq!(guesses(200, 100, 52).lower_bound(1e-5, 0.05), 0.0);
        assert_eq!(guesses(200, 0, 0).lower_bound(1e-5, 0.05), 0.0);
    }
}
