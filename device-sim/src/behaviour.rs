//! How a simulated device behaves: its speed, its absences and its faults.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use tributary_device::{
    Decision, EncodedUpdate, Examples, Purposes, TrainingHooks, Workload, seeded,
};
use tributary_model::Digest;

/// How a device's slowness shows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Pace {
    /// Trains at once; nothing is slow.
    #[default]
    Immediate,
    /// Time is virtual: a device whose training would last longer than `deadline` gives its
    /// assignment back at once, any other trains at once. Deterministic under a seed.
    Virtual {
        /// Longest virtual duration of a training.
        deadline: Duration,
    },
    /// Sleeps for as long as the training would last.
    Real,
}

/// What a hostile or broken device does to its uploads.
///
/// The first four are attackers that the form of an update does not betray: they act before the
/// payload is clipped, encoded and sent like any other. A backdoor by model replacement (Bagdasaryan
/// et al. 2020) is [`Fault::Scale`] on a device whose data carry the trigger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Sends the opposite of its update.
    SignFlip,
    /// Multiplies its update, to outweigh the others as far as the clip lets it.
    Scale {
        /// The factor; finite.
        factor: f32,
    },
    /// Trains on the labels `classes - 1 - y`.
    LabelFlip,
    /// Inner product manipulation (Xie, Koyejo, Gupta 2020): sends `-tau` times the mean update, for
    /// which it takes its own.
    Ipm {
        /// Strength tau, finite and above 0; small ones are hard to tell from honest updates.
        tau: f32,
    },
    /// A value is not a number.
    Nan,
    /// The norm is far above the clip.
    Huge,
    /// The last four bytes are missing.
    Short,
    /// The announced digest is another one.
    WrongDigest,
    /// The update is sent twice.
    Duplicate,
    /// The update is sent after the lease has ended.
    Late,
    /// The update names a run that does not exist.
    ForeignRun,
}

/// What a device is like.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Behaviour {
    /// Seconds that one optimiser step takes; not negative.
    pub seconds_per_step: f64,
    /// Whether that is felt, and how.
    pub pace: Pace,
    /// Probability in [0, 1] that the device drops out of a round.
    pub drop_out: f64,
    /// What it does to its uploads; `None` for an honest device.
    pub fault: Option<Fault>,
}

impl Behaviour {
    /// What is wrong with the values, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if !(self.seconds_per_step.is_finite() && self.seconds_per_step >= 0.0) {
            return Some("seconds_per_step must be finite and not negative");
        }
        if !(0.0..=1.0).contains(&self.drop_out) {
            return Some("drop_out must be in [0, 1]");
        }
        match self.fault {
            Some(Fault::Scale { factor }) if !factor.is_finite() => {
                Some("fault scale: factor must be finite")
            }
            Some(Fault::Ipm { tau }) if !(tau.is_finite() && tau > 0.0) => {
                Some("fault ipm: tau must be finite and above 0")
            }
            _ => None,
        }
    }
}

/// A behaviour with the device's own random stream.
#[derive(Debug)]
pub(crate) struct SimConduct {
    pub(crate) behaviour: Behaviour,
    pub(crate) seed: [u8; 32],
    pub(crate) device_id: String,
}

impl SimConduct {
    fn drops_out(&self, workload: &Workload<'_>) -> bool {
        let round = u64::from(workload.round);
        let mut rng = seeded(
            &self.seed,
            workload.run_id,
            round,
            &self.device_id,
            Purposes::DropOut,
        );
        unit(&mut rng) < self.behaviour.drop_out
    }
}

