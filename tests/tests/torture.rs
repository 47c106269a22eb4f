//! The store under kills, flipped bytes and power cuts, in short. The long series are run with
//! `store-torture`, with the same code; ADR 11 has their figures.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test by panicking"
)]

use std::path::Path;

use tributary_store::EngineKind;
use tributary_tests::torture::child::Children;
use tributary_tests::torture::{Fault, cuts, flips, kills};

const KILLS: u64 = 40;
const OPENING: u64 = 15;
const FLIPS: u64 = 30;
const CUTS: u64 = 60;

fn children(engine: EngineKind) -> Children {
    let children = Children {
        program: env!("CARGO_BIN_EXE_store-torture").into(),
        engine,
        seed: 20_261,
    };
    println!("seed {}", children.seed);
    children
}

fn assert_none(faults: &[Fault]) {
    assert!(faults.is_empty(), "{faults:#?}");
}

fn kill(engine: EngineKind, root: &Path) {
    let killed = kills::run(&children(engine), root, KILLS, OPENING).unwrap();
    assert_none(&killed.faults);
    assert_eq!(killed.kills, KILLS);
    // aimed at the opening, and a busy machine may be late; but some must have met it
    assert!(killed.while_opening >= OPENING / 3, "{killed:?}");
    assert!(killed.acknowledged > KILLS, "{killed:?}");
}

fn flip(engine: EngineKind, root: &Path) {
    let flipped = flips::run(&children(engine), root, FLIPS).unwrap();
    assert_none(&flipped.faults);
    let refused = flipped.refused_at_open + flipped.refused_at_read;
    assert_eq!(flipped.without_effect + refused, FLIPS);
    assert!(refused > 0, "no flip met a byte that matters: {flipped:?}");
}

fn cut(engine: EngineKind, root: &Path) {
    let cut = cuts::run(&children(engine), root, CUTS).unwrap();
    assert_none(&cut.faults);
    assert_eq!(cut.cuts, CUTS);
    assert!(cut.acknowledged > CUTS && cut.syncs > 0, "{cut:?}");
}

/// One test for each engine and attack.
macro_rules! torture {
    ($($name:ident: $attack:ident $engine:ident;)*) => {$(
        #[test]
        fn $name() {
            let root = tempfile::tempdir().unwrap();
            $attack(EngineKind::$engine, root.path());
        }
    )*};
}

torture! {
    sled_keeps_what_it_acknowledged_over_kills_at_random_moments: kill Sled;
    sled_refuses_a_flipped_byte_or_is_whole: flip Sled;
    sled_keeps_what_it_acknowledged_over_power_cuts: cut Sled;
    redb_keeps_what_it_acknowledged_over_kills_at_random_moments: kill Redb;
    redb_refuses_a_flipped_byte_or_is_whole: flip Redb;
    redb_keeps_what_it_acknowledged_over_power_cuts: cut Redb;
}
