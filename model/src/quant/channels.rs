//! Quantised weights per output channel, shared by dense and convolution layers.

use super::QuantError;
use super::arithmetic::Multiplier;
use super::kernel::{Int8Tensor, Lowering};
use super::scale::{ActivationScale, WEIGHT_LIMIT, quantise_weight, symmetric_weight_scale};
use crate::bundle::{BundleError, Reader};
use crate::layout::Role;

/// Largest magnitude of a quantised bias: leaves half of the accumulator to the products.
const BIAS_LIMIT: f64 = (1 << 30) as f64;
/// Steps by which the bias of a channel without weights is resolved.
const BIAS_ONLY_STEPS: f64 = (1 << 20) as f64;
/// Largest distance of an activation from its zero point.
const ACTIVATION_SPAN: i64 = 255;

/// Weights, biases and output factors of a layer's channels.
///
/// For channel `c` with weights `w`, inputs `x` and input zero point `zx` the layer computes
/// `clamp(zy + factor[c] * (bias[c] + sum_i (x_i - zx) * w_i))`, in integers.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelWeights {
    fan_in: usize,
    /// `[channels, fan_in]`
    weights: Vec<i8>,
    bias: Vec<i32>,
    factors: Vec<Multiplier>,
    input_zero: i32,
    output: ActivationScale,
    relu: bool,
}

impl ChannelWeights {
    /// Quantises the weight and bias of a layer.
    ///
    /// Each channel's weight scale is its largest magnitude / 127; biases have the scale
    /// `input scale * weight scale`, and where a bias would pass 2^30 the weight scale is widened.
    ///
    /// # Errors
    /// If the layer has no weight, a factor can't be represented or a sum could overflow.
    pub fn lower(request: &Lowering<'_>, kind: &'static str) -> Result<Self, QuantError> {
        let weight = request.parameter(Role::Weight);
        let (entry, values) = weight.ok_or_else(|| request.unsupported(kind))?;
        let bias = request
            .parameter(Role::Bias)
            .map_or(&[][..], |(_, values)| values);
        let channels = entry.channels();
        let fan_in = entry.len / channels;
        let mut lowered = Self {
            fan_in,
            weights: Vec::with_capacity(entry.len),
            bias: Vec::with_capacity(channels),
            factors: Vec::with_capacity(channels),
            input_zero: i32::from(request.input.scale.zero_point()),
            output: request.output_scale,
            relu: request.relu,
        };
        for channel in 0..channels {
            let row = channel_values(values, &entry.shape, entry.output_axis, channel);
            let real_bias = bias.get(channel).copied().unwrap_or(0.0);
            lowered.push(request, channel, &row, real_bias)?;
        }
        match lowered.first_unsafe_channel() {
            Some(channel) => Err(QuantError::Accumulator {
                index: request.index,
                channel,
            }),
            None => Ok(lowered),
        }
    }

    /// Quantises one more channel.
    fn push(
        &mut self,
        request: &Lowering<'_>,
        channel: usize,
        row: &[f32],
        bias: f32,
    ) -> Result<(), QuantError> {
        let input_scale = f64::from(request.input.scale.scale());
        let output_scale = f64::from(self.output.scale());
        let bias = f64::from(bias);
        let weight_scale = match symmetric_weight_scale(row.iter().copied()) {
            Some(scale) => scale.max(bias.abs() / (input_scale * BIAS_LIMIT)),
            None if bias != 0.0 => bias.abs() / (input_scale * BIAS_ONLY_STEPS),
            None => output_scale / input_scale,
        };
        let factor = input_scale * weight_scale / output_scale;
        let index = request.index;
        let multiplier = Multiplier::from_real(factor);
        let multiplier = multiplier.ok_or(QuantError::Factor {
            index,
            channel,
            factor,
        })?;
        self.weights.extend(
            row.iter()
                .map(|&weight| quantise_weight(weight, weight_scale)),
        );
        // At most 2^30 in magnitude by the choice of the scale.
        self.bias
            .push((bias / (input_scale * weight_scale)).round() as i32);
        self.factors.push(multiplier);
        Ok(())
    }

    /// Number of output channels.
    pub fn channels(&self) -> usize {
        self.bias.len()
    }

    /// The weights of `channel`, `fan_in` values.
    pub fn row(&self, channel: usize) -> &[i8] {
        &self.weights[channel * self.fan_in..(channel + 1) * self.fan_in]
    }

    /// The bias of `channel`, in accumulator units.
    pub fn bias(&self, channel: usize) -> i32 {
        self.bias[channel]
    }

    /// The scale of the layer's output.
    pub fn output_scale(&self) -> ActivationScale {
        self.output
    }

