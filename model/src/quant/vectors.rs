//! A self-test vector as a build carries it.

/// One vector: how to make its input, and what must come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelfTest {
    /// Start of the generator, never 0.
    pub(crate) seed: u32,
    /// CRC-32 of the outputs of all steps.
    pub(crate) trace: u32,
    /// The scores.
    pub(crate) scores: Vec<i8>,
}

impl SelfTest {
    /// Appends seed, trace and scores to a build.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.trace.to_le_bytes());
        bytes.extend(self.scores.iter().flat_map(|score| score.to_le_bytes()));
    }
}
