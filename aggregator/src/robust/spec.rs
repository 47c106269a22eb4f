//! Rules and pre-aggregators as a recipe writes them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How n vectors become one. Everywhere n is the number of vectors that reach the rule and f the
/// number of bad ones it has to bear.
///
/// In a recipe: `rule = { kind = "trimmed_mean" }`; every constant has the default named here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RobustRule {
    /// The median of each coordinate (Yin et al. 2018); of an even number the mean of both middle
    /// values. O(n d). Needs n > 2f.
    Median {},
    /// The mean of each coordinate without its f lowest and f highest values (Yin et al. 2018).
    /// O(n d). Needs n > 2f.
    TrimmedMean {},
    /// The vector whose n - f - 2 nearest others are nearest, by sum of squared distances
    /// (Blanchard et al. 2017). O(n^2 d). Needs n >= 2f + 3.
    Krum {},
    /// The mean of the n - f vectors with the best Krum scores (Blanchard et al. 2017, section 4).
    /// O(n^2 d). Needs n >= 2f + 3.
    MultiKrum {},
    /// n - 2f vectors chosen by Krum one after the other, then in each coordinate the mean of the
    /// n - 4f values nearest to their median (El Mhamdi et al. 2018). O(n^2 d). Needs n >= 4f + 3.
    Bulyan {},
    /// The point with the smallest sum of distances, by smoothed Weiszfeld steps (Pillutla et al.
    /// 2022, algorithm 2). O(n^2 d). Needs n > 2f.
    GeometricMedian {
        /// Smoothing in (0, 1]: distances count as at least this share of the median distance to
        /// the starting point. Default 0.1.
        #[serde(default = "default_nu")]
        nu: f64,
        /// Steps, 1 to 1,000. Default 8.
        #[serde(default = "default_weiszfeld_iterations")]
        iterations: u32,
    },
    /// v <- v + mean((x_i - v) min(1, tau / ||x_i - v||)), where v is the result of the round before
    /// (Karimireddy et al. 2021, algorithm 2). O(n d). Needs n > 2f.
    CenteredClipping {
        /// Radius in the units of the updates, above 0: about the distance of an honest update from
        /// the honest mean.
        tau: f64,
        /// Steps, 1 to 1,000. Default 3.
        #[serde(default = "default_clipping_iterations")]
        iterations: u32,
    },
    /// The mean of the vectors, each shortened to the limit (Sun et al. 2019). O(n d). Needs n > 2f
    /// with the median as limit. It bounds what a bad device can do in one round, no more.
    NormBounding {
        /// Limit the norm to the median norm of the round. Default true.
        #[serde(default = "default_true")]
        median: bool,
        /// A fixed limit in the units of the updates, above 0; with `median` the smaller of both
        /// counts. Default none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bound: Option<f64>,
    },
    /// The mean weighted by max(0, cos) to a reference update trained by the server, each vector
    /// brought to the reference's norm (Cao et al. 2021, algorithm 2). O(n d). Bears any f < n, as
    /// far as the reference is right.
    #[serde(rename = "fltrust")]
    FlTrust {},
    /// The plain mean: the yardstick. Bears no bad device.
    Mean {},
}

/// What is done to the vectors before the rule sees them.
///
/// In a recipe a name, `"arc"` or `"nnm"`, or a table, `{ kind = "bucketing", size = 2 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PreAggregator {
    /// Adaptive robust clipping: shortens the floor(2 f (n - f) / n) longest vectors to the norm of
    /// the next longest (Allouah et al. 2025, algorithm 1). O(n d).
    Arc,
    /// Nearest-neighbour mixing: replaces each vector by the mean of its n - f nearest, itself
    /// included (Allouah et al. 2023, algorithm 2). O(n^2 d).
    Nnm,
    /// Means of random groups of `size` (Karimireddy et al. 2022, algorithm 1). The rule sees
    /// ceil(n / size) vectors, of which up to f are bad. O(n d).
    Bucketing {
        /// Vectors of a group, at least 2; the last group may be smaller.
        size: u32,
    },
}

/// A robust aggregation: what it has to bear, and how. ARC, then NNM, then the geometric median
/// unless a recipe says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobustSpec {
    /// f, the number of bad devices in one round that the result has to bear.
    pub byzantine: u32,
    /// Pre-aggregators in the order they are applied.
    #[serde(default = "default_pre")]
    pub pre: Vec<PreAggregator>,
    /// The rule.
    #[serde(default)]
    pub rule: RobustRule,
}

fn default_nu() -> f64 {
    0.1
}

fn default_weiszfeld_iterations() -> u32 {
    8
}

fn default_clipping_iterations() -> u32 {
    3
}

fn default_true() -> bool {
    true
}

fn default_pre() -> Vec<PreAggregator> {
    vec![PreAggregator::Arc, PreAggregator::Nnm]
}

impl Default for RobustRule {
    fn default() -> Self {
        Self::GeometricMedian {
            nu: default_nu(),
            iterations: default_weiszfeld_iterations(),
        }
    }
}

impl Default for RobustSpec {
    /// The default pipeline against one bad device.
    fn default() -> Self {
        Self::against(1)
    }
}

