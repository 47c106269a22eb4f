//! From a recipe's data and split to devices and held-out samples.

use tributary_device::Hardware;
use tributary_device_sim::{Behaviour, SimDevice};
use tributary_proto::RegionId;
use tributary_recipe::RunSpec;

use super::{
    DataSource, ExperimentRecipe, HeldOut, LocalTests, Partition, RunnerError, Variant,
    derived_seed, device_id, shard, watch_as_held,
};
use crate::data::{Dataset, digits, idx};
use crate::partition::{dirichlet, iid, sample_by_user};

/// Name of the held-out samples when regions don't differ.
const EVERYWHERE: &str = "all";

/// Loads a recipe's data set.
///
/// # Errors
/// [`RunnerError::Data`].
pub fn load(source: &DataSource) -> Result<Dataset, RunnerError> {
    match source {
        DataSource::Watch {} => watch_as_held(),
        DataSource::Digits {} => Ok(digits::load()?),
        DataSource::Idx { folder } => Ok(idx::load(folder, "idx")?),
    }
}

/// What each device holds.
struct Holding {
    region: usize,
    samples: Vec<usize>,
}

/// The devices of a variant, and what their models are judged on.
pub struct Population {
    /// The devices.
    pub devices: Vec<SimDevice>,
    /// Samples that no device trains on.
    pub held_out: HeldOut,
    /// How each device's own model is judged.
    pub local: LocalTests,
    /// Index of each device's region.
    pub regions: Vec<usize>,
}

/// The devices of `variant` for a run.
///
/// # Errors
/// [`RunnerError::Partition`] when the data can't be split as asked.
pub fn populate(
    recipe: &ExperimentRecipe,
    data: &Dataset,
    variant: &Variant,
    run: &RunSpec,
) -> Result<Population, RunnerError> {
    let partition = recipe.partition_of(variant)?;
    let (regions, count) = (&run.regions, recipe.fleet.devices as usize);
    let seed = derived_seed(run.seed.unwrap_or(0), "partition");
    let holdings = hold(data, partition, count, regions.len(), seed)?;
    let held_out = match partition {
        Partition::ByUser { .. } => by_region(data, regions)?,
        _ => HeldOut::new(vec![(EVERYWHERE.to_owned(), data.test.clone())])?,
    };
    let local = local_tests(data, partition, &holdings);
    let of_regions = holdings.iter().map(|holding| holding.region).collect();
    let hardware = Hardware::int8("simulated", "cortex-m4", 64 * 1024, 256 * 1024);
    let device = |(number, holding): (usize, Holding)| {
        let region = &regions[holding.region];
        let id = device_id(region, number + 1)?;
        let data = shard(data.train.select(&holding.samples));
        let mut device = SimDevice::new(id, region.clone(), hardware.clone(), &run.task, data);
        device.behaviour = Behaviour {
            drop_out: recipe.fleet.drop_out,
            fault: variant
                .attackers
                .and_then(|attackers| attackers.fault(number, count)),
            ..Behaviour::default()
        };
        Ok(device)
    };
    let devices: Result<Vec<_>, RunnerError> =
        holdings.into_iter().enumerate().map(device).collect();
    Ok(Population {
        devices: devices?,
        held_out,
        local,
        regions: of_regions,
    })
}

/// How the own model of each device is judged: by its user, or by its mix of labels.
fn local_tests(data: &Dataset, partition: &Partition, holdings: &[Holding]) -> LocalTests {
    match partition {
        Partition::ByUser { .. } => {
            let user = |holding: &Holding| {
                let first = holding.samples.first();
                first.map_or(u32::MAX, |sample| data.train.users[*sample])
            };
            LocalTests::by_user(data, &holdings.iter().map(user).collect::<Vec<_>>())
        }
        _ => {
            let labels = |holding: &Holding| -> Vec<u32> {
                let samples = holding.samples.iter();
                samples.map(|sample| data.train.labels[*sample]).collect()
            };
            let held: Vec<Vec<u32>> = holdings.iter().map(labels).collect();
            LocalTests::by_class(data, held.iter().map(Vec::as_slice))
        }
    }
}

fn hold(
    data: &Dataset,
    partition: &Partition,
    devices: usize,
    regions: usize,
    seed: [u8; 32],
) -> Result<Vec<Holding>, RunnerError> {
    let in_turn = |shards: Vec<Vec<usize>>| {
        let holding = |(number, samples)| Holding {
            region: number % regions,
            samples,
        };
        shards.into_iter().enumerate().map(holding).collect()
    };
    match *partition {
        Partition::Iid {} => Ok(in_turn(iid(data.train.len(), devices, seed)?)),
        Partition::Dirichlet { alpha, minimum } => Ok(in_turn(dirichlet(
            &data.train.labels,
            devices,
            alpha,
            minimum,
            seed,
        )?)),
        Partition::ByUser { per_device } => {
            let users = data.users.len().max(1);
            let owners: Vec<u32> = (0..devices).map(|number| (number % users) as u32).collect();
            let shards = sample_by_user(&data.train.users, &owners, per_device, seed)?;
            let holding = |shard: crate::partition::UserShard| Holding {
                region: region_of(shard.user, users, regions),
                samples: shard.samples,
            };
            Ok(shards.into_iter().map(holding).collect())
        }
    }
}

/// Region of a user: blocks of users, as even as they can be.
fn region_of(user: u32, users: usize, regions: usize) -> usize {
    user as usize * regions / users
}

fn by_region(data: &Dataset, regions: &[RegionId]) -> Result<HeldOut, RunnerError> {
    let users = data.users.len().max(1);
    let samples = |index: usize| {
        let here = |user| region_of(user, users, regions.len()) == index;
        data.test.select(&data.test.positions_of(here))
    };
    let named = regions
        .iter()
        .enumerate()
        .map(|(index, name)| (name.to_string(), samples(index)));
    HeldOut::new(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_fall_into_regions_in_even_blocks() {
        let regions: Vec<usize> = (0..20).map(|user| region_of(user, 20, 3)).collect();
        assert!(regions.is_sorted());
        let count = |region| regions.iter().filter(|&&other| other == region).count();
        assert_eq!([count(0), count(1), count(2)], [7, 7, 6]);
    }

    #[test]
    fn devices_by_user_train_in_the_region_that_judges_their_user() {
        let text = include_str!("../../recipes/watch-by-user.toml");
        let recipe = ExperimentRecipe::from_toml(text).unwrap();
        let data = load(&recipe.data).unwrap();
        let variant = &recipe.variants[0];
        let Population {
            devices, held_out, ..
        } = populate(&recipe, &data, variant, &recipe.run).unwrap();
        assert_eq!(devices.len(), recipe.fleet.devices as usize);
        assert_eq!(held_out.len(), data.test.len());
        let names: Vec<&str> = held_out.regions().collect();
        assert!(
            devices
                .iter()
                .all(|device| names.contains(&device.region.as_str()))
        );
    }
}
