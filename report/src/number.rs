//! Numbers as people read them. Missing and non-finite ones become a dash.

/// What stands for a number that is not there.
pub(crate) const ABSENT: &str = "\u{2013}";

/// A whole number with commas: `4,000`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in decimal units with three digits: `1.24 MB`.
pub(crate) fn bytes(value: u64) -> String {
    let (number, unit) = bytes_parts(value);
    format!("{number}\u{a0}{unit}")
}

/// As [`bytes`], number and unit apart.
pub(crate) fn bytes_parts(value: u64) -> (String, &'static str) {
    if value < 1000 {
        return (value.to_string(), "B");
    }
    let mut scaled = value as f64 / 1000.0;
    let mut units = ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = units.next().unwrap_or("kB");
    while scaled >= 999.5 {
        let Some(next) = units.next() else { break };
        scaled /= 1000.0;
        unit = next;
    }
    (three_digits(scaled), unit)
}

/// A non-negative number with about three significant digits: `7.31`, `42.6`, `118`.
pub(crate) fn three_digits(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => ABSENT.into(),
        size if size >= 1e6 => power_of_ten(value),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 || size == 0.0 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => power_of_ten(value),
    }
}

/// A share 0 to 1 as a percentage without its sign: `88.3`.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share {
        Some(share) if share.is_finite() => format!("{:.1}", share * 100.0),
        _ => ABSENT.into(),
    }
}

/// A small number such as delta: `10⁻⁵`, `2.5 × 10⁻⁶`.
pub(crate) fn power_of_ten(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let text = format!("{value:.1e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let exponent = superscript(exponent);
    match mantissa.trim_end_matches(".0") {
        "1" => format!("10{exponent}"),
        mantissa => format!("{mantissa}\u{a0}\u{d7}\u{a0}10{exponent}"),
    }
}

fn superscript(digits: &str) -> String {
    let raise = |digit| match digit {
        '-' => '\u{207b}',
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        other => other
            .to_digit(10)
            .and_then(|d| char::from_u32(0x2070 + d))
            .unwrap_or(other),
    };
    digits.chars().map(raise).collect()
}

/// Seconds as `42 s` or `2 min 08 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return ABSENT.into();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1}\u{a0}s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds}\u{a0}s"),
        (0, minutes, seconds) => format!("{minutes}\u{a0}min\u{a0}{seconds:02}\u{a0}s"),
        (hours, minutes, _) => format!("{hours}\u{a0}h\u{a0}{minutes:02}\u{a0}min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 4000, 1_234_567].map(count),
            ["0", "999", "4,000", "1,234,567"]
        );
    }

    #[test]
    fn bytes_keep_three_digits_and_never_show_1000_of_a_unit() {
        let plain = |value| bytes(value).replace('\u{a0}', " ");
        assert_eq!(plain(999), "999 B");
        assert_eq!(plain(1_240_000), "1.24 MB");
        assert_eq!(plain(999_700), "1.00 MB");
        assert_eq!(plain(u64::MAX), "18.4 EB");
    }

    #[test]
    fn small_numbers_are_powers_of_ten() {
        assert_eq!(power_of_ten(1e-5), "10⁻⁵");
        assert_eq!(power_of_ten(2.5e-6), "2.5\u{a0}×\u{a0}10⁻⁶");
        assert_eq!(power_of_ten(1e-12), "10⁻¹²");
        assert_eq!(three_digits(7.314), "7.31");
        assert_eq!(three_digits(0.0712), "0.0712");
        assert_eq!(three_digits(3.2e9), "3.2\u{a0}×\u{a0}10⁹");
    }

    #[test]
    fn missing_numbers_are_a_dash() {
        for text in [
            percent(None),
            percent(Some(f64::NAN)),
            three_digits(f64::NAN),
            power_of_ten(f64::INFINITY),
            duration(-1.0),
        ] {
            assert_eq!(text, ABSENT);
        }
    }

    #[test]
    fn durations_are_seconds_then_minutes_then_hours() {
        let plain = |value| duration(value).replace('\u{a0}', " ");
        assert_eq!(plain(7.25), "7.2 s");
        assert_eq!(plain(128.0), "2 min 08 s");
        assert_eq!(plain(7260.0), "2 h 01 min");
    }
}
