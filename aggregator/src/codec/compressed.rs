//! Zstandard around the bytes of another scheme.
//!
//! The first byte says what follows: 0 the bytes as they are, 1 one Zstandard frame (RFC 8878). The
//! encoder takes the shorter, so compression costs at most that byte.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Bytes of the mark in front.
pub(super) const MARK_BYTES: usize = 1;

/// The shortest message: the mark and one byte.
pub(super) const SHORTEST: usize = MARK_BYTES + 1;

const STORED: u8 = 0;
const FRAME: u8 = 1;

/// The largest window that a frame may ask for however short its content is: the recommendation of
/// RFC 8878, section 3.1.1.1.2, so that frames of any usual encoder are read.
const WINDOW: usize = 8 << 20;

pub(super) fn compress(bytes: Vec<u8>) -> Vec<u8> {
    let frame = compress_to_vec(bytes.as_slice(), CompressionLevel::Fastest);
    let (mark, body) = if frame.len() < bytes.len() {
        (FRAME, frame)
    } else {
        (STORED, bytes)
    };
    let mut message = Vec::with_capacity(MARK_BYTES + body.len());
    message.push(mark);
    message.extend_from_slice(&body);
    message
}

/// The content, which has at most `longest` bytes: what a frame holds beyond that is not expanded.
/// The window of the decoder takes at most `longest` bytes or 8 MiB, whichever is more.
pub(super) fn decompress(bytes: &[u8], longest: usize) -> Result<Vec<u8>, &'static str> {
    let (mark, body) = bytes.split_first().ok_or("the mark is missing")?;
    match *mark {
        STORED => Ok(body.to_vec()),
        FRAME => decompress_frame(body, longest),
        _ => Err("the mark is neither 0 nor 1"),
    }
}

fn decompress_frame(frame: &[u8], longest: usize) -> Result<Vec<u8>, &'static str> {
    let broken = "the Zstandard frame is broken or asks for too large a window";
    let window = longest.max(WINDOW) as u64;
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(frame, window).map_err(|_| broken)?;
    let mut content = Vec::new();
    let limit = (longest as u64).saturating_add(1);
    (&mut decoder)
        .take(limit)
        .read_to_end(&mut content)
        .map_err(|_| broken)?;
    if content.len() > longest {
        return Err("the Zstandard frame holds more than the parameters take");
    }
    if !decoder.get_ref().is_empty() {
        return Err("bytes follow the Zstandard frame");
    }
    Ok(content)
}
