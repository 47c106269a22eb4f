//! Statuses as they go over the wire: short enough for a header, with the stable code.

use tonic::{Code, Status};

/// Most bytes of a message once it is percent-encoded. Peers take 8 to 16 KiB of headers in all, and
/// break the connection over more.
const MESSAGE_BYTES: usize = 6 * 1024;
/// What ends a text that was cut.
const CUT: &str = "... (cut; the coordinator's log may have more)";
/// The metadata key of the stable code.
pub const CODE: &str = "tributary-code";
/// The metadata key of the hint when to come back.
pub const RETRY: &str = "tributary-retry-after-ms";

/// A status with its stable code, at the end of the message and as metadata.
pub fn coded(code: Code, text: &str, stable: &'static str, retry_after_ms: u64) -> Status {
    let mut status = Status::new(code, format!("{} [{stable}]", short(text)));
    let metadata = status.metadata_mut();
    if let Ok(value) = stable.parse() {
        metadata.insert(CODE, value);
    }
    metadata.insert(RETRY, retry_after_ms.into());
    status
}

/// The beginning of a text that fits into a header.
fn short(text: &str) -> std::borrow::Cow<'_, str> {
    let mut encoded = 0;
    let fits = |(_, letter): &(usize, char)| {
        encoded += encoded_len(*letter);
        encoded <= MESSAGE_BYTES
    };
    let end = text
        .char_indices()
        .take_while(fits)
        .last()
        .map_or(0, |(at, letter)| at + letter.len_utf8());
    if end == text.len() {
        return text.into();
    }
    format!("{}{CUT}", &text[..end]).into()
}

/// Bytes of a letter in `grpc-message`: what is neither a letter, a digit nor harmless takes three a
/// byte (gRPC over HTTP/2, "Status-Message").
fn encoded_len(letter: char) -> usize {
    let plain = letter.is_ascii_graphic() && !"\"#%<>`?{}".contains(letter);
    if plain { 1 } else { 3 * letter.len_utf8() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header_bytes(status: Status) -> usize {
        let response = status.into_http::<tonic::body::Body>();
        let headers = response.headers().iter();
        headers
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum()
    }

    #[test]
    fn a_long_text_is_cut_before_it_breaks_the_connection() {
        for letter in ["x", " ", "%", "\u{e9}", "\u{1f4a1}", "\n", "\0"] {
            let status = coded(Code::Internal, &letter.repeat(300_000), "TRB-0500", 7);
            assert!(status.message().ends_with(" [TRB-0500]"), "{letter:?}");
            assert!(status.message().contains("(cut"), "{letter:?}");
            assert!(header_bytes(status) < 8 * 1024, "{letter:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_fits_a_header_and_keeps_its_beginning(text in "\\PC{0,4000}") {
            let status = coded(Code::Internal, &text, "TRB-0100", 0);
            let told = status.message().to_owned();
            let begin = told.split("... (cut").next().unwrap_or_default();
            prop_assert!(text.starts_with(begin.trim_end_matches(" [TRB-0100]")));
            prop_assert!(header_bytes(status) < 8 * 1024);
        }
    }
}
