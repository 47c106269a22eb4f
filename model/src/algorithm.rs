//! What a device does beside plain stochastic gradient descent: corrections of its objective, and
//! what it keeps to itself.

use serde::{Deserialize, Serialize};

use crate::{Graph, ModelError};

/// Most models that a device chooses from (IFCA).
pub const MAX_CLUSTERS: u32 = 16;

/// How the local objective is corrected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum LocalAlgorithm {
    /// Plain stochastic gradient descent (McMahan et al. 2017).
    #[default]
    FedAvg,
    /// The gradient gets mu (w - w0), w0 being the assigned model (Li et al. 2020, "Federated
    /// Optimization in Heterogeneous Networks").
    FedProx {
        /// Strength mu, above 0.
        mu: f32,
    },
    /// The gradient gets c - c_i, server's and device's control variates; option II of Karimireddy
    /// et al. 2020, "SCAFFOLD".
    Scaffold,
    /// The delta is divided by the device's number of steps, and the mean multiplied by the mean
    /// number of steps (Wang et al. 2020, "Tackling the Objective Inconsistency Problem").
    FedNova,
    /// The gradient gets alpha (w - w0) - g_i, and g_i <- g_i - alpha (w - w0) afterwards (Acar et al.
    /// 2021, "Federated Learning Based on Dynamic Regularization"). Goes with the server optimiser of
    /// the same name.
    FedDyn {
        /// Strength alpha, above 0.
        alpha: f32,
    },
    /// Devices with a larger loss weigh more (Li et al. 2020, "Fair Resource Allocation in Federated
    /// Learning", q-FedAvg with L = 1 / learning rate).
    QFedAvg {
        /// Fairness q, at least 0; 0 is federated averaging.
        q: f32,
    },
}

