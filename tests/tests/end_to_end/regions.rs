//! Regions are counted apart.

use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe, fleet};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_over_two_regions_counts_each_and_asks_no_third() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let regions = [("eu", 6), ("us", 12), ("ap", 4)];
    let devices = regions
        .iter()
        .flat_map(|(region, count)| fleet::devices(region, *count));
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices.collect());
    fleet.wait_connected(22).await;
    // 6 of 18: the regions' shares are 2 and 4
    let recipe = Recipe::new()
        .rounds(4, 6)
        .set("rounds.population", 18)
        .set("training.epochs", 5);
    let run = operator.start(&recipe).await;
    let shown = operator.completed(&run).await;
    let counts = |regions: &[tributary_proto::v1::RegionCount]| -> Vec<(String, u64)> {
        regions
            .iter()
            .map(|count| (count.region.clone(), count.contributions))
            .collect()
    };
    let pair = |eu, us| vec![("eu".to_owned(), eu), ("us".to_owned(), us)];
    assert_eq!(counts(&of(&shown).regions), pair(8, 16));
    for round in &shown.rounds {
        assert_eq!(counts(&round.regions), pair(2, 4));
        assert_eq!((round.assigned, round.counted), (6, 6));
    }
    let groups = operator.fleet().await.groups;
    let seen: Vec<(&str, u64, u64)> = groups
        .iter()
        .map(|group| (group.region.as_str(), group.enrolled, group.connected))
        .collect();
    assert_eq!(seen, [("ap", 4, 4), ("eu", 6, 6), ("us", 12, 12)]);
    // without noise four rounds are enough to learn what one feature says
    let accuracy = fleet::held_out_accuracy(&operator.file(&of(&shown).model_digest).await, false);
    assert!(accuracy > 0.95, "accuracy {accuracy}");
    // the bytes that are shown are those that travelled
    let up: u64 = shown.rounds.iter().map(|round| round.bytes_up).sum();
    assert_eq!(up, 24 * 4 * crate::harness::recipe::PARAMETERS as u64);
    assert_eq!(up, fleet.stats().tally.bytes_up);
}
