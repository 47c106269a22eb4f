//! All runs of a recipe, on threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tributary_aggregator::RobustError;
use tributary_report::attacks::{
    AttackOutcome, CellOutcome, PipelineOutcome, SettingOutcome, Worst,
};

use super::cell::{CellResult, train};
use super::world::World;
use super::{Attack, AttackError, AttackRecipe, Split};
use crate::data::{Dataset, digits};
use crate::runner::Progress;

/// What a run gave; nothing when the rule can't bear that many bad devices.
type Ran = Option<CellResult>;

/// Trains every combination of a recipe on `threads` threads.
///
/// # Errors
/// [`AttackError::Setting`] for a recipe that makes no sense; others when data can't be split or an
/// honest update is refused.
pub fn run_attacks(
    recipe: &AttackRecipe,
    threads: NonZeroUsize,
    progress: &dyn Progress,
) -> Result<AttackOutcome, AttackError> {
    recipe.check()?;
    let data = digits::load()?;
    let mut settings = Vec::new();
    for split in &recipe.splits {
        let worlds = worlds(recipe, &data, split)?;
        for &byzantine in &recipe.byzantine {
            let devices = recipe.devices;
            let runs = recipe.pipelines.len() * recipe.attacks.len() * worlds.len();
            progress.stage(&format!(
                "{split}, {byzantine} of {devices} bad: {runs} runs"
            ));
            settings.push(run_setting(recipe, split, &worlds, byzantine, threads)?);
        }
    }
    Ok(AttackOutcome {
        title: recipe.title.clone(),
        description: recipe.description.clone(),
        method: method(recipe),
        settings,
    })
}

fn worlds(recipe: &AttackRecipe, data: &Dataset, split: &Split) -> Result<Vec<World>, AttackError> {
    let world = |&seed: &u64| World::new(data, split, recipe.devices as usize, seed);
    recipe.seeds.iter().map(world).collect()
}

fn method(recipe: &AttackRecipe) -> String {
    let seeds: Vec<String> = recipe.seeds.iter().map(u64::to_string).collect();
    format!(
        "Test accuracy of the last model, mean over {} seed(s) ({}), {} rounds. One process, no \
         network; gradients, codec {}, the exact check of updates and the rules are those of a run. \
         Bad devices know all honest vectors of the round.",
        seeds.len(),
        seeds.join(", "),
        recipe.rounds,
        recipe.codec
    )
}

fn run_setting(
    recipe: &AttackRecipe,
    split: &Split,
    worlds: &[World],
    byzantine: u32,
    threads: NonZeroUsize,
) -> Result<SettingOutcome, AttackError> {
    let (attacks, seeds) = (recipe.attacks.len(), worlds.len());
    let run = |index: usize| -> Result<Ran, AttackError> {
        let pipeline = recipe.pipelines[index / (attacks * seeds)].against(byzantine);
        let attack = recipe.attacks[index / seeds % attacks];
        let refused = pipeline.check(recipe.devices as usize);
        if let Err(RobustError::TooManyByzantine { .. }) = refused {
            return Ok(None);
        }
        train(recipe, &worlds[index % seeds], &pipeline, attack).map(Some)
    };
    let results = on_threads(threads, recipe.pipelines.len() * attacks * seeds, &run);
    let results: Vec<Ran> = results.into_iter().collect::<Result<_, _>>()?;
    let rows = recipe.pipelines.iter().zip(results.chunks(attacks * seeds));
    let row = |(pipeline, results): (&super::Pipeline, &[Ran])| {
        let refused = pipeline.against(byzantine).check(recipe.devices as usize);
        let cells: Vec<CellOutcome> = recipe
            .attacks
            .iter()
            .zip(results.chunks(seeds))
            .filter_map(cell)
            .collect();
        PipelineOutcome {
            name: pipeline.to_string(),
            refusal: refused
                .err()
                .map_or(String::new(), |error| error.to_string()),
            worst: worst(&cells),
            cells,
        }
    };
    Ok(SettingOutcome {
        split: split.to_string(),
        devices: recipe.devices,
        byzantine,
        attacks: recipe.attacks.iter().map(Attack::to_string).collect(),
        pipelines: rows.map(row).collect(),
    })
}

/// `run` for `0..count`, in that order whatever thread does what. Each run depends on its index
/// only.
fn on_threads<T: Send>(
    threads: NonZeroUsize,
    count: usize,
    run: &(dyn Fn(usize) -> T + Sync),
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, run(index)));
        }
    };
    let mut all: Vec<(usize, T)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}

/// Means over the seeds; nothing when the rule could not be applied.
fn cell((attack, results): (&Attack, &[Ran])) -> Option<CellOutcome> {
    let results: Vec<&CellResult> = results.iter().map(Option::as_ref).collect::<Option<_>>()?;
    let count = results.len() as f64;
    let mean = |value: fn(&CellResult) -> f64| {
        results.iter().map(|result| value(result)).sum::<f64>() / count
    };
    let plants = matches!(attack, Attack::Backdoor { .. });
    Some(CellOutcome {
        attack: attack.to_string(),
        accuracy: mean(|result| result.accuracy),
        by_seed: results.iter().map(|result| result.accuracy).collect(),
        backdoor: plants.then(|| mean(|result| result.triggered)),
        refused_updates: results.iter().map(|result| result.refused).sum(),
        model_digests: results.iter().map(|result| result.digest.clone()).collect(),
    })
}

fn worst(cells: &[CellOutcome]) -> Option<Worst> {
    let honest = Attack::None {}.to_string();
    let attacked = cells.iter().filter(|cell| cell.attack != honest);
    let lowest = attacked.min_by(|left, right| left.accuracy.total_cmp(&right.accuracy))?;
    Some(Worst {
        attack: lowest.attack.clone(),
        accuracy: lowest.accuracy,
    })
}
