//! The laboratory as a whole, small.

use std::num::NonZeroUsize;

use tributary_report::attacks::AttackOutcome;

use super::*;
use crate::runner::Silent;

/// A few rounds of a few combinations.
fn small(rounds: u32, attacks: Vec<Attack>, pipelines: &[&str]) -> AttackRecipe {
    let mut recipe = AttackRecipe::from_toml(ATTACK_LABORATORY).unwrap();
    recipe.seeds = vec![1];
    recipe.rounds = rounds;
    recipe.byzantine = vec![4];
    recipe.splits = vec![Split::Iid {}];
    recipe.attacks = attacks;
    recipe
        .pipelines
        .retain(|pipeline| pipelines.contains(&&*pipeline.to_string()));
    assert_eq!(recipe.pipelines.len(), pipelines.len());
    recipe
}

fn run(recipe: &AttackRecipe, threads: usize) -> AttackOutcome {
    run_attacks(recipe, NonZeroUsize::new(threads).unwrap(), &Silent).unwrap()
}

const DEFAULT: &str = "arc + nnm + geometric_median";

#[test]
fn the_outcome_is_the_same_to_the_bit_whatever_the_threads() {
    let attacks = vec![Attack::Alie { z: 1.5 }, Attack::LabelFlip {}];
    let recipe = small(4, attacks, &[DEFAULT, "bucketing of 2 + geometric_median"]);
    let one = run(&recipe, 1);
    assert_eq!(one, run(&recipe, 3));
    let mut other = recipe.clone();
    other.seeds = vec![2];
    let digest = |outcome: &AttackOutcome| {
        outcome.settings[0].pipelines[0].cells[0].model_digests[0].clone()
    };
    assert_ne!(digest(&one), digest(&run(&other, 1)));
}

#[test]
fn a_robust_rule_learns_where_the_mean_is_led_away() {
    let attacks = vec![Attack::None {}, Attack::Foe { tau: 10.0 }];
    let outcome = run(&small(60, attacks, &["mean", DEFAULT]), 2);
    let accuracy = |pipeline: usize, attack: usize| {
        outcome.settings[0].pipelines[pipeline].cells[attack].accuracy
    };
    assert!(accuracy(0, 0) > 0.6 && accuracy(1, 0) > 0.6, "{outcome:?}");
    assert!(accuracy(0, 1) < 0.3 && accuracy(1, 1) > 0.5, "{outcome:?}");
    let mean = &outcome.settings[0].pipelines[0];
    assert!(
        mean.refusal.contains("geometric_median"),
        "{}",
        mean.refusal
    );
    assert_eq!(mean.remark(), "the default mode; refused as a robust rule");
    assert_eq!(outcome.settings[0].pipelines[1].remark(), "");
    assert_eq!(mean.worst.as_ref().unwrap().attack, "foe 10");
}

#[test]
fn what_the_door_refuses_leaves_the_round_to_the_others() {
    let attacks = vec![Attack::NotFinite {}, Attack::HugeNorm {}];
    let outcome = run(&small(5, attacks, &["mean", "bulyan", DEFAULT]), 2);
    for pipeline in &outcome.settings[0].pipelines {
        let [not_finite, huge] = &pipeline.cells[..] else {
            panic!("{pipeline:?}");
        };
        assert_eq!((not_finite.refused_updates, huge.refused_updates), (20, 20));
        // the same honest updates are left
        assert_eq!(not_finite.model_digests, huge.model_digests);
    }
}

#[test]
fn a_rule_that_can_not_bear_the_number_has_a_row_that_says_so() {
    let mut recipe = small(2, vec![Attack::SignFlip {}], &["bulyan", DEFAULT]);
    recipe.byzantine = vec![6];
    let outcome = run(&recipe, 1);
    let [bulyan, default] = &outcome.settings[0].pipelines[..] else {
        panic!("{outcome:?}");
    };
    assert!(bulyan.refusal.contains("n >= 4f + 3") && bulyan.cells.is_empty());
    assert!(bulyan.worst.is_none());
    assert_eq!(bulyan.remark(), "refused at run creation");
    assert!(default.refusal.is_empty() && default.cells.len() == 1);
}

#[test]
fn every_attack_runs_and_the_files_hold_every_cell() {
    let mut recipe = small(2, Vec::new(), &["mean", "fltrust", "bulyan"]);
    recipe.attacks = AttackRecipe::from_toml(ATTACK_LABORATORY).unwrap().attacks;
    recipe.byzantine = vec![4, 6];
    let outcome = run(&recipe, 2);
    let folder = tempfile::tempdir().unwrap();
    let written = write_attacks(&outcome, folder.path()).unwrap();
    let csv = std::fs::read_to_string(&written.csv).unwrap();
    // Bulyan has no cells with six bad devices
    assert_eq!(csv.lines().count(), 1 + 5 * recipe.attacks.len());
    let json = std::fs::read_to_string(&written.json).unwrap();
    assert_eq!(
        serde_json::from_str::<AttackOutcome>(&json).unwrap(),
        outcome
    );
    let page = std::fs::read_to_string(&written.page).unwrap();
    assert!(page.contains("iid, 6 of 20 devices bad") && page.contains("hidden backdoor"));
}
