//! Why what the engine holds and what was acknowledged can't both be right.

/// Why an engine and an anchor can't both be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    /// There is no anchor.
    #[error("its file `anchor` is missing or empty, which says what was acknowledged last")]
    Missing,
    /// No slot can be read.
    #[error("its file `anchor` is damaged")]
    Unreadable,
    /// The anchor belongs to another store.
    #[error("its file `anchor` belongs to another store")]
    OtherStore,
    /// The engine is behind.
    #[error(
        "commits {first} to {last} were acknowledged and are gone: the database ends at commit {found}",
        first = .found + 1
    )]
    RolledBack {
        /// Last commit that the engine has.
        found: u64,
        /// Last commit that was acknowledged.
        last: u64,
    },
    /// The engine is too far ahead.
    #[error(
        "its file `anchor` was put back: it ends at commit {anchor}, the database at commit {found}"
    )]
    AnchorPutBack {
        /// Last commit that the engine has.
        found: u64,
        /// Last commit that the anchor names.
        anchor: u64,
    },
    /// Same number, other batches.
    #[error("its commits up to {commit} are not those that were acknowledged")]
    OtherHistory {
        /// The commit.
        commit: u64,
    },
}