    /// `sum_i (input_i - input zero point) * weight_i` over the shorter of the two slices.
    pub fn dot(&self, weights: &[i8], input: &[i8]) -> i32 {
        let products = weights.iter().zip(input);
        products
            .map(|(&w, &x)| i32::from(w) * (i32::from(x) - self.input_zero))
            .sum()
    }

    /// Brings a finished accumulator of `channel` to the output's scale.
    pub fn requantise(&self, channel: usize, accumulator: i32) -> i8 {
        let zero = i32::from(self.output.zero_point());
        let floor = if self.relu { zero } else { i32::from(i8::MIN) };
        let value = self.factors[channel]
            .apply(accumulator)
            .saturating_add(zero);
        // In range: floor is an i8 and the ceiling its largest value.
        value.clamp(floor, i32::from(i8::MAX)) as i8
    }

    /// The first channel whose sum could leave 32 bits for some input.
    fn first_unsafe_channel(&self) -> Option<usize> {
        (0..self.channels()).find(|&channel| {
            let magnitudes = self.row(channel).iter().map(|&w| i64::from(w).abs());
            let products = magnitudes.sum::<i64>() * ACTIVATION_SPAN;
            products + i64::from(self.bias[channel]).abs() > i64::from(i32::MAX)
        })
    }

    /// Appends the tensor to a build: channels `u32`, ReLU `u8` (0 or 1), output scale `f32`, output
    /// zero point `i8`, then per channel biases `i32`, mantissas `i32`, exponents `i8`, and the
    /// weights `i8`, channel by channel.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        // Parameter counts are limited to 2^26.
        bytes.extend((self.channels() as u32).to_le_bytes());
        bytes.push(u8::from(self.relu));
        bytes.extend(self.output.scale().to_le_bytes());
        bytes.extend(self.output.zero_point().to_le_bytes());
        bytes.extend(self.bias.iter().flat_map(|bias| bias.to_le_bytes()));
        bytes.extend(
            self.factors
                .iter()
                .flat_map(|factor| factor.mantissa().to_le_bytes()),
        );
        bytes.extend(
            self.factors
                .iter()
                .flat_map(|factor| factor.exponent().to_le_bytes()),
        );
        bytes.extend(self.weights.iter().flat_map(|weight| weight.to_le_bytes()));
    }

    /// Reads what [`write`](Self::write) wrote, for channels of `fan_in` weights each.
    ///
    /// # Errors
    /// If bytes are missing, a value is out of its range or a sum could overflow.
    pub fn read(
        reader: &mut Reader<'_>,
        input: &Int8Tensor,
        fan_in: usize,
    ) -> Result<Self, BundleError> {
        let channels = reader.dimension("channels")?;
        let relu = reader.flag("relu")?;
        let output = reader.scale("output scale")?;
        let bias = reader.i32s(channels)?;
        let mantissas = reader.i32s(channels)?;
        let exponents = reader.i8s(channels)?;
        let pairs = mantissas.iter().zip(&exponents);
        let factors: Option<Vec<_>> = pairs
            .map(|(&mantissa, &exponent)| Multiplier::from_parts(mantissa, exponent))
            .collect();
        let factors = factors.ok_or(BundleError::Field {
            what: "output factor",
        })?;
        let count = channels
            .checked_mul(fan_in)
            .ok_or(BundleError::Field { what: "channels" })?;
        let weights = reader.i8s(count)?;
        if weights
            .iter()
            .any(|&weight| i32::from(weight) < -WEIGHT_LIMIT)
        {
            return Err(BundleError::Field { what: "weight" });
        }
        let input_zero = i32::from(input.scale.zero_point());
        let read = Self {
            fan_in,
            weights,
            bias,
            factors,
            input_zero,
            output,
            relu,
        };
        match read.first_unsafe_channel() {
            Some(_) => Err(BundleError::Field {
                what: "sum of weights",
            }),
            None => Ok(read),
        }
    }
}

/// The values of one output channel of a row-major tensor, in the order of its other dimensions.
fn channel_values(values: &[f32], shape: &[usize], axis: usize, channel: usize) -> Vec<f32> {
    let inner: usize = shape[axis + 1..].iter().product();
    let blocks = values.chunks_exact(shape[axis] * inner);
    blocks
        .flat_map(|block| &block[channel * inner..(channel + 1) * inner])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_values_follow_the_output_axis() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        // dense [in 3, out 2]: columns
        assert_eq!(channel_values(&values, &[3, 2], 1, 0), [1.0, 3.0, 5.0]);
        assert_eq!(channel_values(&values, &[3, 2], 1, 1), [2.0, 4.0, 6.0]);
        // convolution [out 2, in 1, kernel 3]: contiguous
        assert_eq!(channel_values(&values, &[2, 1, 3], 0, 1), [4.0, 5.0, 6.0]);
    }
}
