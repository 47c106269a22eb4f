//! How much of a vector a sparse codec sends.

use std::fmt;

/// Which share of the values is sent: above 0, at most 1, in steps of a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share(u32);

impl Share {
    /// One value in a hundred.
    pub const ONE_PERCENT: Share = Share(10_000);

    const WHOLE: u32 = 1_000_000;

    /// `None` unless `millionths` is from 1 to 1,000,000.
    pub const fn new(millionths: u32) -> Option<Self> {
        match millionths {
            1..=Self::WHOLE => Some(Self(millionths)),
            _ => None,
        }
    }

    /// The share in millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// How many of `dimension` values are sent: k = max(1, round(share d)), halves up.
    pub fn count(self, dimension: usize) -> usize {
        let exact = dimension as u128 * u128::from(self.0);
        let rounded = (exact + u128::from(Self::WHOLE / 2)) / u128::from(Self::WHOLE);
        // a share is at most 1, so the result is at most the dimension
        (rounded as usize).max(1).min(dimension)
    }

    /// Reads a decimal number with at least one digit before the point and one to six behind it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() != 1 || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
            return None;
        }
        format!("{whole}{fraction:0<6}")
            .parse()
            .ok()
            .and_then(Self::new)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Self::WHOLE {
            return formatter.write_str("1");
        }
        let digits = format!("{:06}", self.0);
        write!(formatter, "0.{}", digits.trim_end_matches('0'))
    }
}
