//! Reading the fixed fields of stored forms.

/// The eight little endian bytes at `offset`; bytes beyond the end read as zero.
pub(crate) fn read_u64(bytes: &[u8], offset: usize) -> u64 {
    let mut raw = [0; 8];
    for (place, byte) in raw.iter_mut().zip(bytes.iter().skip(offset)) {
        *place = *byte;
    }
    u64::from_le_bytes(raw)
}
