//! Adding encoded updates: several in one pass over the sums, each all or nothing.

use super::limits::WEIGHT_ONE;
use super::totals::Totals;
use super::{Partial, PartialError};
use crate::codec::{BLOCK, Codec};
use crate::fixed_point::{EncodedBlocks, FixedPoint, Squares, add_together};

/// Updates that pass through a span of sums before the next span is fetched.
const GROUP: usize = 16;

/// Blocks in a span: 256 KiB of sums, which stay in the second-level cache, and a stretch of every
/// update that is long enough for the prefetcher.
const SPAN: usize = 64;

/// Updates that are read side by side.
const SIDE_BY_SIDE: usize = 8;

/// One update that waits to be added.
///
/// `Debug` of the bytes would show the update, so there is none.
#[derive(Clone, Copy)]
pub struct EncodedContribution<'b> {
    /// The update as the codec wrote it.
    pub bytes: &'b [u8],
    /// Its weight in the denominator, in units of 2^-20, from 1 to [`MAX_WEIGHT`](super::MAX_WEIGHT).
    pub weight: u64,
    /// Its work (weight times local steps), in units of 2^-20, at most
    /// [`MAX_WEIGHT`](super::MAX_WEIGHT); 0 where the algorithm has none.
    pub work: u64,
    /// What its values are multiplied by, in (0, 1]: below 1 for an update that comes late.
    pub share: f32,
}

impl<'b> EncodedContribution<'b> {
    /// A fresh update of weight 1.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            weight: WEIGHT_ONE,
            work: 0,
            share: 1.0,
        }
    }
}

/// What becomes of bytes of the right length that are no valid update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// They are refused, by name.
    Refused,
    /// They are summed as a vector of zeros and count like any other: whether a device's training
    /// failed is a fact about its data. The work is the same for valid and for faulty bytes.
    SummedAsZeros,
}

/// An update on its way through the blocks.
struct Waiting<'b> {
    /// Its place in the answer.
    index: usize,
    blocks: EncodedBlocks<'b>,
    grid: FixedPoint,
    totals: Totals,
}

impl Partial {
    /// Adds one fresh update of weight 1. See [`Partial::add_many`].
    ///
    /// # Errors
    /// Why it is refused; the partial is then unchanged.
    pub fn add_encoded(
        &mut self,
        grid: &FixedPoint,
        codec: Codec,
        bytes: &[u8],
    ) -> Result<(), PartialError> {
        let mut outcomes = self.add_many(grid, codec, &[EncodedContribution::new(bytes)]);
        outcomes.pop().unwrap_or(Ok(()))
    }

    /// Decodes, scales, rounds, adds and checks updates in one pass over their bytes.
    ///
    /// The outcomes stand in the order of `updates`. Each update counts wholly or not at all: what
    /// a refused one left in the sums is computed once more and subtracted, which is exact because
    /// the sums are integers. The sums are the same whether updates come together or one by one.
    ///
    /// # Errors
    /// Per update [`PartialError::Update`] (for its bytes or its share),
    /// [`PartialError::BadWeight`], [`PartialError::TooManyContributions`],
    /// [`PartialError::TooMuch`], or [`PartialError::DimensionMismatch`] for all of them.
    pub fn add_many(
        &mut self,
        grid: &FixedPoint,
        codec: Codec,
        updates: &[EncodedContribution<'_>],
    ) -> Vec<Result<(), PartialError>> {
        self.add_in_shards(grid, codec, updates, 1, Faults::Refused)
    }

    /// [`Partial::add_many`] with the parameters cut into `shards` that rayon's threads work on.
    /// The result is the same bit for bit; it pays from some hundred thousand parameters on.
    ///
    /// With [`Faults::SummedAsZeros`] only a wrong length, share, weight or number is an error.
    pub fn add_in_shards(
        &mut self,
        grid: &FixedPoint,
        codec: Codec,
        updates: &[EncodedContribution<'_>],
        shards: usize,
        faults: Faults,
    ) -> Vec<Result<(), PartialError>> {
        // what has to be decoded as a whole is held one at a time
        let at_once = match codec.block_scheme() {
            Some(_) => GROUP,
            None => 1,
        };
        let mut outcomes = vec![Ok(()); updates.len()];
        for (group, start) in updates.chunks(at_once).zip((0..).step_by(at_once)) {
            let mut waiting = Vec::with_capacity(group.len());
            for (update, index) in group.iter().zip(start..) {
                match self.admit(grid, codec, update, index, faults) {
                    Ok(update) => waiting.push(update),
                    Err(refusal) => outcomes[index] = Err(refusal),
                }
            }
            match faults {
                Faults::Refused => self.add_group(&waiting, shards, &mut outcomes),
                Faults::SummedAsZeros => self.add_silently(&waiting, shards, &mut outcomes),
            }
        }
        outcomes
    }

    /// Everything that can be checked before the values are read.
    fn admit<'b>(
        &self,
        grid: &FixedPoint,
        codec: Codec,
        update: &EncodedContribution<'b>,
        index: usize,
        faults: Faults,
    ) -> Result<Waiting<'b>, PartialError> {
        self.check_dimension(grid.dimension())?;
        let totals = Totals::one(update.weight, update.work)?;
        self.totals.plus(totals)?;
        let grid = grid.scaled(update.share)?;
        let dimension = grid.dimension();
        let blocks = match faults {
            Faults::Refused => EncodedBlocks::new(codec, update.bytes, dimension)?,
            Faults::SummedAsZeros => EncodedBlocks::new_or_zeros(codec, update.bytes, dimension)?,
        };
        Ok(Waiting {
            index,
            blocks,
            grid,
            totals,
        })
    }

