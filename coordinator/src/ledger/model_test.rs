//! Any sequence of charges, moves and restarts against a model of a few lines.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::accounts::{Summary, summaries};
use super::*;
use crate::fixtures::{device, region};
use crate::store::MemoryStore;

const ACCOUNTS: [(&str, ChargeKind); 3] = [
    ("run-1", ChargeKind::Training),
    ("run-1-drift", ChargeKind::Drift),
    ("run-1-drift", ChargeKind::Calibration),
];
const REGIONS: [&str; 3] = ["asia", "eu", "us"];
const DEVICES: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// Account, number, cap and, by device, the region it pays in and how much.
    Charge(usize, u64, u64, BTreeMap<usize, (usize, u64)>),
    /// Device and region.
    Move(usize, usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let cap = prop_oneof![Just(0u64), 40u64..200];
    let pays = (0..REGIONS.len(), 0u64..60);
    let devices = prop::collection::btree_map(0..DEVICES, pays, 0..DEVICES);
    prop_oneof![
        6 => (0..ACCOUNTS.len(), 0u64..8, cap, devices)
            .prop_map(|(account, number, cap, devices)| Step::Charge(account, number, cap, devices)),
        2 => (0..DEVICES, 0..REGIONS.len()).prop_map(|(device, to)| Step::Move(device, to)),
        1 => Just(Step::Restart),
    ]
}

/// What one account must show: charges, worst spend, and by region the devices, the worst spend of
/// one of them here, and the worst over everything.
type Shown = (u64, u64, BTreeMap<String, (u64, u64, u64)>);

#[derive(Default)]
struct Model {
    entries: BTreeSet<(usize, u64)>,
    spends: BTreeMap<(usize, usize), u64>,
    regions: BTreeMap<usize, usize>,
}

impl Model {
    fn total(&self, device: usize) -> u64 {
        let mine = self
            .spends
            .iter()
            .filter(|((_, known), _)| *known == device);
        mine.map(|(_, spent)| spent).sum()
    }

    /// True when the charge is taken.
    fn charge(
        &mut self,
        account: usize,
        number: u64,
        cap: u64,
        devices: &BTreeMap<usize, (usize, u64)>,
    ) -> bool {
        let pays = |(device, (_, pico)): (&usize, &(usize, u64))| self.total(*device) + pico <= cap;
        if self.entries.contains(&(account, number)) || cap > 0 && !devices.iter().all(pays) {
            return false;
        }
        self.entries.insert((account, number));
        for (device, (at, pico)) in devices {
            *self.spends.entry((account, *device)).or_default() += pico;
            self.regions.entry(*device).or_insert(*at);
        }
        true
    }

    fn worst_of(&self, region: usize) -> u64 {
        let here = self.regions.iter().filter(|(_, at)| **at == region);
        here.map(|(device, _)| self.total(*device))
            .max()
            .unwrap_or(0)
    }

    fn shown(&self, account: usize) -> Shown {
        let charges = self.entries.iter().filter(|(known, _)| *known == account);
        let mut worst = 0;
        let mut rows = BTreeMap::<String, (u64, u64, u64)>::new();
        for ((_, device), spent) in self
            .spends
            .iter()
            .filter(|((known, _), _)| *known == account)
        {
            let row = rows
                .entry(REGIONS[self.regions[device]].to_owned())
                .or_default();
            *row = (row.0 + 1, row.1.max(*spent), row.2.max(self.total(*device)));
            worst = worst.max(*spent);
        }
        (charges.count() as u64, worst, rows)
    }
}

fn shown(ledger: &Ledger) -> BTreeMap<AccountKey, Shown> {
    let one = |account: Summary| {
        let rows = account.rows.into_iter();
        let rows = rows.map(|(at, row)| (at.to_string(), (row.devices, row.worst, row.total)));
        let shown = (account.charges, account.worst, rows.collect());
        (account.key, shown)
    };
    let books = ledger.lock();
    summaries(&books, None).into_iter().map(one).collect()
}

fn compare(ledger: &Ledger, model: &Model) -> Result<(), TestCaseError> {
    for number in 0..DEVICES {
        let (id, total) = (device(number), model.total(number));
        prop_assert!(
            ledger.can_pay(&id, 0, Some(total)),
            "{} spent more than {}",
            id,
            total
        );
        prop_assert!(total == 0 || !ledger.can_pay(&id, 0, Some(total - 1)));
    }
    for (number, name) in REGIONS.iter().enumerate() {
        prop_assert_eq!(
            ledger.worst_of(&[region(name)]),
            model.worst_of(number),
            "{}",
            name
        );
    }
    Ok(())
}

/// The entries are what was charged, once each, and say so themselves.
fn check_entries(store: &dyn Store, model: &Model) -> Result<(), TestCaseError> {
    let mut entries = 0;
    for row in store.records(Table::Ledger, b"") {
        let entry: Charge = row
            .unwrap()
            .1
            .json::<charge::StoredCharge>()
            .unwrap()
            .into();
        let by_region: u64 = entry.regions.iter().map(|at| at.devices).sum();
        prop_assert_eq!(by_region, entry.devices);
        let worst = entry.regions.iter().map(|at| at.worst_pico_rho).max();
        prop_assert!(worst.unwrap_or(0) <= entry.worst_pico_rho);
        prop_assert!(entry.pico_rho <= entry.worst_pico_rho);
        entries += 1;
    }
    prop_assert_eq!(entries, model.entries.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn whatever_is_charged_moved_and_restarted_the_sums_are_right_and_no_cap_is_passed(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = MemoryStore::new();
        let open = || Ledger::open(Arc::new(store.clone())).unwrap();
        let (mut ledger, mut model) = (open(), Model::default());
        for step in steps {
            match step {
                Step::Charge(account, number, cap, devices) => {
                    let (id, kind) = ACCOUNTS[account];
                    let charge = Charge { cap_pico_rho: cap, ..Charge::new(id, kind, number) };
                    let pays = |(number, (at, pico)): (&usize, &(usize, u64))| DeviceCharge {
                        device: device(*number),
                        region: region(REGIONS[*at]),
                        pico_rho: *pico,
                    };
                    let pay: Vec<DeviceCharge> = devices.iter().map(pays).collect();
                    let taken = runtime.block_on(ledger.charge(charge, &pay, Batch::new()));
                    let expected = model.charge(account, number, cap, &devices);
                    prop_assert_eq!(taken.is_ok(), expected, "{:?}", taken);
                    let within = |number: &usize| cap == 0 || model.total(*number) <= cap;
                    prop_assert!(!expected || devices.keys().all(within));
                }
                Step::Move(number, to) => {
                    let (id, to_region) = (device(number), region(REGIONS[to]));
                    let moved = ledger.relocate(&id, &to_region, Batch::new());
                    runtime.block_on(moved).unwrap();
                    model.regions.insert(number, to);
                }
                Step::Restart => ledger = open(),
            }
            compare(&ledger, &model)?;
        }
        check_entries(&store, &model)?;
        for ledger in [ledger, open()] {
            compare(&ledger, &model)?;
            let mut expected = BTreeMap::new();
            for (number, (id, kind)) in ACCOUNTS.into_iter().enumerate() {
                let shown = model.shown(number);
                if shown.0 > 0 {
                    expected.insert((id.to_owned(), kind), shown);
                }
            }
            prop_assert_eq!(shown(&ledger), expected);
        }
    }
}
