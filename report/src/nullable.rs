//! JSON has no NaN: non-finite numbers travel as null and come back as NaN. For `#[serde(with)]`.

use serde::{Deserialize, Deserializer, Serializer};

/// A finite number as it is, any other as null.
pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match value.is_finite() {
        true => serializer.serialize_some(value),
        false => serializer.serialize_none(),
    }
}

/// A number, or NaN for null.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}
