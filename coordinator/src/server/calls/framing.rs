//! Where messages of a stream begin and end.

/// Bytes before each message: whether it is compressed, and its length
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
const HEAD: usize = 5;
/// Longest first message of a stream: a hello or a header, from somebody who is not known yet.
const LONGEST_FIRST: usize = 64 * 1024;

/// Follows the messages of a stream without reading them.
#[derive(Debug, Default)]
pub(in crate::server) struct Framing {
    head: [u8; HEAD],
    /// Bytes of the head that are here.
    head_length: usize,
    /// Bytes of the message that are not.
    missing: usize,
    /// Bytes of the message under way, with its head, that are here.
    unfinished: usize,
    first_is_here: bool,
}

/// The first message is longer than that of any device.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the first message of the stream announces {length} bytes, at most {LONGEST_FIRST} are taken: \
     send the hello or the header alone"
)]
pub(in crate::server) struct FirstTooLong {
    length: usize,
}

impl Framing {
    /// Bytes of the message under way that are here; 0 between messages.
    pub(in crate::server) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Follows the bytes that came next.
    ///
    /// # Errors
    /// When they begin a first message that is too long.
    pub(in crate::server) fn follow(&mut self, mut data: &[u8]) -> Result<(), FirstTooLong> {
        while !data.is_empty() {
            data = if self.missing > 0 {
                self.follow_message(data)
            } else {
                self.follow_head(data)?
            };
        }
        Ok(())
    }

    fn follow_message<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = data.split_at(self.missing.min(data.len()));
        self.missing -= taken.len();
        self.unfinished += taken.len();
        if self.missing == 0 {
            self.end_message();
        }
        rest
    }

    fn follow_head<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], FirstTooLong> {
        let (taken, rest) = data.split_at((HEAD - self.head_length).min(data.len()));
        for byte in taken {
            if let Some(place) = self.head.get_mut(self.head_length) {
                *place = *byte;
            }
            self.head_length += 1;
        }
        self.unfinished = self.head_length;
        if self.head_length == HEAD {
            let [_, length @ ..] = self.head;
            let length = u32::from_be_bytes(length) as usize;
            if !self.first_is_here && length > LONGEST_FIRST {
                return Err(FirstTooLong { length });
            }
            self.missing = length;
            if length == 0 {
                self.end_message();
            }
        }
        Ok(rest)
    }

    fn end_message(&mut self) {
        (self.head_length, self.unfinished) = (0, 0);
        self.first_is_here = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(length as u32).to_be_bytes());
        bytes.resize(HEAD + length, 7);
        bytes
    }

    #[test]
    fn what_is_unfinished_is_the_same_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = [0, 3, 70, 0, 1].into_iter().flat_map(message).collect();
        for piece in [1, 2, 3, 7, 64, 1_000] {
            let (mut framing, mut came) = (Framing::default(), 0);
            for part in bytes.chunks(piece) {
                framing.follow(part).unwrap();
                came += part.len();
                let ends = [5, 13, 88, 93, 99];
                let last = ends.into_iter().filter(|end| *end <= came).max();
                assert_eq!(
                    framing.unfinished(),
                    came - last.unwrap_or(0),
                    "{piece} {came}"
                );
            }
        }
    }

    #[test]
    fn only_the_first_message_must_be_short() {
        let mut framing = Framing::default();
        let too_long = framing.follow(&message(LONGEST_FIRST + 1)[..9]);
        let length = LONGEST_FIRST + 1;
        assert_eq!(too_long, Err(FirstTooLong { length }));
        let mut framing = Framing::default();
        framing.follow(&message(LONGEST_FIRST)).unwrap();
        framing.follow(&message(LONGEST_FIRST * 4)).unwrap();
        assert_eq!(framing.unfinished(), 0);
    }
}
