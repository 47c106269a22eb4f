//! The shape of a session in a few characters, after Bonawitz et al., "Towards Federated Learning
//! at Scale" (2019), table 1.

/// Longest shape kept; what follows is cut.
const LIMIT: usize = 48;

/// What a device did since it last checked in, one character per step.
///
/// `-` checked in, `v` got a plan, `[` began to train, `]` sent its update, `+` was counted,
/// `#` was refused, `!` gave up, `~` lost a connection and tried again, `s` voted in a window,
/// `i` installed a build, `x` refused a build. The usual shape of a round is `-v[]+`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionShape(String);

impl SessionShape {
    /// Appends a step.
    pub fn push(&mut self, step: char) {
        if self.0.len() < LIMIT {
            self.0.push(step);
        }
    }

    /// The shape so far, and a fresh start as after a check-in.
    pub fn finish(&mut self) -> String {
        std::mem::replace(&mut self.0, "-".to_owned())
    }

    /// The shape so far.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether something was done after the check-in.
    pub fn is_worth_recording(&self) -> bool {
        self.0.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_bounded_and_starts_again() {
        let mut shape = SessionShape::default();
        for _ in 0..100 {
            shape.push('-');
        }
        assert_eq!(shape.as_str().len(), LIMIT);
        assert_eq!(shape.finish().len(), LIMIT);
        assert_eq!(shape.as_str(), "-");
        assert!(!shape.is_worth_recording());
    }
}