impl LocalAlgorithm {
    /// The name used in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FedAvg => "fedavg",
            Self::FedProx { .. } => "fedprox",
            Self::Scaffold => "scaffold",
            Self::FedNova => "fednova",
            Self::FedDyn { .. } => "feddyn",
            Self::QFedAvg { .. } => "qfedavg",
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ModelError::Training`] names the field that is out of range.
    pub fn check(&self) -> Result<(), ModelError> {
        match *self {
            Self::FedProx { mu } => positive("algorithm.mu", mu),
            Self::FedDyn { alpha } => positive("algorithm.alpha", alpha),
            Self::QFedAvg { q } => within("algorithm.q", q, 0.0, 10.0, "must be 0 to 10"),
            Self::FedAvg | Self::Scaffold | Self::FedNova => Ok(()),
        }
    }
}

/// What a device keeps to itself, or which of several models it works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Personalisation {
    /// Personal layers, trained together with the shared ones (Arivazhagan et al. 2019, "FedPer").
    #[serde(rename = "fedper")]
    FedPer {
        /// Prefixes of tensor paths, for example `2.` for the third layer.
        layers: Vec<String>,
    },
    /// Personal layers, trained first while the shared ones rest, then the other way round (Collins
    /// et al. 2021, "FedRep").
    #[serde(rename = "fedrep")]
    FedRep {
        /// Prefixes of tensor paths.
        layers: Vec<String>,
        /// Passes over the data for the personal layers alone, at least 1.
        head_epochs: u32,
    },
    /// A whole personal model v beside the shared one: its gradient gets lambda (v - w) (Li et al.
    /// 2021, "Ditto").
    Ditto {
        /// Strength lambda, at least 0.
        lambda: f32,
        /// Passes over the data for the personal model, at least 1.
        epochs: u32,
    },
    /// The device uses alpha v + (1 - alpha) w (Deng, Kamani, Mahdavi 2020, "APFL").
    Apfl {
        /// Share of the personal model, 0 to 1; where it starts when it adapts.
        alpha: f32,
        /// Whether each device adapts its share by gradient descent.
        #[serde(default)]
        adaptive: bool,
    },
    /// Every region has its own layers; the others are shared by all regions.
    RegionHeads {
        /// Prefixes of tensor paths.
        layers: Vec<String>,
    },
    /// Several models; each device trains the one with the smallest loss on its data (Ghosh et al.
    /// 2020, "IFCA").
    Ifca {
        /// Number of models, 2 to 16.
        clusters: u32,
    },
}

impl Personalisation {
    /// The name used in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FedPer { .. } => "fedper",
            Self::FedRep { .. } => "fedrep",
            Self::Ditto { .. } => "ditto",
            Self::Apfl { .. } => "apfl",
            Self::RegionHeads { .. } => "region_heads",
            Self::Ifca { .. } => "ifca",
        }
    }

    /// Prefixes of the tensors that stay on the device; empty for methods that keep none back.
    pub fn personal_layers(&self) -> &[String] {
        match self {
            Self::FedPer { layers } | Self::FedRep { layers, .. } => layers,
            _ => &[],
        }
    }

    /// Checks the ranges, and that named layers exist and leave something to share.
    ///
    /// # Errors
    /// [`ModelError::Training`] names the field that is wrong.
    pub fn check(&self, graph: &Graph) -> Result<(), ModelError> {
        match self {
            Self::FedPer { layers } | Self::RegionHeads { layers } => check_layers(layers, graph),
            Self::FedRep {
                layers,
                head_epochs,
            } => {
                epochs("personalisation.head_epochs", *head_epochs)?;
                check_layers(layers, graph)
            }
            Self::Ditto { lambda, epochs: e } => {
                let (field, rule) = ("personalisation.lambda", "must be 0 to 1000");
                within(field, *lambda, 0.0, 1000.0, rule)?;
                epochs("personalisation.epochs", *e)
            }
            Self::Apfl { alpha, .. } => {
                let (field, rule) = ("personalisation.alpha", "must be 0 to 1");
                within(field, *alpha, 0.0, 1.0, rule)
            }
            Self::Ifca { clusters } => within(
                "personalisation.clusters",
                *clusters as f32,
                2.0,
                MAX_CLUSTERS as f32,
                "must be 2 to 16",
            ),
        }
    }
}

/// For each parameter of `graph`, whether its tensor's path starts with one of `layers`.
pub fn named_parameters(graph: &Graph, layers: &[String]) -> Vec<bool> {
    let mut named = vec![false; graph.layout().len()];
    for entry in &graph.layout().entries {
        if layers.iter().any(|layer| entry.path.starts_with(layer)) {
            named[entry.range()].fill(true);
        }
    }
    named
}

/// Paths listed where none fits.
const PATHS: usize = 8;

fn check_layers(layers: &[String], graph: &Graph) -> Result<(), ModelError> {
    let wrong = |rule, value: &str| {
        Err(ModelError::Training {
            field: "personalisation.layers",
            rule,
            value: value.to_owned(),
        })
    };
    let entries = &graph.layout().entries;
    for layer in layers {
        let found = entries.iter().any(|entry| entry.path.starts_with(layer));
        if layer.is_empty() || !found {
            let paths = entries.iter().map(|entry| entry.path.as_str());
            let mut known: Vec<&str> = paths.take(PATHS + 1).collect();
            if known.len() > PATHS {
                known[PATHS] = "...";
            }
            let known = known.join(", ");
            return wrong(
                "must be prefixes of the model's tensor paths",
                &format!("{layer:?}, where it has {known}"),
            );
        }
    }
    let named = named_parameters(graph, layers);
    if named.iter().all(|&is| is) || !named.contains(&true) {
        return wrong("must name some tensors and leave some", &layers.join(", "));
    }
    Ok(())
}

fn epochs(field: &'static str, epochs: u32) -> Result<(), ModelError> {
    let rule = "must be 1 to 10000";
    within(field, epochs as f32, 1.0, crate::MAX_EPOCHS as f32, rule)
}

fn positive(field: &'static str, value: f32) -> Result<(), ModelError> {
    let rule = "must be above 0 and at most 1000";
    within(field, value, f32::MIN_POSITIVE, 1000.0, rule)
}

fn within(
    field: &'static str,
    value: f32,
    low: f32,
    high: f32,
    rule: &'static str,
) -> Result<(), ModelError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Training {
        field,
        rule,
        value: value.to_string(),
    })
}
