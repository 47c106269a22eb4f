//! Under privacy nothing about a device's data decides whether it is seen to answer.

mod observed;

use std::collections::BTreeSet;
use std::time::Duration;

use tributary_model::ModelFile;

use crate::harness::agent::Found;
use crate::harness::recipe::PARAMETERS;
use crate::harness::{Recipe, fleet};

use observed::{Asked, observe};

/// Devices of region `eu`, whose data are as usual. Region `us` has one device, whose data are not.
const OTHERS: usize = 3;

/// One feature, alive in one unit only above the threshold .5, and then beyond all numbers: what a
/// coordinator sends that wants to read a pixel.
fn reader(mut file: ModelFile) -> ModelFile {
    const HUGE: f32 = 2e38;
    // weight [in, out], so the first row is the first feature's; bias; weight; bias
    let (first, rest) = file.weights.split_at_mut(4 * 6 + 6);
    first.fill(0.0);
    first[..6].fill(HUGE);
    first[4 * 6..].fill(-HUGE / 2.0);
    rest[..6 * 2].fill(HUGE);
    file
}

/// The words under which a device's own counters have a training and a vote that came to nothing.
type Nothing = (Option<&'static str>, Option<&'static str>);

/// What a device may find, and what comes to nothing then.
fn findings() -> Vec<(&'static str, Found, Nothing)> {
    let both = |because| (Some(because), Some(because));
    // a vote has a bin for what is not a number, and does not look at labels
    let training = |because| (Some(because), None);
    let usual = fleet::shard(7, false);
    let usual = Found::Examples(usual.inputs.to_vec(), usual.labels.to_vec());
    vec![
        ("usual", usual, (None, None)),
        (
            "nothing to change",
            Found::copies(8, [0.5; 4], 1),
            (None, None),
        ),
        (
            "not a number",
            Found::copies(8, [f32::NAN; 4], 0),
            training("model"),
        ),
        (
            // whether it does depends on the model, whose first weights and noise are drawn
            "diverging",
            Found::copies(8, [3e38, -3e38, 3e38, 3e38], 0),
            (None, None),
        ),
        (
            "no examples",
            Found::Examples(Vec::new(), Vec::new()),
            both("no_examples"),
        ),
        ("one example", Found::copies(1, [0.5; 4], 0), (None, None)),
        (
            "another width",
            Found::Examples(vec![1.0; 9], vec![0; 3]),
            both("model"),
        ),
        (
            "a class that is not there",
            Found::copies(8, [0.5; 4], 9),
            training("model"),
        ),
        ("unreadable", Found::Unreadable, both("no_data")),
        ("panics", Found::Panic, both("crashed")),
        (
            "hangs",
            Found::Hangs(Duration::from_millis(400)),
            both("late"),
        ),
    ]
}

/// All that a device may find looks the same from outside.
async fn nothing_shows(recipe: Recipe, windows: usize) {
    let asked = Asked {
        windows,
        ..Asked::default()
    };
    nothing_shows_among(("eu", OTHERS), recipe, asked).await;
}

/// The same with so many other devices of a region, and all that is asked of them after the training.
async fn nothing_shows_among(others: (&str, usize), recipe: Recipe, asked: Asked) {
    let mut first = None;
    let everybody = others.1 as u64 + 1;
    for (name, found, (trained, voted)) in findings() {
        let (observed, tally) = observe(&recipe, |file| file, found, others, asked).await;
        // in its own counters alone; a panic that prints its trace may also come too late
        let nothing = |kind: &str, because: &str| {
            let events = BTreeSet::from([because, "late"].map(|word| format!("{kind}.{word}")));
            events.iter().map(|event| tally.count(event)).sum::<u64>()
        };
        if let Some(because) = trained {
            assert!(nothing("constant_form", because) > 0, "{name}: {tally:?}");
        }
        if let Some(because) = voted {
            let blank = nothing("blank", because);
            let questions = asked.windows + asked.calibrations;
            assert_eq!(blank, questions as u64, "{name}: {tally:?}");
        }
        match &first {
            None => {
                assert!(
                    observed
                        .rounds
                        .iter()
                        .all(|round| round.counted == everybody)
                );
                assert!(observed.rounds.iter().all(|round| round.dropped == 0));
                assert!(
                    observed
                        .metrics
                        .iter()
                        .all(|line| !line.contains("rejects_total{"))
                );
                assert!(!observed.message_bytes.is_empty());
                assert!(observed.windows.iter().all(|window| window.3 > 0));
                assert_eq!(observed.builds.len(), asked.calibrations);
                first = Some(observed);
            }
            Some(first) => assert_eq!(&observed, first, "{name}"),
        }
    }
}

