//! Checked newtypes of the ids that travel: 1 to 64 characters of `a-z A-Z 0-9 . _ -`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id in characters.
pub const MAX_ID_LENGTH: usize = 64;

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?} is not an id: use 1 to {MAX_ID_LENGTH} characters of a-z A-Z 0-9 . _ -")]
pub struct IdError {
    /// The field that held it.
    pub field: &'static str,
    /// The text, cut to 80 characters.
    pub value: String,
}

fn check(field: &'static str, text: &str) -> Result<(), IdError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=MAX_ID_LENGTH).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(());
    }
    Err(IdError {
        field,
        value: text.chars().take(80).collect(),
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $field:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check($field, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check($field, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// One enrolled device.
    DeviceId = "device_id";
    /// The group that a device is pinned to.
    RegionId = "region";
    /// One training job.
    RunId = "run_id";
    /// One drift monitor.
    MonitorId = "monitor_id";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_allowed_characters_is_accepted() {
        assert_eq!("eu-1.a_B".parse::<DeviceId>().unwrap().as_str(), "eu-1.a_B");
    }

    #[test]
    fn empty_long_and_foreign_ids_are_refused_by_field_name() {
        for text in ["", "a b", "é", &"x".repeat(65)] {
            let error = text.parse::<RegionId>().unwrap_err();
            assert!(error.to_string().starts_with("region "), "{error}");
        }
    }

    #[test]
    fn a_bad_id_in_json_is_refused() {
        assert!(serde_json::from_str::<RunId>("\"a/b\"").is_err());
    }
}
