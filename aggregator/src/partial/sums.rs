//! Integer sums in 32-bit lanes for as long as they fit.

use crate::fixed_point::{BIAS, MAX_MAGNITUDE};

/// Contributions that fit in a 32-bit lane: 1023 of magnitude 2^21 stay below 2^31.
const ROOM: u64 = (1 << 31) / MAX_MAGNITUDE - 1;

/// One sum per parameter.
///
/// The value of a place is `lane - biases * BIAS` (modulo 2^32), plus `wide` once there is one.
#[derive(Clone)]
pub(super) struct Sums {
    lanes: Vec<i32>,
    /// How often [`BIAS`] is in every lane, modulo 2^32.
    biases: u32,
    /// Contributions of largest magnitude that the lanes may hold by now, at most [`ROOM`].
    filled: u64,
    /// Empty until the lanes were full for the first time.
    wide: Vec<i64>,
}

impl Sums {
    pub fn new(dimension: usize) -> Self {
        Self {
            lanes: vec![0; dimension],
            biases: 0,
            filled: 0,
            wide: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// True while 4 bytes hold every sum for certain.
    pub fn is_narrow(&self) -> bool {
        self.wide.is_empty()
    }

    /// The lanes, with room for `contributions` (at most [`ROOM`]). What is added to them carries
    /// its bias; [`Sums::settle`] must follow.
    pub fn lanes_for(&mut self, contributions: u64) -> &mut [i32] {
        if self.filled + contributions > ROOM {
            self.spill();
        }
        &mut self.lanes
    }

    /// Says that `contributions` remained in the lanes.
    pub fn settle(&mut self, contributions: u64) {
        self.filled += contributions;
        self.biases = self.biases.wrapping_add(contributions as u32);
    }

    /// Adds integers without bias, one contribution of them.
    pub fn add_integers(&mut self, integers: &[i32]) {
        for (lane, &integer) in self.lanes_for(1).iter_mut().zip(integers) {
            *lane = lane.wrapping_add(integer);
        }
        self.filled += 1;
    }

    /// Adds the sums of `other`, which has as many places.
    pub fn merge(&mut self, other: &Sums) {
        if other.is_narrow() && self.filled + other.filled <= ROOM {
            for (lane, &more) in self.lanes.iter_mut().zip(&other.lanes) {
                *lane = lane.wrapping_add(more);
            }
            self.biases = self.biases.wrapping_add(other.biases);
            self.filled += other.filled;
            return;
        }
        self.spill();
        for (index, wide) in self.wide.iter_mut().enumerate() {
            *wide += other.get(index);
        }
    }

    /// Adds sums given one by one, each at most `largest` in magnitude.
    pub fn add_values(&mut self, values: impl Iterator<Item = i64>, largest: u64) {
        let contributions = largest.div_ceil(MAX_MAGNITUDE);
        if self.filled + contributions <= ROOM {
            for (lane, value) in self.lanes.iter_mut().zip(values) {
                *lane = lane.wrapping_add(value as i32);
            }
            self.filled += contributions;
            return;
        }
        self.spill();
        for (wide, value) in self.wide.iter_mut().zip(values) {
            *wide += value;
        }
    }

    /// The sum at `index`.
    pub fn get(&self, index: usize) -> i64 {
        let narrow = self.lanes[index].wrapping_sub(self.offset());
        i64::from(narrow) + self.wide.get(index).copied().unwrap_or(0)
    }

    /// The sums in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Copies the sums from `start` on.
    pub fn copy_to(&self, start: usize, sums: &mut [i64]) {
        let offset = self.offset();
        for (sum, lane) in sums.iter_mut().zip(&self.lanes[start..]) {
            *sum = i64::from(lane.wrapping_sub(offset));
        }
        for (sum, wide) in sums.iter_mut().zip(self.wide.iter().skip(start)) {
            *sum += wide;
        }
    }

    fn offset(&self) -> i32 {
        BIAS.wrapping_mul(self.biases as i32)
    }

    /// Moves what is in the lanes into 64 bits.
    fn spill(&mut self) {
        let offset = self.offset();
        if self.wide.is_empty() {
            self.wide = vec![0; self.lanes.len()];
        }
        for (wide, lane) in self.wide.iter_mut().zip(&mut self.lanes) {
            *wide += i64::from(lane.wrapping_sub(offset));
            *lane = 0;
        }
        self.biases = 0;
        self.filled = 0;
    }
}