fn recipe() -> Recipe {
    Recipe::private()
        .rounds(2, 1 + OTHERS as i64)
        .set("privacy.clip", 0.5)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_dp_nothing_shows_what_a_device_found() {
    nothing_shows(recipe(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_an_adaptive_clip_nothing_shows_what_a_device_found() {
    let mut clip = toml::Table::new();
    clip.insert("count_noise".to_owned(), 2.0.into());
    nothing_shows(recipe().set("privacy.adaptive_clip", clip), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_blt_nothing_shows_what_a_device_found() {
    let blt = recipe()
        .set("privacy.mechanism", "blt")
        .set("rounds.max_participations", 2);
    nothing_shows(blt, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_local_noise_nothing_shows_what_a_device_found() {
    let local = recipe()
        .set("privacy.mode", "local")
        .set("privacy.noise_multiplier", 4.0)
        .set("training.codec", "int8");
    nothing_shows(local, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_with_sparse_updates_nothing_shows_what_a_device_found() {
    nothing_shows(recipe().set("training.codec", "topk:0.2"), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_in_drift_windows_nothing_shows_what_a_device_found() {
    const WINDOWS: usize = 3;
    let watched = recipe()
        .set("drift.interval_ms", 1)
        .set("drift.windows", WINDOWS as i64)
        .set("drift.warm_up", 2)
        .set("drift.noise_votes", 0.5)
        .set("drift.minimum_devices", 1)
        .set("drift.max_invisible_psi", 1e6)
        .set("drift.mean_windows_between_false_alarms", 100.0)
        .set("drift.quantities", crate::invariant_7::quantities());
    nothing_shows(watched, WINDOWS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_in_a_calibration_nothing_shows_what_a_device_found() {
    // half a vote of noise needs six devices in the region: the one whose data are not as usual is one of them
    const OTHERS: usize = 5;
    let built = Recipe::private()
        .rounds(1, 1 + OTHERS as i64)
        .set("regions", vec!["us"])
        .set("privacy.clip", 0.5)
        .set("builds.widths", vec![1.0])
        .set("builds.calibration_noise_votes", 0.5);
    let asked = Asked {
        calibrations: 1,
        ..Asked::default()
    };
    nothing_shows_among(("us", OTHERS), built, asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_a_crafted_model_reads_no_pixel() {
    // a unit is alive only where the pixel is above .5, and then training leaves the finite numbers;
    // otherwise there is nothing to change: both used to show, exactly
    for recipe in [
        recipe(),
        recipe()
            .set("privacy.mode", "local")
            .set("privacy.noise_multiplier", 4.0),
    ] {
        let mut seen = Vec::new();
        for pixel in [0.1, 0.49, 0.51, 0.9] {
            let found = Found::copies(8, [pixel, 0.0, 0.0, 0.0], 1);
            let nothing = Asked::default();
            let (observed, tally) = observe(&recipe, reader, found, ("eu", OTHERS), nothing).await;
            let failed = tally.count("constant_form.model") > 0;
            assert_eq!(failed, pixel > 0.5, "the model reads the pixel: {tally:?}");
            seen.push(observed);
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
        assert_eq!(seen[0].sent, 2 * 4 * PARAMETERS as u64);
    }
}
