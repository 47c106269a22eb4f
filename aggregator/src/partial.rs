//! Mergeable integer sums of contributions.

use std::fmt;

use crate::codec::Codec;
use crate::error::UpdateError;
use crate::fixed_point::{Contribution, FixedPoint, MAX_DIMENSION, MAX_MAGNITUDE};
use crate::stored::read_u64;

/// The most contributions a partial holds (2^40): with it no i64 sum can overflow.
pub const MAX_CONTRIBUTIONS: u64 = 1 << 40;

/// First bytes of a stored partial; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"TRBPART1";
const HEADER: usize = MAGIC.len() + 8 + 8 + 1;

/// The exact sum of some contributions of one region or shard.
///
/// Addition of integers is associative and commutative, so every order of arrival and every split
/// into partials that are merged later give identical bits. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Partial {
    sums: Vec<i64>,
    count: u64,
}

/// Why a partial can't be built, merged or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PartialError {
    /// The number of parameters differs.
    #[error(
        "partial has {expected} parameters, the other side has {actual}; both must come from one model version"
    )]
    DimensionMismatch {
        /// Parameters of this partial.
        expected: usize,
        /// Parameters of the contribution, partial or grid offered to it.
        actual: usize,
    },
    /// More contributions than a partial can hold.
    #[error(
        "partial would hold more than {MAX_CONTRIBUTIONS} contributions; release the round first"
    )]
    TooManyContributions,
    /// The update itself is refused.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// Stored bytes are not a partial of this version.
    #[error("stored partial is not readable: {reason}; restore the blob or abort the round")]
    Malformed {
        /// What is wrong with the bytes.
        reason: &'static str,
    },
}

impl Partial {
    /// The empty sum over `dimension` parameters, a number that [`FixedPoint::new`] has accepted
    /// (8 bytes each are allocated).
    pub fn new(dimension: usize) -> Self {
        Self {
            sums: vec![0; dimension],
            count: 0,
        }
    }

    /// Number of parameters.
    pub fn dimension(&self) -> usize {
        self.sums.len()
    }

    /// Number of contributions summed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// True when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The sums. They carry no noise: they never leave the trusted aggregator under privacy.
    pub fn sums(&self) -> &[i64] {
        &self.sums
    }

    /// Adds one contribution.
    ///
    /// # Errors
    /// [`PartialError::DimensionMismatch`], [`PartialError::TooManyContributions`]; the partial is
    /// then unchanged.
    pub fn add(&mut self, contribution: &Contribution) -> Result<(), PartialError> {
        self.check_dimension(contribution.values().len())?;
        let count = self.count_with(1)?;
        add_to(&mut self.sums, contribution.values());
        self.count = count;
        Ok(())
    }

    /// Decodes, checks and adds an update in one pass over its bytes, without building a
    /// [`Contribution`]. The outcome is the same as [`FixedPoint::contribution`] then
    /// [`Partial::add`].
    ///
    /// # Errors
    /// As these two; the partial is then unchanged. What was added before the fault was seen is
    /// subtracted again, which is exact in integers.
    pub fn add_encoded(
        &mut self,
        fixed: &FixedPoint,
        codec: Codec,
        bytes: &[u8],
    ) -> Result<(), PartialError> {
        self.check_dimension(fixed.dimension())?;
        let count = self.count_with(1)?;
        let sums = &mut self.sums;
        let mut added = 0;
        let outcome = fixed.for_each_block(codec, bytes, |offset, block| {
            add_to(&mut sums[offset..], block);
            added = offset + block.len();
        });
        let Err(refusal) = outcome else {
            self.count = count;
            return Ok(());
        };
        // the same bytes give the same integers; the walk stops at the same fault
        let _same_refusal = fixed.for_each_block(codec, bytes, |offset, block| {
            if offset < added {
                subtract_from(&mut sums[offset..], block);
            }
        });
        Err(refusal.into())
    }

    /// Adds the sums of `other`.
    ///
    /// # Errors
    /// [`PartialError::DimensionMismatch`], [`PartialError::TooManyContributions`]; the partial is
    /// then unchanged.
    pub fn merge(&mut self, other: &Partial) -> Result<(), PartialError> {
        self.check_dimension(other.dimension())?;
        let count = self.count_with(other.count)?;
        for (sum, value) in self.sums.iter_mut().zip(&other.sums) {
            *sum += value;
        }
        self.count = count;
        Ok(())
    }

    /// The stored form: magic, dimension, count, bytes per sum (4 when every sum fits, else 8),
    /// sums; little endian. Equal partials give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let narrow = self.sums.iter().all(|&sum| i32::try_from(sum).is_ok());
        let width = if narrow { 4 } else { 8 };
        let mut bytes = Vec::with_capacity(HEADER + width * self.sums.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(self.sums.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.push(width as u8);
        if narrow {
            bytes.extend(self.sums.iter().flat_map(|&sum| (sum as i32).to_le_bytes()));
        } else {
            bytes.extend(self.sums.iter().flat_map(|sum| sum.to_le_bytes()));
        }
        bytes
    }

    /// Reads what [`Partial::to_bytes`] wrote. Any byte string is safe: the memory used is bounded
    /// by the length of `bytes`.
    ///
    /// # Errors
    /// [`PartialError::Malformed`], also when a sum is larger than its count of contributions
    /// allows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PartialError> {
        let malformed = |reason| PartialError::Malformed { reason };
        let (header, body) = bytes
            .split_at_checked(HEADER)
            .ok_or(malformed("header cut short"))?;
        if header[..8] != MAGIC {
            return Err(malformed("not a partial of a known version"));
        }
        let dimension = read_u64(header, 8);
        let count = read_u64(header, 16);
        if dimension > MAX_DIMENSION as u64 || count > MAX_CONTRIBUTIONS {
            return Err(malformed("dimension or count out of range"));
        }
        let sums = read_sums(body, header[24], dimension as usize).map_err(malformed)?;
        let limit = count * MAX_MAGNITUDE;
        if sums.iter().any(|sum| sum.unsigned_abs() > limit) {
            return Err(malformed("a sum exceeds what its contributions can reach"));
        }
        Ok(Self { sums, count })
    }

    fn check_dimension(&self, actual: usize) -> Result<(), PartialError> {
        let expected = self.sums.len();
        if actual == expected {
            return Ok(());
        }
        Err(PartialError::DimensionMismatch { expected, actual })
    }

    fn count_with(&self, more: u64) -> Result<u64, PartialError> {
        let count = self
            .count
            .checked_add(more)
            .filter(|&count| count <= MAX_CONTRIBUTIONS);
        count.ok_or(PartialError::TooManyContributions)
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Partial({} parameters, {} contributions)",
            self.sums.len(),
            self.count
        )
    }
}

fn add_to(sums: &mut [i64], values: &[i32]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += i64::from(value);
    }
}

fn subtract_from(sums: &mut [i64], values: &[i32]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum -= i64::from(value);
    }
}

fn read_sums(body: &[u8], width: u8, dimension: usize) -> Result<Vec<i64>, &'static str> {
    if width != 4 && width != 8 {
        return Err("width of a sum is neither 4 nor 8 bytes");
    }
    if body.len() != dimension * usize::from(width) {
        return Err("length does not match the dimension");
    }
    if width == 4 {
        let narrow = body.as_chunks::<4>().0;
        return Ok(narrow
            .iter()
            .map(|raw| i64::from(i32::from_le_bytes(*raw)))
            .collect());
    }
    Ok(body
        .as_chunks::<8>()
        .0
        .iter()
        .map(|raw| i64::from_le_bytes(*raw))
        .collect())
}
