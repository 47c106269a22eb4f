//! The attack laboratory: how well each robust rule holds against each attack.
//!
//! Twenty devices with digits train a small network; some of them lie. Every combination of rule and
//! attack is trained to its end and scored on samples that no device holds. Gradients, codec, the
//! exact check of every update and the rules are those of a real run; the network is left out: all
//! devices live in one process and one thread trains one combination.
//!
//! Promise: an outcome depends on its recipe only, to the bit, whatever the number of threads.
//!
//! - [`AttackRecipe`]: what is tried, in TOML.
//! - [`run_attacks`]: trains all combinations; [`AttackOutcome`](tributary_report::attacks::AttackOutcome) is
//!   what came of them.
//! - [`write_attacks`]: the outcome as HTML, JSON and CSV.
//!
//! | module | holds |
//! |---|---|
//! | `recipe`, `check` | the recipe and its checks |
//! | `world` | who holds which samples, poisoned or not |
//! | `worker` | a device that trains with momentum |
//! | `adversary` | what lying devices send |
//! | `door` | encoding, the exact check, decoding |
//! | `cell` | one training run |
//! | `laboratory` | all runs of a recipe, on threads |
//! | `write_up` | the files of an outcome |

mod adversary;
mod cell;
mod check;
mod door;
mod error;
mod laboratory;
mod recipe;
mod worker;
mod world;
mod write_up;

#[cfg(test)]
mod tests;

pub use error::AttackError;
pub use laboratory::run_attacks;
pub use recipe::{Attack, AttackRecipe, Pipeline, RecipeKind, Split, Training};
pub use write_up::{WrittenAttacks, write_attacks};

/// The recipe of the laboratory that ships, known by the name `attack-laboratory`.
pub const ATTACK_LABORATORY: &str = include_str!("../../recipes/attack-laboratory.toml");
