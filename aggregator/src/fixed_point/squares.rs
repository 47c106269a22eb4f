//! The squares of an update's integers, as its blocks are added.

/// What the blocks of an update said about the squares of its integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Squares {
    /// The sum of squared integers, within the error that the check in `norm` allows for.
    OfIntegers(f64),
    /// The sum of squares before rounding to integers, within the error that the check in `norm`
    /// allows for in its root.
    BeforeRounding(f64),
}

impl Squares {
    /// Counts the squares of one more stretch.
    pub(super) fn add(&mut self, more: f64) {
        match self {
            Squares::OfIntegers(squares) | Squares::BeforeRounding(squares) => *squares += more,
        }
    }

    /// The sum over two parts of an update.
    pub(crate) fn plus(mut self, other: Squares) -> Squares {
        match other {
            Squares::OfIntegers(squares) | Squares::BeforeRounding(squares) => self.add(squares),
        }
        self
    }
}
