//! Any sequence of charges, moves, caps, reservations and restarts against a model of a few lines.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::accounts::{Summary, summaries};
use super::tests::cap_of;
use super::*;
use crate::fixtures::{device, region};
use tributary_store::MemoryStore;

/// The last two draw on parts of the reservation of `run-1`, or of `run-2`, while there is one.
const ACCOUNTS: [(&str, ChargeKind); 5] = [
    ("free-1", ChargeKind::Training),
    ("free-1-drift", ChargeKind::Drift),
    ("free-1-drift", ChargeKind::Calibration),
    ("run-1", ChargeKind::Training),
    ("run-2", ChargeKind::Training),
];
const RUNS: [&str; 2] = ["run-1", "run-2"];
const REGIONS: [&str; 3] = ["asia", "eu", "us"];
const DEVICES: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// Account, number and, by device, the region it pays in and how much.
    Charge(usize, u64, BTreeMap<usize, (usize, u64)>),
    /// Device and region.
    Move(usize, usize),
    /// An operator's cap, of a region or of all, and whether it may raise.
    Cap(Option<usize>, u64, bool),
    /// A recipe's cap on some regions.
    Recipe(BTreeSet<usize>, u64),
    /// A run reserves on some regions; without a number there is no end.
    Reserve(usize, BTreeSet<usize>, Option<u64>),
    /// A run is over.
    Release(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let pays = (0..REGIONS.len(), 0u64..60);
    let devices = prop::collection::btree_map(0..DEVICES, pays, 0..DEVICES);
    let regions = || prop::collection::btree_set(0..REGIONS.len(), 1..REGIONS.len());
    let cap = (
        prop::option::of(0..REGIONS.len()),
        40u64..300,
        any::<bool>(),
    );
    prop_oneof![
        8 => (0..ACCOUNTS.len(), 0u64..8, devices)
            .prop_map(|(account, number, devices)| Step::Charge(account, number, devices)),
        2 => (0..DEVICES, 0..REGIONS.len()).prop_map(|(device, to)| Step::Move(device, to)),
        2 => cap.prop_map(|(scope, pico, raise)| Step::Cap(scope, pico, raise)),
        1 => (regions(), 40u64..300).prop_map(|(regions, pico)| Step::Recipe(regions, pico)),
        2 => (0..RUNS.len(), regions(), prop::option::weighted(0.9, 1u64..150))
            .prop_map(|(run, regions, most)| Step::Reserve(run, regions, most)),
        1 => (0..RUNS.len()).prop_map(Step::Release),
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
    /// By region; all devices under none.
    caps: BTreeMap<Option<usize>, u64>,
    /// What bound a device in a region when it left it.
    left: BTreeMap<(usize, usize), u64>,
    held: BTreeMap<usize, (BTreeSet<usize>, Option<u64>)>,
}

impl Model {
    fn total(&self, device: usize) -> u64 {
        let mine = self
            .spends
            .iter()
            .filter(|((_, known), _)| *known == device);
        mine.map(|(_, spent)| spent).sum()
    }

    /// The least cap of a device that is in `at`.
    fn cap(&self, device: Option<usize>, at: usize) -> Option<u64> {
        let here = [self.caps.get(&None), self.caps.get(&Some(at))];
        let here = here.into_iter().flatten().copied();
        let past = self
            .left
            .iter()
            .filter(|((known, _), _)| Some(*known) == device);
        let past = past.map(|((_, region), then)| {
            let now = self.caps.get(&Some(*region));
            now.map_or(*then, |now| *now.max(then))
        });
        here.chain(past).min()
    }

    fn spent_by(&self, device: Option<usize>, run: usize) -> u64 {
        let account = 3 + run;
        device.map_or(0, |device| {
            self.spends.get(&(account, device)).copied().unwrap_or(0)
        })
    }

    /// What is reserved on a device in a region and not spent yet; what has no end counts as nothing.
    fn reserved(&self, device: Option<usize>, at: usize) -> u64 {
        let here = self.held.iter().filter(|(_, (on, _))| on.contains(&at));
        let left = here.filter_map(|(run, (_, most))| {
            Some(most.as_ref()?.saturating_sub(self.spent_by(device, *run)))
        });
        left.sum()
    }

    fn can_pay(&self, account: usize, device: usize, pays_in: usize, pico: u64) -> bool {
        if pico == 0 {
            return true;
        }
        let at = self.regions.get(&device).copied();
        let known = at.map(|_| device);
        let at = at.unwrap_or(pays_in);
        let held = account
            .checked_sub(3)
            .and_then(|run| self.held.get(&run).map(|held| (run, held)));
        let mut others = 0;
        match held {
            Some((run, (_, Some(most)))) if self.spent_by(known, run) + pico > *most => {
                return false;
            }
            Some((_, (_, Some(_)))) => {}
            Some((_, (_, None))) => others = self.reserved(known, at),
            // what nobody reserved anything for takes only what nobody else has reserved
            None => others = self.reserved(known, at),
        }
        let cap = self.cap(known, at);
        cap.is_none_or(|cap| self.total(device) + pico + others <= cap)
    }

    /// True when the charge is taken.
    fn charge(
        &mut self,
        account: usize,
        number: u64,
        devices: &BTreeMap<usize, (usize, u64)>,
    ) -> bool {
        let pays = |(device, (at, pico)): (&usize, &(usize, u64))| {
            self.can_pay(account, *device, *at, *pico)
        };
        if self.entries.contains(&(account, number)) || !devices.iter().all(pays) {
            return false;
        }
        self.entries.insert((account, number));
        for (device, (at, pico)) in devices {
            *self.spends.entry((account, *device)).or_default() += pico;
            self.regions.entry(*device).or_insert(*at);
        }
        true
    }

    fn moves(&mut self, device: usize, from: usize, to: usize) {
        let from = self.regions.get(&device).copied().unwrap_or(from);
        if let Some(cap) = self.caps.get(&Some(from)) {
            let bound = self.left.entry((device, from)).or_insert(*cap);
            *bound = (*bound).min(*cap);
        }
        self.regions.insert(device, to);
    }

    /// True when an operator's cap is taken.
    fn set_cap(&mut self, scope: Option<usize>, pico: u64, raise: bool) -> bool {
        let all = self.caps.get(&None).copied();
        let own = self.caps.get(&scope).copied();
        let holds = if scope.is_some() {
            all.into_iter().chain(own).min()
        } else {
            own
        };
        let above = holds.is_some_and(|holds| pico > holds);
        let below = holds.is_some_and(|holds| pico < holds);
        let beyond_all = scope.is_some() && all.is_some_and(|all| pico > all);
        if above && !raise || below && raise || beyond_all {
            return false;
        }
        self.caps.insert(scope, pico);
        if scope.is_none() && raise {
            let regions = self.caps.iter_mut().filter(|(scope, _)| scope.is_some());
            regions.for_each(|(_, cap)| *cap = (*cap).max(pico));
        }
        true
    }

    /// What is left on the device of the regions that has least; none without a cap.
    fn headroom(&self, regions: &BTreeSet<usize>) -> Option<u64> {
        let left = |device: Option<usize>, at: usize| {
            let spent = device.map_or(0, |device| self.total(device));
            let cap = self.cap(device, at)?;
            Some(
                cap.saturating_sub(spent)
                    .saturating_sub(self.reserved(device, at)),
            )
        };
        let fresh = regions.iter().filter_map(|at| left(None, *at));
        let known = self.regions.iter().filter(|(_, at)| regions.contains(at));
        fresh
            .chain(known.filter_map(|(device, at)| left(Some(*device), *at)))
            .min()
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

fn region_set(regions: &BTreeSet<usize>) -> Vec<RegionId> {
    regions.iter().map(|at| region(REGIONS[*at])).collect()
}

fn compare(ledger: &Ledger, model: &Model) -> Result<(), TestCaseError> {
    for number in 0..DEVICES {
        let (id, total) = (device(number), model.total(number));
        prop_assert_eq!(ledger.lock().total(&id), total);
        let at = model.regions.get(&number).copied().unwrap_or(0);
        let known = model.regions.get(&number).map(|_| number);
        prop_assert_eq!(
            ledger.cap_of(&id, &region(REGIONS[at])),
            model.cap(known, at)
        );
        for (account, (run, kind)) in ACCOUNTS.into_iter().enumerate() {
            for pico in [1, 30, 100] {
                let can = ledger.can_pay(&id, &region(REGIONS[at]), (run, kind), pico);
                prop_assert_eq!(can, model.can_pay(account, number, at, pico));
            }
        }
    }
    for (number, name) in REGIONS.iter().enumerate() {
        let worst = ledger.worst_of(&[region(name)]);
        prop_assert_eq!(worst, model.worst_of(number), "{}", name);
    }
    Ok(())
}

/// No part of a reservation is ever charged beyond what was reserved.
fn keeps_reservations(model: &Model) -> Result<(), TestCaseError> {
    for (run, (_, most)) in &model.held {
        for number in 0..DEVICES {
            let spent = model.spent_by(Some(number), *run);
            prop_assert!(most.is_none_or(|most| spent <= most));
        }
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
        let devices: u64 = entry.regions.iter().map(|at| at.devices).sum();
        prop_assert_eq!(devices, entry.devices);
        let worst = entry.regions.iter().map(|at| at.worst_pico_rho).max();
        prop_assert!(worst.unwrap_or(0) <= entry.worst_pico_rho);
        entries += 1;
    }
    prop_assert_eq!(entries, model.entries.len());
    Ok(())
}

/// A reservation as `start_run` makes it: only if it fits.
async fn reserve(
    ledger: &Ledger,
    run: usize,
    regions: &BTreeSet<usize>,
    most: Option<u64>,
) -> bool {
    let hold = ledger.hold().await;
    let on = region_set(regions);
    let headroom = hold.headroom(&on, &[]);
    let fits = headroom
        .left
        .is_none_or(|left| headroom.endless.is_none() && most.is_some_and(|most| most <= left));
    if fits {
        let part = Part::new("training", most, RUNS[run], ChargeKind::Training);
        let reservation = Reservation {
            id: RUNS[run].to_owned(),
            regions: on,
            parts: vec![part],
        };
        let changes = vec![Change::Reserve(reservation)];
        hold.commit(changes, Batch::new()).await.unwrap();
    }
    fits
}

/// Does the step on both sides.
async fn take(
    step: &Step,
    ledger: &mut Ledger,
    model: &mut Model,
    open: impl Fn() -> Ledger,
) -> Result<(), TestCaseError> {
    match step {
        Step::Charge(account, number, devices) => {
            let (id, kind) = ACCOUNTS[*account];
            let pays = |(number, (at, pico)): (&usize, &(usize, u64))| DeviceCharge {
                device: device(*number),
                region: region(REGIONS[*at]),
                pico_rho: *pico,
            };
            let pay: Vec<DeviceCharge> = devices.iter().map(pays).collect();
            let charge = Charge::new(id, kind, *number);
            let taken = ledger.charge(charge, &pay, Batch::new()).await;
            let expected = model.charge(*account, *number, devices);
            prop_assert_eq!(taken.is_ok(), expected, "{:?}", taken);
        }
        Step::Move(number, to) => {
            let from = model.regions.get(number).copied().unwrap_or(0);
            let way = (&region(REGIONS[from]), &region(REGIONS[*to]));
            ledger
                .relocate(&device(*number), way, Batch::new(), || ())
                .await
                .unwrap();
            model.moves(*number, from, *to);
        }
        Step::Cap(scope, pico, raise) => {
            let hold = ledger.hold().await;
            let region = scope.map(|at| region(REGIONS[at]));
            let changes = hold.set_cap(region, &cap_of(*pico), raise.then_some("because"));
            let expected = model.set_cap(*scope, *pico, *raise);
            prop_assert_eq!(changes.is_ok(), expected, "{:?}", changes);
            if let Ok(changes) = changes {
                hold.commit(changes, Batch::new()).await.unwrap();
            }
        }
        Step::Recipe(regions, pico) => {
            let hold = ledger.hold().await;
            let changes = hold.lower(&region_set(regions), &cap_of(*pico));
            hold.commit(changes, Batch::new()).await.unwrap();
            for at in regions {
                let cap = model.caps.entry(Some(*at)).or_insert(*pico);
                *cap = (*cap).min(*pico);
            }
        }
        Step::Reserve(run, regions, most) => {
            if model.held.contains_key(run) {
                return Ok(());
            }
            // an account that was charged before has used some of it already
            let taken = reserve(ledger, *run, regions, *most).await;
            let mut held = model.held.values();
            let endless = held.any(|(on, most)| most.is_none() && !on.is_disjoint(regions));
            let left = model.headroom(regions);
            let expected =
                left.is_none_or(|left| !endless && most.is_some_and(|most| most <= left));
            prop_assert_eq!(taken, expected);
            if taken {
                model.held.insert(*run, (regions.clone(), *most));
            }
        }
        Step::Release(run) => {
            ledger.release(RUNS[*run], None).await.unwrap();
            model.held.remove(run);
        }
        Step::Restart => *ledger = open(),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_is_capped_reserved_charged_moved_and_restarted_the_sums_are_right_and_nothing_passes(
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = MemoryStore::new();
        let open = || Ledger::open(Arc::new(store.clone())).unwrap();
        let (mut ledger, mut model) = (open(), Model::default());
        for step in steps {
            // an account that was charged without one would begin beyond its reservation
            let used = matches!(&step, Step::Reserve(run, ..)
                if (0..DEVICES).any(|number| model.spent_by(Some(number), *run) > 0));
            if used {
                continue;
            }
            runtime.block_on(take(&step, &mut ledger, &mut model, open))?;
            compare(&ledger, &model)?;
            keeps_reservations(&model)?;
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