impl RobustSpec {
    /// The default pipeline against `byzantine` bad devices.
    pub fn against(byzantine: u32) -> Self {
        Self {
            byzantine,
            pre: default_pre(),
            rule: RobustRule::default(),
        }
    }

    /// True when [`RobustSpec::aggregate`] wants the reference update of the server.
    pub fn needs_reference(&self) -> bool {
        matches!(self.rule, RobustRule::FlTrust {})
    }

    /// True when the result of the round before is the starting point of the next.
    pub fn uses_previous(&self) -> bool {
        matches!(self.rule, RobustRule::CenteredClipping { .. })
    }

    /// True when the result depends on the seed.
    pub fn uses_seed(&self) -> bool {
        let random = |stage: &PreAggregator| matches!(stage, PreAggregator::Bucketing { .. });
        self.pre.iter().any(random)
    }
}

impl fmt::Display for RobustSpec {
    /// `arc + nnm + geometric_median`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.pre {
            write!(formatter, "{stage} + ")?;
        }
        formatter.write_str(self.rule.name())
    }
}

impl RobustRule {
    /// The name used in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Median {} => "median",
            Self::TrimmedMean {} => "trimmed_mean",
            Self::Krum {} => "krum",
            Self::MultiKrum {} => "multi_krum",
            Self::Bulyan {} => "bulyan",
            Self::GeometricMedian { .. } => "geometric_median",
            Self::CenteredClipping { .. } => "centered_clipping",
            Self::NormBounding { .. } => "norm_bounding",
            Self::FlTrust {} => "fltrust",
            Self::Mean {} => "mean",
        }
    }
}

impl PreAggregator {
    /// The name used in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Arc => "arc",
            Self::Nnm => "nnm",
            Self::Bucketing { .. } => "bucketing",
        }
    }
}

impl fmt::Display for PreAggregator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucketing { size } => write!(formatter, "bucketing of {size}"),
            _ => formatter.write_str(self.name()),
        }
    }
}

impl Serialize for PreAggregator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Bucketing { size } = self else {
            return serializer.serialize_str(self.name());
        };
        let mut table = serializer.serialize_struct("PreAggregator", 2)?;
        table.serialize_field("kind", self.name())?;
        table.serialize_field("size", size)?;
        table.end()
    }
}

impl<'de> Deserialize<'de> for PreAggregator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

/// The table form of a pre-aggregator.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Table {
    Arc {},
    Nnm {},
    Bucketing { size: u32 },
}

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = PreAggregator;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"arc\", \"nnm\" or { kind = \"bucketing\", size = 2 }")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<PreAggregator, E> {
        match name {
            "arc" => Ok(PreAggregator::Arc),
            "nnm" => Ok(PreAggregator::Nnm),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PreAggregator, A::Error> {
        Ok(match Table::deserialize(MapAccessDeserializer::new(map))? {
            Table::Arc {} => PreAggregator::Arc,
            Table::Nnm {} => PreAggregator::Nnm,
            Table::Bucketing { size } => PreAggregator::Bucketing { size },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_with_only_its_count_is_the_default_pipeline() {
        let spec: RobustSpec = serde_json::from_str(r#"{"byzantine": 4}"#).unwrap();
        assert_eq!(spec, RobustSpec::against(4));
        assert_eq!(spec.to_string(), "arc + nnm + geometric_median");
    }

    #[test]
    fn names_and_tables_are_read_and_written_back() {
        let text = r#"{"byzantine":2,"pre":[{"kind":"bucketing","size":3},"arc",{"kind":"nnm"}],
            "rule":{"kind":"centered_clipping","tau":0.5}}"#;
        let spec: RobustSpec = serde_json::from_str(text).unwrap();
        let stages = [
            PreAggregator::Bucketing { size: 3 },
            PreAggregator::Arc,
            PreAggregator::Nnm,
        ];
        assert_eq!(spec.pre, stages);
        let rule = RobustRule::CenteredClipping {
            tau: 0.5,
            iterations: 3,
        };
        assert_eq!(spec.rule, rule);
        let written = serde_json::to_string(&spec).unwrap();
        assert_eq!(
            serde_json::from_str::<RobustSpec>(&written).unwrap(),
            spec,
            "{written}"
        );
    }

    #[test]
    fn unknown_names_and_keys_are_refused() {
        for text in [
            r#"{"byzantine": 1, "pre": ["ark"]}"#,
            r#"{"byzantine": 1, "pre": [{"kind": "bucketing"}]}"#,
            r#"{"byzantine": 1, "pre": [{"kind": "arc", "size": 2}]}"#,
            r#"{"byzantine": 1, "rule": {"kind": "median", "nu": 1.0}}"#,
            r#"{"byzantine": 1, "rule": {"kind": "centered_clipping"}}"#,
            r#"{"byzantine": -1}"#,
            r#"{"byzantine": 1, "colour": 2}"#,
            r#"{}"#,
        ] {
            assert!(serde_json::from_str::<RobustSpec>(text).is_err(), "{text}");
        }
    }
}
