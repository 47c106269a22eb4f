//! What client algorithms send beside the delta, and how the state that stays on the device moves.

use crate::ModelError;
use crate::engine::check_len;

/// Smallest loss that q-FedAvg reckons with, so that F^(q - 1) stays finite for q below 1.
const SMALLEST_LOSS: f64 = 1e-10;

/// SCAFFOLD's correction of the gradient, c - c_i: the server's control variate less the device's
/// (Karimireddy et al. 2020, algorithm 1, line 10). A variate that does not exist yet is zero.
///
/// # Errors
/// If the two have different lengths.
pub fn scaffold_offset(server: &[f32], own: &[f32]) -> Result<Vec<f32>, ModelError> {
    check_len("control variate", server.len(), own.len())?;
    Ok(server.iter().zip(own).map(|(c, own)| c - own).collect())
}

/// The change of the device's control variate by option II (Karimireddy et al. 2020, algorithm 1,
/// line 12): c_i+ - c_i = -c + (x - y) / (K rate), where y - x is `delta` and K the `steps` taken.
///
/// # Errors
/// If the two have different lengths, or there were no steps.
pub fn scaffold_change(
    server: &[f32],
    delta: &[f32],
    steps: u64,
    learning_rate: f32,
) -> Result<Vec<f32>, ModelError> {
    check_len("control variate", delta.len(), server.len())?;
    if steps == 0 {
        return Err(ModelError::EmptyBatch);
    }
    let scale = 1.0 / (steps as f64 * f64::from(learning_rate));
    let changes = server.iter().zip(delta);
    Ok(changes
        .map(|(c, delta)| (-f64::from(*c) - f64::from(*delta) * scale) as f32)
        .collect())
}

/// The change of FedDyn's gradient: g_i+ - g_i = -alpha x delta (Acar et al. 2021, algorithm 1).
pub fn feddyn_gradient_change(delta: &[f32], alpha: f32) -> Vec<f32> {
    delta.iter().map(|delta| -alpha * delta).collect()
}

/// A device's part in the quotient of q-FedAvg.
///
/// Li et al. 2020, "Fair Resource Allocation in Federated Learning", algorithm 2, with L =
/// 1 / learning rate: w - sum(Delta_k) / sum(h_k), Delta_k = F^q L (w - w_k) and
/// h_k = q F^(q-1) |L (w - w_k)|^2 + L F^q. Both are divided by L here, so that what is sent is a
/// delta times `factor`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QFedAvgShare {
    /// What the delta is multiplied by: F^q.
    pub factor: f64,
    /// The denominator: F^q + q F^(q-1) L |delta|^2.
    pub weight: f64,
}

impl QFedAvgShare {
    /// The part of a device whose mean loss is `loss`, before training, and whose delta has the L2
    /// norm `norm`.
    pub fn new(q: f32, loss: f64, norm: f64, learning_rate: f32) -> Self {
        let (q, loss) = (f64::from(q), loss.max(SMALLEST_LOSS));
        let factor = loss.powf(q);
        let curvature = q * loss.powf(q - 1.0) * norm * norm / f64::from(learning_rate);
        Self {
            factor,
            weight: factor + curvature,
        }
    }
}
