//! Small fleets of real agents on data that a tiny network can learn.

use std::time::Duration;

use tributary_device::{BackoffLimits, Hardware, Timing};
use tributary_device_sim::{Fleet, FleetConfig, FleetHandle, Shard, SimDevice};
use tributary_model::{Batch, FastEngine, ModelFile, accuracy};

use super::recipe::TASK;

/// Examples of each device.
const EXAMPLES: usize = 8;

/// Examples of two classes. The first feature tells them apart; `shifted` turns its sign around and
/// moves the second feature away.
pub fn shard(number: usize, shifted: bool) -> Shard {
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for example in 0..EXAMPLES {
        // three in four are of class 1, so that a model that takes one for the other shows
        let label = u32::from(!example.is_multiple_of(4));
        let wobble =
            |step: usize| ((number * 31 + example * 17 + step * 7) % 23) as f32 / 23.0 - 0.5;
        let side = if (label == 1) == shifted { -1.0 } else { 1.0 };
        let second = if shifted { 2.0 } else { 0.0 };
        inputs.extend([
            side + 0.4 * wobble(0),
            second + 0.4 * wobble(1),
            wobble(2),
            wobble(3),
        ]);
        labels.push(label);
    }
    Shard::new(inputs, labels)
}

/// Hardware that any build of these tests fits.
pub fn large() -> Hardware {
    Hardware::int8("large", "cortex-m7", 1 << 20, 1 << 20)
}

/// A device of `region` that behaves.
pub fn device(region: &str, number: usize) -> SimDevice {
    let id = format!("{region}-{number:03}").parse().unwrap();
    SimDevice {
        shifted: Some(shard(number, true)),
        ..SimDevice::new(
            id,
            region.parse().unwrap(),
            large(),
            TASK,
            shard(number, false),
        )
    }
}

/// So many devices of a region.
pub fn devices(region: &str, count: usize) -> Vec<SimDevice> {
    (0..count).map(|number| device(region, number)).collect()
}

/// Short waits, so that retries don't slow the tests down.
pub fn timing() -> Timing {
    let backoff = BackoffLimits {
        base: Duration::from_millis(10),
        cap: Duration::from_millis(200),
    };
    Timing {
        backoff,
        ..Timing::default()
    }
}

/// Starts a seeded fleet over two connections.
pub fn start(endpoint: &str, permits: usize, devices: Vec<SimDevice>) -> FleetHandle {
    let config = FleetConfig {
        connections: 2,
        seed: Some([6; 32]),
        cpu_permits: permits,
        timing: timing(),
        ..FleetConfig::new(endpoint)
    };
    Fleet::start(config, devices).unwrap()
}

/// Accuracy of a model on examples of devices that are not in any fleet.
pub fn held_out_accuracy(file: &ModelFile, shifted: bool) -> f64 {
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for number in 500..520 {
        let shard = shard(number, shifted);
        inputs.extend_from_slice(&shard.inputs);
        labels.extend_from_slice(&shard.labels);
    }
    let mut engine = FastEngine::new(&file.spec.graph().unwrap());
    let data = Batch {
        inputs: &inputs,
        labels: &labels,
    };
    accuracy(&mut engine, &file.weights, data).unwrap()
}
