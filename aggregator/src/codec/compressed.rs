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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_compressed_or_not() {
        let repeated = vec![7u8; 10_000];
        let message = compress(repeated.clone());
        assert!(message[0] == COMPRESSED && message.len() < 100);
        assert_eq!(decompress(&message, 10_000), Ok(repeated));
        let short = vec![1, 2, 3];
        assert_eq!(compress(short.clone()), [STORED, 1, 2, 3]);
        assert_eq!(decompress(&compress(short.clone()), 3), Ok(short));
    }

    #[test]
    fn a_message_that_holds_more_than_allowed_is_not_expanded() {
        // 64 MiB of zeros in some 6 kB, and the same announced as 1 byte
        let mut bomb = compress(vec![0; 64 << 20]);
        assert!(bomb.len() < 10_000);
        let refused = decompress(&bomb, 10_000).unwrap_err();
        assert!(refused.contains("holds more"));
        // frame header: magic, descriptor, window, and here four bytes of content size
        assert_eq!(bomb[5] & 0xe0, 0x80);
        bomb[7..11].copy_from_slice(&1u32.to_le_bytes());
        assert!(decompress(&bomb, 10_000).is_err());
    }

    #[test]
    fn other_marks_cut_frames_and_bytes_behind_a_frame_are_refused() {
        let message = compress(vec![7u8; 10_000]);
        assert!(decompress(&[], 10).is_err());
        assert!(decompress(&[2, 0, 0], 10).is_err());
        for length in 1..message.len() {
            // a mark without a frame is an empty content, which no codec accepts
            let cut = decompress(&message[..length], 10_000);
            assert!(cut.is_err() || length == 1, "{length}");
        }
        let longer = [&message[..], &[0]].concat();
        assert!(decompress(&longer, 10_000).is_err());
    }
}
