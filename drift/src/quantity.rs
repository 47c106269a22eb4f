//! What a device counts: a quantity with fixed bins and an identity that changes with them.

use serde::{Deserialize, Serialize};

use crate::error::DriftError;
use crate::quantity_id::QuantityId;

/// Most bins a quantity may have, the missing bin included. Few bins (8 to 16) see more under noise:
/// each adds its own share of it.
pub const MAX_BINS: usize = 1024;

/// What a shift of the quantity means; decides the playbook.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An input of the model.
    #[default]
    Feature,
    /// The class the model predicts.
    Prediction,
    /// The probability of the predicted class; bins rise with confidence.
    Confidence,
    /// Loss or error where labels exist; bins rise with the loss.
    Loss,
    /// Who reports: device class, firmware, hour.
    Participation,
}

/// How values fall into bins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binning {
    /// Strictly rising finite edges `e_0 < .. < e_(m-1)`: bin 0 is below `e_0`, bin `i` is
    /// `[e_(i-1), e_i)`, bin `m` is `e_(m-1)` and above.
    Edges(Vec<f64>),
    /// Classes `0..n`, one bin each.
    Classes(usize),
}

/// A monitored quantity: a name, its bins and its role. The last bin always counts missing values
/// (NaN, an unknown class).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Definition", into = "Definition")]
pub struct Quantity {
    definition: Definition,
    id: QuantityId,
}

/// The serialised form; the identity is derived from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    name: String,
    #[serde(default)]
    role: Role,
    bins: Binning,
}

impl Quantity {
    /// A quantity from its parts.
    ///
    /// # Errors
    /// [`DriftError::BadQuantity`] if the name is empty or longer than 128 bytes, edges aren't finite
    /// and strictly rising, or there would be fewer than 2 or more than [`MAX_BINS`] bins beside the
    /// missing one.
    pub fn new(name: impl Into<String>, role: Role, bins: Binning) -> Result<Self, DriftError> {
        Self::try_from(Definition {
            name: name.into(),
            role,
            bins,
        })
    }

    /// A feature with fixed edges. See [`Quantity::new`].
    ///
    /// # Errors
    /// As [`Quantity::new`].
    pub fn with_edges(name: impl Into<String>, edges: Vec<f64>) -> Result<Self, DriftError> {
        Self::new(name, Role::Feature, Binning::Edges(edges))
    }

    /// The model's predicted class. See [`Quantity::new`].
    ///
    /// # Errors
    /// As [`Quantity::new`].
    pub fn prediction(name: impl Into<String>, classes: usize) -> Result<Self, DriftError> {
        Self::new(name, Role::Prediction, Binning::Classes(classes))
    }

    /// Name, for people.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// What a shift of it means.
    pub fn role(&self) -> Role {
        self.definition.role
    }

    /// How values fall into bins.
    pub fn binning(&self) -> &Binning {
        &self.definition.bins
    }

    /// Identity: changes with the name or any edge, so that counts of different bins never mix.
    pub fn id(&self) -> &QuantityId {
        &self.id
    }

    /// Number of bins, the missing one (the last) included.
    pub fn bins(&self) -> usize {
        self.missing_bin() + 1
    }

    /// Index of the bin that counts missing values.
    pub fn missing_bin(&self) -> usize {
        self.definition.bins.values()
    }

    /// Bin of a value. NaN, and a class that is negative, fractional or unknown, are missing.
    pub fn bin_of(&self, value: f64) -> usize {
        let missing = self.missing_bin();
        if value.is_nan() {
            return missing;
        }
        match &self.definition.bins {
            Binning::Edges(edges) => edges.partition_point(|&edge| edge <= value),
            Binning::Classes(classes) => {
                let known = value >= 0.0 && value < *classes as f64 && value.fract() == 0.0;
                if known { value as usize } else { missing }
            }
        }
    }
}

impl Binning {
    /// Bins without the missing one.
    fn values(&self) -> usize {
        match self {
            Self::Edges(edges) => edges.len() + 1,
            Self::Classes(classes) => *classes,
        }
    }

