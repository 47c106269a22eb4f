//! With a seed, the bits are the same whatever the number of threads.

use std::sync::Arc;
use std::time::Duration;

use tributary_device_sim::{Behaviour, Pace, SimDevice};

use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe, fleet};

/// Everything about a seeded run that must repeat.
#[derive(Debug, PartialEq)]
struct Outcome {
    rounds: Vec<(String, u64, u64, u64)>,
    rho: f64,
    regions: Vec<u64>,
}

fn seeded_run(server_threads: usize, fleet_threads: usize, permits: usize, seed: i64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(fleet_threads)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let coordinator = Coordinator::open(folder, server_threads).await;
        let operator = coordinator.operator().await;
        let varied = |(number, device): (usize, SimDevice)| SimDevice {
            behaviour: Behaviour {
                seconds_per_step: 0.1 * (number % 8) as f64,
                pace: Pace::Virtual {
                    deadline: Duration::from_secs(2),
                },
                drop_out: 0.1,
                fault: None,
            },
            ..device
        };
        let devices = fleet::devices("eu", 14)
            .into_iter()
            .chain(fleet::devices("us", 10));
        let devices = devices.enumerate().map(varied).collect();
        let fleet = fleet::start(&coordinator.endpoint(), permits, devices);
        fleet.wait_connected(24).await;
        let recipe = Recipe::private()
            .set("rounds.count", 3)
            .set("rounds.cohort", 10)
            .set("rounds.minimum", 3)
            .set("rounds.over_selection", 1.4)
            .set("rounds.population", 24)
            .seeded(seed);
        let run = operator.start(&recipe).await;
        let shown = operator.completed(&run).await;
        let spend = of(&shown).privacy.clone().unwrap();
        assert!(
            spend.not_private,
            "a seeded run must say that it is not private: {spend:?}"
        );
        assert!(spend.mechanism.contains("NOT PRIVATE"), "{spend:?}");
        Outcome {
            rounds: shown
                .rounds
                .iter()
                .map(|r| (r.model_digest.clone(), r.assigned, r.counted, r.dropped))
                .collect(),
            rho: spend.rho,
            regions: of(&shown)
                .regions
                .iter()
                .map(|region| region.contributions)
                .collect(),
        }
    })
}

#[test]
fn invariant_9_a_seed_repeats_the_bits_whatever_the_thread_count() {
    let one = seeded_run(1, 1, 1, 11);
    let four = seeded_run(4, 4, 4, 11);
    assert_eq!(one, four);
    assert_eq!(one.rounds.len(), 3);
    let dropped: u64 = one.rounds.iter().map(|round| round.3).sum();
    assert!(
        dropped > 0,
        "nobody was slow or dropped out, so little was tested: {one:?}"
    );
    let other = seeded_run(4, 4, 4, 12);
    assert_ne!(one.rounds, other.rounds, "another seed gives other bits");
}
