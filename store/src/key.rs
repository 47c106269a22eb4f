//! Composite keys that sort as their parts do.
//!
//! A key is a list of texts and numbers. A text is written as its bytes, each `00` as `00 FF`, and
//! ends with `00 01`; a number is 8 bytes, big-endian. So the key of one text is never a prefix of
//! the key of a longer text ("run-1" against "run-10"), and byte order is the order of the parts.

/// Follows a zero byte that belongs to a text.
const ESCAPED_ZERO: u8 = 0xFF;
/// Smaller than an escaped zero, so that a text sorts before its extensions.
const END_OF_TEXT: [u8; 2] = [0, 1];

/// A key under construction.
///
/// ```
/// use tributary_store::key::{Key, KeyReader};
///
/// let key = Key::new().text("run-7").number(12).into_bytes();
/// let mut reader = KeyReader::new(&key);
/// assert_eq!(reader.text().as_deref(), Some("run-7"));
/// assert_eq!(reader.number(), Some(12));
/// assert!(reader.is_at_end());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// An empty key; as a prefix it matches everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a text.
    #[must_use]
    pub fn text(mut self, part: &str) -> Self {
        for &byte in part.as_bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(ESCAPED_ZERO);
            }
        }
        self.0.extend_from_slice(&END_OF_TEXT);
        self
    }

    /// Appends a number.
    #[must_use]
    pub fn number(mut self, part: u64) -> Self {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// The bytes, to be used as a key or a prefix.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl From<Key> for Vec<u8> {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the parts of a key back, in order. `None` means that the next part is not of that kind.
#[derive(Clone, Copy, Debug)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Starts at the first part of `key`.
    #[must_use]
    pub fn new(key: &'a [u8]) -> Self {
        Self { rest: key }
    }

    /// The next part as a text.
    pub fn text(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let mut position = 0;
        loop {
            let byte = *self.rest.get(position)?;
            position += 1;
            if byte == 0 {
                let follower = *self.rest.get(position)?;
                position += 1;
                match follower {
                    ESCAPED_ZERO => {}
                    1 => break,
                    _ => return None,
                }
            }
            bytes.push(byte);
        }
        let text = String::from_utf8(bytes).ok()?;
        self.rest = &self.rest[position..];
        Some(text)
    }

    /// The next part as a number.
    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_be_bytes(*number))
    }

    /// Whether all parts were read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_sort_as_their_parts_and_read_back(
            a in ("[\\x00-\\x02a-b\u{e9}]{0,6}", any::<u64>()),
            b in ("[\\x00-\\x02a-b\u{e9}]{0,6}", any::<u64>()),
        ) {
            let key_a = Key::new().text(&a.0).number(a.1).into_bytes();
            let key_b = Key::new().text(&b.0).number(b.1).into_bytes();
            prop_assert_eq!(key_a.cmp(&key_b), a.cmp(&b));
            let mut reader = KeyReader::new(&key_a);
            prop_assert_eq!(reader.text(), Some(a.0));
            prop_assert_eq!(reader.number(), Some(a.1));
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn reading_any_bytes_is_safe(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = KeyReader::new(&bytes);
            while reader.text().is_some() || reader.number().is_some() {}
        }
    }
}
