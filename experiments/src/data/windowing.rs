//! Cutting a recording into windows for training and testing.
//!
//! Neighbouring windows overlap, so a random split would put the same samples on both sides. Here the
//! first part of each recording trains, a gap is left out, and the rest tests.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::DataError;

/// How recordings are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Windowing {
    /// Steps in a window, at least 1.
    pub length: usize,
    /// Steps from the start of one window to the start of the next, at least 1.
    pub stride: usize,
    /// Percentage of each recording's windows that trains (rounded down), 0 to 100.
    pub train_percent: usize,
    /// Windows left out between training and test; must cover the overlap:
    /// `gap * stride >= length - stride`.
    pub gap: usize,
}

impl Default for Windowing {
    /// Two seconds at 50 Hz, half overlapping, 70 % training, two windows left out.
    fn default() -> Self {
        Windowing {
            length: 100,
            stride: 50,
            train_percent: 70,
            gap: 2,
        }
    }
}

/// Window numbers of one recording; window `i` covers the steps `i * stride .. i * stride + length`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Windows that train.
    pub train: Range<usize>,
    /// Windows that test.
    pub test: Range<usize>,
}

impl Windowing {
    /// Refuses settings with which training and test windows would share a step.
    ///
    /// # Errors
    /// [`DataError::Option`] naming the setting.
    pub fn check(&self) -> Result<(), DataError> {
        let refuse = |option, value: usize, remedy: &str| {
            Err(DataError::Option {
                option,
                value: value.to_string(),
                remedy: remedy.into(),
            })
        };
        if self.length == 0 {
            return refuse("length", self.length, "a window needs at least one step");
        }
        if self.stride == 0 {
            return refuse(
                "stride",
                self.stride,
                "windows must advance by at least one step",
            );
        }
        if self.train_percent > 100 {
            return refuse("train_percent", self.train_percent, "choose 0 to 100");
        }
        if self.gap.saturating_mul(self.stride) < self.length.saturating_sub(self.stride) {
            return refuse(
                "gap",
                self.gap,
                "training and test windows would share steps; raise it",
            );
        }
        Ok(())
    }

    /// Splits a recording of `steps` steps.
    ///
    /// # Errors
    /// As [`Windowing::check`].
    pub fn split(&self, steps: usize) -> Result<Split, DataError> {
        self.check()?;
        let windows = if steps < self.length {
            0
        } else {
            (steps - self.length) / self.stride + 1
        };
        let train_end = windows * self.train_percent / 100;
        let test_start = train_end.saturating_add(self.gap).min(windows);
        Ok(Split {
            train: 0..train_end,
            test: test_start..windows,
        })
    }

    /// The steps of window `index`.
    pub fn steps(&self, index: usize) -> Range<usize> {
        index * self.stride..index * self.stride + self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_recording_shorter_than_a_window_gives_no_windows() {
        let split = Windowing::default().split(99).unwrap();
        assert!(split.train.is_empty() && split.test.is_empty());
    }

    #[test]
    fn ten_windows_give_seven_to_train_and_one_to_test() {
        let split = Windowing::default().split(550).unwrap();
        assert_eq!(
            split,
            Split {
                train: 0..7,
                test: 9..10
            }
        );
    }

    #[test]
    fn a_gap_that_leaves_an_overlap_is_refused() {
        let error = Windowing {
            gap: 0,
            ..Windowing::default()
        }
        .split(500)
        .unwrap_err();
        assert!(
            matches!(error, DataError::Option { option: "gap", .. }),
            "{error}"
        );
    }

    #[test]
    fn windows_that_do_not_advance_are_refused() {
        assert!(
            Windowing {
                stride: 0,
                ..Windowing::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Windowing {
                length: 0,
                ..Windowing::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Windowing {
                train_percent: 101,
                ..Windowing::default()
            }
            .check()
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn training_and_test_windows_never_share_a_step(
            length in 1usize..60, stride in 1usize..60, train_percent in 0usize..=100,
            gap in 0usize..80, steps in 0usize..2000,
        ) {
            let windowing = Windowing { length, stride, train_percent, gap };
            if let Ok(split) = windowing.split(steps) {
                if let (Some(last), false) = (split.train.clone().last(), split.test.is_empty()) {
                    prop_assert!(windowing.steps(last).end <= windowing.steps(split.test.start).start);
                }
                if let Some(last) = split.test.clone().last() {
                    prop_assert!(windowing.steps(last).end <= steps);
                }
            }
        }
    }
}