    /// Bytes that say everything about the bins, for the digest.
    fn canonical_bytes(&self) -> Vec<u8> {
        match self {
            Self::Edges(edges) => {
                let bits = edges.iter().flat_map(|edge| edge.to_bits().to_le_bytes());
                std::iter::once(b'e').chain(bits).collect()
            }
            Self::Classes(classes) => {
                let count = (*classes as u64).to_le_bytes();
                std::iter::once(b'c').chain(count).collect()
            }
        }
    }
}

impl TryFrom<Definition> for Quantity {
    type Error = DriftError;

    fn try_from(mut definition: Definition) -> Result<Self, DriftError> {
        let refuse = |reason: &str| DriftError::BadQuantity {
            name: definition.name.chars().take(128).collect(),
            reason: reason.to_owned(),
        };
        if definition.name.is_empty() || definition.name.len() > 128 {
            return Err(refuse("the name must have 1 to 128 bytes"));
        }
        let values = definition.bins.values();
        if !(2..MAX_BINS).contains(&values) {
            return Err(refuse("give 1 to 1022 edges or 2 to 1023 classes"));
        }
        if let Binning::Edges(edges) = &mut definition.bins {
            if edges.iter().any(|edge| !edge.is_finite()) {
                return Err(DriftError::BadQuantity {
                    name: definition.name,
                    reason: "edges must be finite; values beyond the last edge have their own bin"
                        .to_owned(),
                });
            }
            if edges.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(DriftError::BadQuantity {
                    name: definition.name,
                    reason: "edges must rise strictly".to_owned(),
                });
            }
            // -0.0 and 0.0 are the same edge, so they must have the same identity
            edges.iter_mut().for_each(|edge| *edge += 0.0);
        }
        let id = QuantityId::new(&definition.name, &definition.bins.canonical_bytes());
        Ok(Self { definition, id })
    }
}

impl From<Quantity> for Definition {
    fn from(quantity: Quantity) -> Self {
        quantity.definition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bin_that_the_documentation_says() {
        let quantity = Quantity::with_edges("load", vec![0.0, 1.0, 2.0]).unwrap();
        assert_eq!(quantity.bins(), 5);
        let bins = [
            f64::NEG_INFINITY,
            -0.1,
            0.0,
            0.9,
            1.0,
            1.9,
            2.0,
            f64::INFINITY,
            f64::NAN,
        ]
        .map(|value| quantity.bin_of(value));
        assert_eq!(bins, [0, 0, 1, 1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn an_unknown_class_is_missing() {
        let quantity = Quantity::prediction("activity", 3).unwrap();
        let bins = [0.0, 2.0, 3.0, -1.0, 0.5, f64::NAN].map(|value| quantity.bin_of(value));
        assert_eq!(bins, [0, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn identity_changes_with_name_and_edges_but_not_with_the_sign_of_zero() {
        let id = |name: &str, edges: &[f64]| {
            Quantity::with_edges(name, edges.to_vec())
                .unwrap()
                .id()
                .clone()
        };
        assert_eq!(id("a", &[0.0, 1.0]), id("a", &[-0.0, 1.0]));
        assert_ne!(id("a", &[0.0, 1.0]), id("b", &[0.0, 1.0]));
        assert_ne!(id("a", &[0.0, 1.0]), id("a", &[0.0, 1.1]));
    }

    #[test]
    fn unusable_definitions_are_refused_also_when_read_from_json() {
        for edges in [vec![], vec![1.0, 1.0], vec![2.0, 1.0], vec![f64::NAN, 1.0]] {
            assert!(Quantity::with_edges("q", edges).is_err());
        }
        assert!(Quantity::prediction("", 3).is_err());
        assert!(Quantity::prediction("q", 1).is_err());
        assert!(Quantity::prediction("q", usize::MAX).is_err());
        let json = r#"{"name":"q","bins":{"edges":[2.0,1.0]}}"#;
        assert!(serde_json::from_str::<Quantity>(json).is_err());
        let json = r#"{"name":"q","bins":{"edges":[1.0,2.0]},"colour":1}"#;
        assert!(serde_json::from_str::<Quantity>(json).is_err());
    }
}