/// Uniform in [0, 1), 53 bits.
fn unit(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

impl TrainingHooks for SimConduct {
    fn decide(&self, workload: &Workload<'_>) -> Decision {
        if self.drops_out(workload) {
            return Decision::Abandon("network");
        }
        let seconds = self.behaviour.seconds_per_step * workload.steps as f64;
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        match self.behaviour.pace {
            Pace::Virtual { deadline } if duration > deadline => Decision::Abandon("slow"),
            Pace::Real => Decision::TrainAfter(duration.min(workload.lease)),
            Pace::Virtual { .. } | Pace::Immediate => Decision::Train,
        }
    }

    fn alter_examples(&self, examples: Examples, classes: usize) -> Examples {
        if self.behaviour.fault != Some(Fault::LabelFlip) {
            return examples;
        }
        let last = (classes as u32).saturating_sub(1);
        let flipped = examples
            .labels
            .iter()
            .map(|label| last.saturating_sub(*label));
        Examples {
            labels: flipped.collect(),
            ..examples
        }
    }

    fn alter_delta(&self, payload: &mut [f32]) {
        let factor = match self.behaviour.fault {
            Some(Fault::SignFlip) => -1.0,
            Some(Fault::Scale { factor }) => factor,
            Some(Fault::Ipm { tau }) => -tau,
            _ => return,
        };
        payload.iter_mut().for_each(|value| *value *= factor);
    }

    fn alter_clipped(&self, payload: &mut [f32]) -> bool {
        match self.behaviour.fault {
            Some(Fault::Nan) => payload
                .iter_mut()
                .take(1)
                .for_each(|value| *value = f32::NAN),
            Some(Fault::Huge) => payload.iter_mut().for_each(|value| *value *= 1000.0),
            _ => return false,
        }
        true
    }

    fn alter_update(&self, update: &mut EncodedUpdate) {
        match self.behaviour.fault {
            Some(Fault::Short) => {
                update.bytes.truncate(update.bytes.len().saturating_sub(4));
                update.digest = Digest::of(&update.bytes);
            }
            Some(Fault::WrongDigest) => update.digest = Digest::of(b"another update"),
            Some(Fault::ForeignRun) => update.run_id = format!("not-{}", update.run_id),
            _ => {}
        }
    }

    fn copies(&self) -> u32 {
        if self.behaviour.fault == Some(Fault::Duplicate) {
            2
        } else {
            1
        }
    }

    fn hold(&self, lease: Duration) -> Duration {
        if self.behaviour.fault == Some(Fault::Late) {
            lease + Duration::from_millis(200)
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conduct(behaviour: Behaviour) -> SimConduct {
        SimConduct {
            behaviour,
            seed: [1; 32],
            device_id: "d".to_owned(),
        }
    }

    fn workload(round: u32, steps: u64) -> Workload<'static> {
        Workload {
            run_id: "r",
            round,
            examples: 8,
            steps,
            lease: Duration::from_secs(60),
        }
    }

    fn attacker(fault: Fault) -> Behaviour {
        Behaviour {
            fault: Some(fault),
            ..Behaviour::default()
        }
    }

    #[test]
    fn attackers_change_the_payload_or_the_labels_and_nothing_else() {
        let examples = || Examples {
            inputs: vec![0.5; 6].into(),
            labels: vec![0, 1, 2].into(),
        };
        let attack = |fault| {
            let device = conduct(attacker(fault));
            let mut payload = [1.0, -2.0];
            device.alter_delta(&mut payload);
            let clipped = device.alter_clipped(&mut payload);
            let labels = device.alter_examples(examples(), 3).labels.to_vec();
            (payload, clipped, labels)
        };
        let honest = vec![0, 1, 2];
        let cases = [
            (Fault::SignFlip, [-1.0, 2.0], false, honest.clone()),
            (
                Fault::Scale { factor: 10.0 },
                [10.0, -20.0],
                false,
                honest.clone(),
            ),
            (Fault::Ipm { tau: 0.5 }, [-0.5, 1.0], false, honest.clone()),
            (Fault::LabelFlip, [1.0, -2.0], false, vec![2, 1, 0]),
            (Fault::Huge, [1000.0, -2000.0], true, honest.clone()),
            (Fault::Late, [1.0, -2.0], false, honest),
        ];
        for (fault, payload, clipped, labels) in cases {
            assert_eq!(attack(fault), (payload, clipped, labels), "{fault:?}");
        }
        assert!(attack(Fault::Nan).0[0].is_nan());
    }

    #[test]
    fn a_device_too_slow_for_the_virtual_deadline_gives_back_at_once() {
        let pace = Pace::Virtual {
            deadline: Duration::from_secs(10),
        };
        let device = conduct(Behaviour {
            seconds_per_step: 1.0,
            pace,
            ..Default::default()
        });
        assert_eq!(device.decide(&workload(1, 10)), Decision::Train);
        assert_eq!(device.decide(&workload(1, 11)), Decision::Abandon("slow"));
    }

    #[test]
    fn real_time_sleeps_but_not_beyond_the_lease() {
        let pace = Pace::Real;
        let device = conduct(Behaviour {
            seconds_per_step: 1.0,
            pace,
            ..Default::default()
        });
        let pause = |steps| device.decide(&workload(1, steps));
        assert_eq!(pause(3), Decision::TrainAfter(Duration::from_secs(3)));
        assert_eq!(pause(1000), Decision::TrainAfter(Duration::from_secs(60)));
    }

    #[test]
    fn drop_outs_depend_on_the_round_only_and_come_at_their_rate() {
        let device = conduct(Behaviour {
            drop_out: 0.3,
            ..Default::default()
        });
        let dropped = |round| device.decide(&workload(round, 1)) == Decision::Abandon("network");
        let count = (0..2000).filter(|round| dropped(*round)).count();
        // binomial(2000, 0.3): mean 600, sd 20.5; 5 sd: false alarm 6e-7
        assert!((498..=702).contains(&count), "{count}");
        assert!((0..50).all(|round| dropped(round) == dropped(round)));
    }

    #[test]
    fn impossible_behaviours_are_named() {
        for behaviour in [
            Behaviour {
                drop_out: 1.1,
                ..Default::default()
            },
            Behaviour {
                drop_out: f64::NAN,
                ..Default::default()
            },
            Behaviour {
                seconds_per_step: -1.0,
                ..Default::default()
            },
            Behaviour {
                seconds_per_step: f64::INFINITY,
                ..Default::default()
            },
            attacker(Fault::Scale {
                factor: f32::INFINITY,
            }),
            attacker(Fault::Ipm { tau: 0.0 }),
            attacker(Fault::Ipm { tau: f32::NAN }),
        ] {
            assert!(behaviour.problem().is_some());
        }
        assert_eq!(Behaviour::default().problem(), None);
    }
}
