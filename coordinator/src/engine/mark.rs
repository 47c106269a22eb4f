//! How a run recognises the updates that it has counted, without keeping what they were.
//!
//! An update may be guessed: that of a device that had nothing to send is a vector of zeros, whose
//! digest anybody can compute. So records hold no digest of an update, but one that is made with a key
//! of the round. The key of the next round is a digest of this one's, and the last key is dropped when
//! the run is over: what is left of earlier records, on a disk or in a backup, then confirms no guess.

use std::fmt;

use serde::{Deserialize, Serialize};
use tributary_model::{Digest, DigestBuilder};
use tributary_proto::DeviceId;

/// The secret of one attempt at a round.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MarkKey([u8; 32]);

impl MarkKey {
    /// A key of random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The key of the attempt after this one; this one can't be found from it.
    #[must_use]
    pub fn next(&self) -> Self {
        let mut builder = DigestBuilder::new();
        builder.update(b"tributary-mark-key-v1");
        builder.update(&self.0);
        Self(*builder.finish().as_bytes())
    }

    /// The mark of a device's update.
    pub fn mark(&self, device: &DeviceId, update: &Digest) -> Mark {
        let mut builder = DigestBuilder::new();
        builder.update(b"tributary-mark-v1");
        builder.update(&self.0);
        builder.update(update.as_bytes());
        builder.update(device.as_str().as_bytes());
        Mark(Form::Keyed(builder.finish()))
    }
}

/// Shows no bit of the key.
impl fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MarkKey")
    }
}

/// What is kept of an update that was counted. In text: `k` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mark(Form);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Made with the key of the round.
    Keyed(Digest),
    /// The digest itself: in records of before there were keys. Never written.
    Plain(Digest),
}

impl Mark {
    /// Whether it is of these bytes of the device; `key` is that of the round in which it was counted.
    pub(super) fn is_of(self, key: Option<&MarkKey>, device: &DeviceId, update: &Digest) -> bool {
        match self.0 {
            Form::Plain(digest) => digest == *update,
            Form::Keyed(_) => key.is_some_and(|key| key.mark(device, update) == self),
        }
    }

    /// The same made with a key.
    pub(super) fn keyed(self, key: &MarkKey, device: &DeviceId) -> Self {
        match self.0 {
            Form::Plain(digest) => key.mark(device, &digest),
            Form::Keyed(_) => self,
        }
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        match mark.0 {
            Form::Keyed(digest) => format!("k{digest}"),
            Form::Plain(digest) => digest.to_string(),
        }
    }
}

impl TryFrom<String> for Mark {
    type Error = tributary_model::ModelError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(Self(match text.strip_prefix('k') {
            Some(keyed) => Form::Keyed(keyed.parse()?),
            None => Form::Plain(text.parse()?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::device;

    fn key(number: u8) -> MarkKey {
        MarkKey::new([number; 32])
    }

    #[test]
    fn equal_updates_of_two_devices_and_of_two_rounds_have_different_marks() {
        let zeros = Digest::of(&[0; 64]);
        let mark = key(1).mark(&device(1), &zeros);
        assert_eq!(mark, key(1).mark(&device(1), &zeros));
        assert_ne!(mark, key(1).mark(&device(2), &zeros));
        assert_ne!(mark, key(1).next().mark(&device(1), &zeros));
        assert!(mark.is_of(Some(&key(1)), &device(1), &zeros));
        assert!(!mark.is_of(Some(&key(1).next()), &device(1), &zeros));
        assert!(!mark.is_of(None, &device(1), &zeros));
    }

    #[test]
    fn marks_travel_as_text_and_those_of_old_records_are_digests() {
        let zeros = Digest::of(&[0; 64]);
        let mark = key(1).mark(&device(1), &zeros);
        let text = serde_json::to_string(&mark).unwrap();
        assert!(!text.contains(&zeros.to_string()));
        assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), mark);
        let old: Mark = serde_json::from_str(&format!("\"{zeros}\"")).unwrap();
        assert!(old.is_of(None, &device(1), &zeros));
        assert_eq!(old.keyed(&key(1), &device(1)), mark);
        assert!(serde_json::from_str::<Mark>("\"k12\"").is_err());
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        assert_eq!(format!("{:?}", key(7)), "MarkKey");
    }
}
