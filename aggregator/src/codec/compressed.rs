//! Zstandard around the bytes of another scheme.
//!
//! The first byte says what follows: 0 the bytes as they are, 1 Zstandard (RFC 8878). The encoder
//! takes the shorter, so compression costs at most that byte.

use zstd::bulk::{Compressor, Decompressor};

/// Bytes of the mark in front.
pub(super) const MARK_BYTES: usize = 1;

/// The shortest message: the mark and one byte.
pub(super) const SHORTEST: usize = MARK_BYTES + 1;

const STORED: u8 = 0;
const COMPRESSED: u8 = 1;

/// The fastest of the usual levels: an update has no repetitions that a longer search could find,
/// only values that are more frequent than others.
const LEVEL: i32 = 1;

pub(super) fn compress(bytes: Vec<u8>) -> Vec<u8> {
    let mut message = Vec::with_capacity(MARK_BYTES + bytes.len());
    message.push(COMPRESSED);
    // a compressor that can't be had, for want of memory, is no reason to send nothing
    let frame = Compressor::new(LEVEL).and_then(|mut compressor| compressor.compress(&bytes));
    match frame {
        Ok(frame) if frame.len() < bytes.len() => message.extend_from_slice(&frame),
        _ => {
            message[0] = STORED;
            message.extend_from_slice(&bytes);
        }
    }
    message
}

/// The content, which has at most `longest` bytes. It is expanded into a buffer of that size that
/// serves as the window too, so no message makes the decoder take more.
pub(super) fn decompress(bytes: &[u8], longest: usize) -> Result<Vec<u8>, &'static str> {
    let (mark, body) = bytes.split_first().ok_or("the mark is missing")?;
    match *mark {
        STORED => Ok(body.to_vec()),
        COMPRESSED => Decompressor::new()
            .and_then(|mut decompressor| decompressor.decompress(body, longest))
            .map_err(|_| "Zstandard is broken or holds more than the parameters take"),
        _ => Err("the mark is neither 0 nor 1"),
    }
}
