//! What a version has to be read with: marks that are inherited by all that comes from it.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The metadata key of the model file that holds its marks, absent without any.
pub const MARKS_KEY: &str = "tributary.marks";

const SEEDED: &str = "SEEDED";
const NO_NOISE: &str = "NO NOISE";
const RESTORED: &str = "RESTORED";

/// Why a model, and whatever comes from it, tells more of devices' data than an epsilon says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Its noise came from a seed: whoever knows that knows the noise.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub seeded: bool,
    /// It was trained, calibrated or counted without noise.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub no_noise: bool,
    /// What some of its devices had spent before was lost with a data folder: what they lose in all is not
    /// known.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub restored: bool,
}

fn is_unset(mark: &bool) -> bool {
    !mark
}

impl Marks {
    /// True when nothing has to be said.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The marks of what comes from both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            seeded: self.seeded || other.seeded,
            no_noise: self.no_noise || other.no_noise,
            restored: self.restored || other.restored,
        }
    }

    /// The words that are shown.
    pub fn names(self) -> Vec<String> {
        let names = [
            (self.seeded, SEEDED),
            (self.no_noise, NO_NOISE),
            (self.restored, RESTORED),
        ];
        let set = names.iter().filter(|(is_set, _)| *is_set);
        set.map(|(_, name)| (*name).to_owned()).collect()
    }

    /// Reads the marks in a model file's metadata.
    ///
    /// # Errors
    /// [`ModelError::UnknownMark`]: what is not understood is not dropped.
    pub(crate) fn of_metadata(
        metadata: Option<&HashMap<String, String>>,
    ) -> Result<Self, ModelError> {
        let mut marks = Self::default();
        let text = metadata.and_then(|map| map.get(MARKS_KEY));
        for name in text.map_or("", String::as_str).split(", ") {
            match name {
                "" => {}
                SEEDED => marks.seeded = true,
                NO_NOISE => marks.no_noise = true,
                RESTORED => marks.restored = true,
                other => {
                    let mark = other.chars().take(40).collect();
                    return Err(ModelError::UnknownMark { mark });
                }
            }
        }
        Ok(marks)
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.names().join(", "))
    }
}
