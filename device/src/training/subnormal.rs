//! Subnormal numbers, which a processor computes with many times more slowly than with others.

/// Replaces numbers that the processor computes with many times more slowly by zeros of their sign.
pub(crate) fn flush_subnormals(values: &mut [f32]) {
    for value in values {
        if value.is_subnormal() {
            *value = 0.0_f32.copysign(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnormal_numbers_become_zeros_and_nothing_else_changes() {
        let mut values = [1e-40, -1e-44, f32::MIN_POSITIVE, -0.5, 0.0, f32::INFINITY];
        flush_subnormals(&mut values);
        assert_eq!(
            values,
            [0.0, -0.0, f32::MIN_POSITIVE, -0.5, 0.0, f32::INFINITY]
        );
        assert!(values[1].is_sign_negative());
    }
}
