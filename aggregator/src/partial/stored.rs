//! The stored form of a partial.
//!
//! Version 2, little endian: magic (8 bytes), dimension, count, weight, work (8 bytes each), bytes
//! per sum (1 byte: 4 when every sum fits, else 8), sums. Version 1 had no weights and no release
//! wrote it; it is not read. Equal partials give equal bytes.

use tributary_privacy::MAX_DIMENSION;

use super::sums::Sums;
use super::totals::Totals;
use super::{Partial, PartialError};
use crate::fixed_point::MAX_MAGNITUDE;
use crate::stored::read_u64;

/// First bytes of a stored partial; the last one is the version of the format.
const MAGIC: [u8; 8] = *b"TRBPART2";
const HEADER: usize = MAGIC.len() + 4 * 8 + 1;

/// The largest piece that [`Partial::write_to`] hands out, in bytes.
const PIECE: usize = 1 << 20;

/// Stored bytes that are known to be a partial.
struct Stored<'b> {
    dimension: usize,
    totals: Totals,
    body: Body<'b>,
    /// The largest magnitude of a sum.
    largest: u64,
}

#[derive(Clone, Copy)]
enum Body<'b> {
    Narrow(&'b [[u8; 4]]),
    Wide(&'b [[u8; 8]]),
}

impl Partial {
    /// Length of the stored form in bytes.
    pub fn stored_len(&self) -> usize {
        HEADER + self.stored_width() * self.dimension()
    }

    /// Writes the stored form in pieces of at most 1 MiB, so that a large partial is not in memory
    /// twice.
    ///
    /// # Errors
    /// What `write` returns, at once.
    pub fn write_to<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let width = self.stored_width();
        let mut piece = Vec::with_capacity(PIECE.min(self.stored_len()));
        let Totals {
            count,
            weight,
            work,
        } = self.totals;
        piece.extend_from_slice(&MAGIC);
        for field in [self.dimension() as u64, count, weight, work] {
            piece.extend_from_slice(&field.to_le_bytes());
        }
        piece.push(width as u8);
        for sum in self.sums.iter() {
            if piece.len() + width > PIECE {
                write(&piece)?;
                piece.clear();
            }
            // the low bytes of a sum that fits in four are the sum in four bytes
            piece.extend_from_slice(&sum.to_le_bytes()[..width]);
        }
        write(&piece)
    }

    /// The stored form in one piece.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.stored_len());
        let written: Result<(), std::convert::Infallible> = self.write_to(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        match written {
            Ok(()) => bytes,
        }
    }

    /// Reads a stored partial. Any byte string is safe: the memory used is at most three
    /// times the length of `bytes`.
    ///
    /// # Errors
    /// [`PartialError::Malformed`], also when a sum is larger than its count of contributions
    /// allows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PartialError> {
        let stored = Stored::read(bytes)?;
        let mut partial = Self::new(stored.dimension);
        stored.add_to(&mut partial.sums);
        partial.totals = stored.totals;
        Ok(partial)
    }

    /// Adds a stored partial without building it beside this one.
    ///
    /// # Errors
    /// As [`Partial::from_bytes`] and [`Partial::merge`]; the partial is then unchanged.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), PartialError> {
        let stored = Stored::read(bytes)?;
        self.check_dimension(stored.dimension)?;
        let totals = self.totals.plus(stored.totals)?;
        stored.add_to(&mut self.sums);
        self.totals = totals;
        Ok(())
    }

    fn stored_width(&self) -> usize {
        let narrow =
            self.sums.is_narrow() || self.sums.iter().all(|sum| i32::try_from(sum).is_ok());
        if narrow { 4 } else { 8 }
    }
}

impl<'b> Stored<'b> {
    fn read(bytes: &'b [u8]) -> Result<Self, PartialError> {
        let malformed = |reason| PartialError::Malformed { reason };
        let (header, body) = bytes
            .split_at_checked(HEADER)
            .ok_or(malformed("header cut short"))?;
        if header[..8] != MAGIC {
            return Err(malformed("not a partial of a known version"));
        }
        let [dimension, count, weight, work] = [8, 16, 24, 32].map(|at| read_u64(header, at));
        let totals = Totals {
            count,
            weight,
            work,
        };
        if dimension > MAX_DIMENSION as u64 || !totals.is_possible() {
            return Err(malformed("dimension, count, weight or work out of range"));
        }
        let dimension = dimension as usize;
        let body = Body::new(body, header[HEADER - 1], dimension).map_err(malformed)?;
        let largest = body.iter().map(i64::unsigned_abs).max().unwrap_or(0);
        if largest > count * MAX_MAGNITUDE {
            return Err(malformed("a sum exceeds what its contributions can reach"));
        }
        Ok(Self {
            dimension,
            totals,
            body,
            largest,
        })
    }

    fn add_to(&self, sums: &mut Sums) {
        match self.body {
            Body::Narrow(raw) => {
                let values = raw.iter().map(|raw| i64::from(i32::from_le_bytes(*raw)));
                sums.add_values(values, self.largest);
            }
            Body::Wide(raw) => {
                let values = raw.iter().map(|raw| i64::from_le_bytes(*raw));
                sums.add_values(values, self.largest);
            }
        }
    }
}

impl<'b> Body<'b> {
    fn new(body: &'b [u8], width: u8, dimension: usize) -> Result<Self, &'static str> {
        if width != 4 && width != 8 {
            return Err("width of a sum is neither 4 nor 8 bytes");
        }
        if body.len() != dimension * usize::from(width) {
            return Err("length does not match the dimension");
        }
        Ok(if width == 4 {
            Self::Narrow(body.as_chunks().0)
        } else {
            Self::Wide(body.as_chunks().0)
        })
    }

    fn iter(self) -> impl Iterator<Item = i64> + 'b {
        let (narrow, wide): (&[[u8; 4]], &[[u8; 8]]) = match self {
            Self::Narrow(raw) => (raw, &[]),
            Self::Wide(raw) => (&[], raw),
        };
        let narrow = narrow.iter().map(|raw| i64::from(i32::from_le_bytes(*raw)));
        narrow.chain(wide.iter().map(|raw| i64::from_le_bytes(*raw)))
    }
}