    fn add_group(
        &mut self,
        waiting: &[Waiting<'_>],
        shards: usize,
        outcomes: &mut [Result<(), PartialError>],
    ) {
        if waiting.is_empty() {
            return;
        }
        let lanes = self.sums.lanes_for(waiting.len() as u64);
        let squares = pass_in_shards(waiting, lanes, shards);
        let mut kept = 0;
        for (update, squares) in waiting.iter().zip(squares) {
            let added = match update.grid.check(&update.blocks, squares) {
                Ok(()) => self.totals.plus(update.totals),
                Err(refusal) => Err(PartialError::Update(refusal.into())),
            };
            match added {
                Ok(totals) => {
                    self.totals = totals;
                    kept += 1;
                }
                Err(refusal) => {
                    take_back(update, lanes);
                    outcomes[update.index] = Err(refusal);
                }
            }
        }
        self.sums.settle(kept);
    }

    /// The same for [`Faults::SummedAsZeros`]. Every update is taken away once more: a faulty one from
    /// the sums, a valid one from a vector that nobody reads, so that the time tells nothing.
    fn add_silently(
        &mut self,
        waiting: &[Waiting<'_>],
        shards: usize,
        outcomes: &mut [Result<(), PartialError>],
    ) {
        if waiting.is_empty() {
            return;
        }
        let lanes = self.sums.lanes_for(waiting.len() as u64);
        let mut unread = vec![0; lanes.len()];
        let squares = pass_in_shards(waiting, lanes, shards);
        let mut kept = 0;
        for (update, squares) in waiting.iter().zip(squares) {
            let is_valid = update.grid.accepts(&update.blocks, squares);
            let counted = self.totals.plus(update.totals);
            let is_kept = is_valid && counted.is_ok();
            take_back(update, if is_kept { &mut unread } else { &mut *lanes });
            kept += u64::from(is_kept);
            match counted {
                Ok(totals) => self.totals = totals,
                Err(refusal) => outcomes[update.index] = Err(refusal),
            }
        }
        self.sums.settle(kept);
    }
}

/// Adds every update to every lane and returns their squares.
fn pass_in_shards(waiting: &[Waiting<'_>], lanes: &mut [i32], shards: usize) -> Vec<Squares> {
    let per_shard = lanes.len().div_ceil(shards.max(1)).next_multiple_of(BLOCK);
    let none = || {
        waiting
            .iter()
            .map(|update| update.blocks.no_squares())
            .collect()
    };
    if per_shard >= lanes.len() {
        let mut squares: Vec<Squares> = none();
        pass(waiting, 0, lanes, &mut squares);
        return squares;
    }
    let mut parts: Vec<Vec<Squares>> = lanes.chunks(per_shard).map(|_| none()).collect();
    rayon::scope(|scope| {
        let starts = (0..).step_by(per_shard / BLOCK);
        for ((lanes, squares), start) in lanes.chunks_mut(per_shard).zip(&mut parts).zip(starts) {
            scope.spawn(move |_| pass(waiting, start, lanes, squares));
        }
    });
    // in the order of the shards, not in the order in which they became ready
    parts.into_iter().fold(none(), |all, part| {
        all.into_iter().zip(part).map(|(a, b)| a.plus(b)).collect()
    })
}

/// Takes all updates through the blocks of `lanes`, the first of which is block `start`.
fn pass(waiting: &[Waiting<'_>], start: usize, lanes: &mut [i32], squares: &mut [Squares]) {
    let blocks = match waiting.len() {
        // a single pass over the sums, none of which is needed again
        1 | SIDE_BY_SIDE => lanes.len().div_ceil(BLOCK).max(1),
        _ => SPAN,
    };
    for (sums, first) in lanes
        .chunks_mut(blocks * BLOCK)
        .zip((start..).step_by(blocks))
    {
        let groups = waiting.chunks(SIDE_BY_SIDE);
        for (updates, squares) in groups.zip(squares.chunks_mut(SIDE_BY_SIDE)) {
            add_span(updates, first, sums, squares);
        }
    }
}

/// Adds the blocks from `first` on of up to eight updates: eight side by side, else four, and what
/// is left one after another.
fn add_span(updates: &[Waiting<'_>], first: usize, sums: &mut [i32], squares: &mut [Squares]) {
    let done = if together::<SIDE_BY_SIDE>(updates, first, sums, squares) {
        SIDE_BY_SIDE
    } else if together::<4>(updates, first, sums, squares) {
        4
    } else {
        0
    };
    for (update, squares) in updates.iter().zip(squares).skip(done) {
        let factor = update.grid.factor();
        update.blocks.add::<false>(first, factor, sums, squares);
    }
}

/// Adds the first `S` updates; false when there are fewer, or when their codec needs decoding.
fn together<const S: usize>(
    updates: &[Waiting<'_>],
    first: usize,
    sums: &mut [i32],
    squares: &mut [Squares],
) -> bool {
    let (Some(updates), Some(squares)) =
        (updates.first_chunk::<S>(), squares.first_chunk_mut::<S>())
    else {
        return false;
    };
    let blocks = updates.each_ref().map(|update| &update.blocks);
    let factors = updates.each_ref().map(|update| update.grid.factor());
    add_together::<S, false>(blocks, first, factors, sums, squares.each_mut())
}

/// Subtracts what [`pass`] added for one update.
fn take_back(update: &Waiting<'_>, lanes: &mut [i32]) {
    let mut squares = update.blocks.no_squares();
    let factor = update.grid.factor();
    update.blocks.add::<true>(0, factor, lanes, &mut squares);
}
