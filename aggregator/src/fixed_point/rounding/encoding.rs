//! How a stored value becomes a float, and what is squared for the norm check.

/// One way in which updates store their values.
pub(crate) trait Encoding {
    /// A value as it is stored.
    type Raw: Copy;

    /// True where the squares of the values are wanted, not those of the integers.
    const LEVELS: bool;

    /// The value as a float.
    fn read(raw: Self::Raw) -> f32;
}

/// Little endian `f32`.
pub(crate) struct LittleEndian;

impl Encoding for LittleEndian {
    type Raw = [u8; 4];
    const LEVELS: bool = false;

    #[inline(always)]
    fn read(raw: [u8; 4]) -> f32 {
        f32::from_le_bytes(raw)
    }
}

/// Values that are decoded already.
pub(crate) struct Decoded;

impl Encoding for Decoded {
    type Raw = f32;
    const LEVELS: bool = false;

    #[inline(always)]
    fn read(raw: f32) -> f32 {
        raw
    }
}

/// Signed 8-bit levels.
pub(super) struct Levels;

impl Encoding for Levels {
    type Raw = u8;
    const LEVELS: bool = true;

    #[inline(always)]
    fn read(raw: u8) -> f32 {
        f32::from(raw as i8)
    }
}
