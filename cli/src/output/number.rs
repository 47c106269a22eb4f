//! Numbers for people.

use std::time::{Duration, UNIX_EPOCH};

pub use tributary_report::number::count;

/// Bytes in powers of 1,000, as disks and links count: `20.3 kB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1_000 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1_000.0;
    let mut unit = 0;
    // rounding to one digit may reach the next unit
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with up to four significant digits; small ones in scientific notation.
pub fn decimal(number: f64) -> String {
    match number.abs() {
        _ if !number.is_finite() => number.to_string(),
        0.0 => "0".to_owned(),
        size if size < 0.001 => format!("{number:.2e}"),
        size if size < 1.0 => format!("{number:.4}"),
        size if size < 100.0 => format!("{number:.2}"),
        _ => format!("{number:.0}"),
    }
}

/// A share as a percentage: `0.8812` as `88.1 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The first 12 of 64 digits; enough to name a model on any coordinator. `-` for none.
pub fn short_digest(digest: &str) -> &str {
    match digest.get(..12) {
        Some(short) => short,
        None if digest.is_empty() => "-",
        None => digest,
    }
}

/// How long ago a moment was, in its largest unit: `3 min ago`. Takes milliseconds since 1970.
pub fn age(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return "-".to_owned();
    }
    let then = UNIX_EPOCH + Duration::from_millis(unix_ms);
    span(then.elapsed().unwrap_or_default())
}

fn span(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds {
        0..=59 => format!("{seconds} s ago"),
        60..=3_599 => format!("{} min ago", seconds / 60),
        3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn bytes_take_the_unit_that_keeps_them_short() {
        let texts = [999, 1_000, 20_252, 999_999, 5_000_000_000].map(bytes);
        assert_eq!(texts, ["999 B", "1.0 kB", "20.3 kB", "1.0 MB", "5.0 GB"]);
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
    }

    #[test]
    fn decimals_keep_what_matters() {
        let texts = [0.0, 1e-5, 0.12345, 7.2984, 1234.5, f64::NAN].map(decimal);
        assert_eq!(texts, ["0", "1.00e-5", "0.1235", "7.30", "1234", "NaN"]);
    }

    #[test]
    fn digests_are_shortened_and_never_cut_in_a_letter() {
        assert_eq!(short_digest(&"ab".repeat(32)), "abababababab");
        assert_eq!(
            (short_digest(""), short_digest("aéééééé")),
            ("-", "aéééééé")
        );
    }

    #[test]
    fn ages_use_their_largest_unit() {
        let texts = [5, 65, 7_200, 200_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(texts, ["5 s ago", "1 min ago", "2 h ago", "2 d ago"]);
    }
}
