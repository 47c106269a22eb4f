//! Why a robust aggregation is refused.

/// Why a robust rule can't be set up or can't aggregate what it was given.
///
/// The texts carry no value of any vector.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RobustError {
    /// The rule can't bear that many bad devices among that many vectors.
    #[error("{what} can't bear {byzantine} bad of {vectors} vectors: it needs {needs}; {nearest}")]
    TooManyByzantine {
        /// The rule or pre-aggregator whose guarantee is lost.
        what: &'static str,
        /// Bad devices to bear (f).
        byzantine: u32,
        /// Vectors that reach the rule (n); after bucketing the number of buckets.
        vectors: usize,
        /// The inequality that fails.
        needs: &'static str,
        /// The nearest choice that holds.
        nearest: String,
    },
    /// A combination whose guarantee is void although the counts fit.
    #[error("{field} {problem}; {remedy}")]
    Void {
        /// Key of the recipe.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
        /// The nearest valid choice.
        remedy: String,
    },
    /// A constant is out of its range.
    #[error("{field} is {value}; it must be {range}")]
    BadConstant {
        /// Name of the constant.
        field: &'static str,
        /// The refused value.
        value: f64,
        /// The range it must lie in.
        range: &'static str,
    },
    /// There is no vector, or the vectors have no values.
    #[error("there is nothing to aggregate; wait for at least one update with one parameter")]
    Empty,
    /// A vector has another length than the first one.
    #[error(
        "{what} {index} has {actual} values but the first vector has {expected}; \
         send the whole delta of one layout"
    )]
    LengthMismatch {
        /// Which vector differs.
        what: &'static str,
        /// Its position.
        index: usize,
        /// Length of the first vector.
        expected: usize,
        /// Its length.
        actual: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what} {index} is not finite at value {position}; refuse it before it is kept")]
    NotFinite {
        /// Which vector holds the value.
        what: &'static str,
        /// The vector's position.
        index: usize,
        /// The value's position in it.
        position: usize,
    },
    /// FLTrust has no direction to trust.
    #[error("fltrust needs a reference update that is not zero; train one on clean server data")]
    NoReference,
    /// The result does not fit an `f32`.
    #[error("the aggregate overflows a 32-bit float; lower the clip of the updates")]
    Overflow,
}
