//! From numbers to places on the drawing.

/// A mapping of `low..=high` onto `start..=end`. Values outside are drawn at the nearest end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Scale {
    /// Equal steps for equal differences. An empty or non-finite range becomes one of length 1.
    pub(crate) fn linear(low: f64, high: f64, start: f64, end: f64) -> Scale {
        let low = if low.is_finite() { low } else { 0.0 };
        let high = if high.is_finite() && high > low {
            high
        } else {
            low + 1.0
        };
        Scale {
            low,
            high,
            start,
            end,
            logarithmic: false,
        }
    }

    /// Equal steps for equal ratios; `low` must be positive, or becomes so.
    pub(crate) fn logarithmic(low: f64, high: f64, start: f64, end: f64) -> Scale {
        let low = if low.is_finite() && low > 0.0 {
            low
        } else {
            0.1
        };
        let high = if high.is_finite() && high > low {
            high
        } else {
            low * 10.0
        };
        Scale {
            low: low.log10(),
            high: high.log10(),
            start,
            end,
            logarithmic: true,
        }
    }

    /// Where `value` is drawn; always finite.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let value = match (self.logarithmic, value > 0.0) {
            (true, true) => value.log10(),
            (true, false) => self.low,
            (false, _) => value,
        };
        let share = (value - self.low) / (self.high - self.low);
        let share = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self.start + share * (self.end - self.start)
    }
}

/// Round numbers within `low..=high`, about `wanted` of them (steps of 1, 2, or 5 times a power of ten).
pub(crate) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let range = high - low;
    if !(range.is_finite() && range > 0.0) || wanted == 0 {
        return if low.is_finite() {
            vec![low]
        } else {
            Vec::new()
        };
    }
    let rough = range / wanted as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step
        .into_iter()
        .find(|&step| step >= rough * 0.999)
        .unwrap_or(rough);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last.min(first.saturating_add(50)))
        .map(|multiple| round_number(multiple as f64 * step, power))
        .collect()
}

/// The value as the number that its digits down to `power`, a power of ten, name: 0.6 for three times 0.2.
fn round_number(value: f64, power: f64) -> f64 {
    let decimals = (-power.log10()).round();
    if !(0.0..=300.0).contains(&decimals) {
        return value;
    }
    let text = format!("{value:.0$}", decimals as usize);
    // what is printed as a number is read as one
    text.parse().unwrap_or(value)
}

/// Whole round numbers within `low..=high`.
pub(crate) fn whole_ticks(low: u64, high: u64, wanted: usize) -> Vec<u64> {
    let mut whole: Vec<u64> = ticks(low as f64, high as f64, wanted)
        .into_iter()
        .filter(|tick| tick.fract().abs() < 1e-6)
        .map(|tick| tick.round() as u64)
        .collect();
    whole.dedup();
    whole
}

/// Powers of ten within `low..=high`.
pub(crate) fn decades(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10() - 1e-9, high.log10() + 1e-9);
    if !(first.is_finite() && last.is_finite()) {
        return Vec::new();
    }
    (first.ceil() as i32..=last.floor() as i32)
        .take(40)
        .map(|power| 10f64.powi(power))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(
            ticks(0.0, 0.07, 7),
            [0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]
        );
        assert_eq!(ticks(-0.3, 0.3, 6), [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]);
        assert_eq!(ticks(0.0, 3e9, 3), [0.0, 1e9, 2e9, 3e9]);
        assert_eq!(whole_ticks(0, 84, 6), [0, 20, 40, 60, 80]);
        assert_eq!(whole_ticks(3, 3, 6), [3]);
        assert_eq!(whole_ticks(0, 2, 6), [0, 1, 2]);
        assert_eq!(decades(0.05, 200.0), [0.1, 1.0, 10.0, 100.0]);
    }

    #[test]
    fn a_logarithmic_scale_spaces_ratios_evenly() {
        let scale = Scale::logarithmic(0.1, 1000.0, 0.0, 4.0);
        assert!((scale.place(1.0) - 1.0).abs() < 1e-12);
        assert!((scale.place(100.0) - 3.0).abs() < 1e-12);
        assert_eq!(scale.place(-5.0), 0.0);
    }

    proptest! {
        #[test]
        fn every_value_has_a_finite_place_within_the_drawing(
            low in any::<f64>(), high in any::<f64>(), value in any::<f64>(),
        ) {
            for scale in [
                Scale::linear(low, high, 10.0, 90.0), Scale::logarithmic(low, high, 10.0, 90.0),
            ] {
                let place = scale.place(value);
                prop_assert!((10.0..=90.0).contains(&place), "{place}");
            }
        }

        #[test]
        fn there_are_never_many_ticks(low in any::<f64>(), high in any::<f64>(), wanted in 0usize..12) {
            prop_assert!(ticks(low, high, wanted).len() <= 51);
            prop_assert!(decades(low, high).len() <= 40);
        }
    }
}
