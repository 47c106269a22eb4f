//! What may be said about a sum of charges: its mechanisms, its adjacency and its epsilon.

use tributary_privacy::{Adjacency, Mechanism, PrivacyStatement, Rho};
use tributary_proto::v1::PrivacySpend;

/// The mechanisms and adjacencies behind a sum of charges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Guarantee {
    mechanisms: Vec<Mechanism>,
    adjacencies: Vec<Adjacency>,
    /// True when noise of a few units on votes is among the charges.
    has_votes: bool,
}

/// From the strongest claim to the weakest; the order in which several are named.
const MECHANISMS: [Mechanism; 7] = [
    Mechanism::LocalGaussian,
    Mechanism::DiscreteGaussian,
    Mechanism::CorrelatedBlt,
    Mechanism::CorrelatedTree,
    Mechanism::RestoredNotPrivate,
    Mechanism::SeededNotPrivate,
    Mechanism::None,
];

impl Guarantee {
    /// Takes another charge in.
    pub(super) fn add(&mut self, mechanism: Mechanism, adjacency: Adjacency, has_votes: bool) {
        self.has_votes |= has_votes;
        if !self.mechanisms.contains(&mechanism) {
            self.mechanisms.push(mechanism);
            let place = |known: &Mechanism| MECHANISMS.iter().position(|one| one == known);
            self.mechanisms.sort_by_key(place);
        }
        if !self.adjacencies.contains(&adjacency) {
            self.adjacencies.push(adjacency);
        }
    }

    /// Takes the charges of another sum in.
    pub(super) fn join(&mut self, other: &Self) {
        for mechanism in &other.mechanisms {
            for adjacency in &other.adjacencies {
                self.add(*mechanism, *adjacency, other.has_votes);
            }
        }
    }

    /// The relation under which all of the charges may be added up.
    ///
    /// Charges of one relation add up under it. Under several, every one of them bounds the loss
    /// when a device's contribution is replaced by zeros while its participation is public: for
    /// `ReplaceDevice` the sensitivity is at most what was charged for. So their sum is stated for
    /// `ZeroOutDevice`.
    fn adjacency(&self) -> Adjacency {
        match self.adjacencies.as_slice() {
            [] => Adjacency::ZeroOutDevice,
            [one] => *one,
            _ => Adjacency::ZeroOutDevice,
        }
    }

    /// True unless noise was missing, or known, in one of the charges.
    pub(super) fn is_private(&self) -> bool {
        self.weakest().is_private()
    }

    /// One that is not private makes the whole sum so.
    fn weakest(&self) -> Mechanism {
        let last = self.mechanisms.last();
        last.copied().unwrap_or(Mechanism::DiscreteGaussian)
    }

    /// All mechanisms; of those that are not private the worst alone.
    fn mechanism_name(&self) -> String {
        let weakest = self.weakest();
        if !weakest.is_private() || self.mechanisms.is_empty() {
            return weakest.name().to_owned();
        }
        let names: Vec<&str> = self.mechanisms.iter().map(|one| one.name()).collect();
        names.join("; ")
    }

    /// The statement of a spend under this claim.
    pub(super) fn spend(&self, pico_rho: u64, delta: f64) -> PrivacySpend {
        self.spend_of(pico_rho, delta, epsilons(pico_rho, delta))
    }

    /// The same, with the conversions of [`epsilons`].
    pub(super) fn spend_of(&self, pico: u64, delta: f64, epsilons: (f64, f64)) -> PrivacySpend {
        PrivacySpend {
            mechanism: self.mechanism_name(),
            ..statement(
                pico,
                delta,
                self.weakest(),
                self.adjacency(),
                (epsilons.0, (!self.has_votes).then_some(epsilons.1)),
            )
        }
    }
}

/// The statement of a spend. Without noise epsilon is infinite; with noise and before the first
/// charge it is 0. The curve of the continuous Gaussian is left out when votes with noise of a few units
/// are in it: for them it is no bound.
pub fn spend(
    pico_rho: u64,
    delta: f64,
    mechanism: Mechanism,
    adjacency: Adjacency,
    has_votes: bool,
) -> PrivacySpend {
    let (epsilon, curve) = epsilons(pico_rho, delta);
    let epsilons = (epsilon, (!has_votes).then_some(curve));
    statement(pico_rho, delta, mechanism, adjacency, epsilons)
}

fn statement(
    pico_rho: u64,
    delta: f64,
    mechanism: Mechanism,
    adjacency: Adjacency,
    epsilons: (f64, Option<f64>),
) -> PrivacySpend {
    let (epsilon, epsilon_gaussian) = match mechanism {
        Mechanism::None => (f64::INFINITY, None),
        _ => epsilons,
    };
    PrivacySpend {
        epsilon,
        delta,
        rho: Rho::from_pico(pico_rho).as_f64(),
        adjacency: adjacency.name().to_owned(),
        mechanism: mechanism.name().to_owned(),
        epsilon_gaussian,
        not_private: !mechanism.is_private(),
    }
}

/// Both epsilons of a sum of Gaussian charges.
pub(super) fn epsilons(pico_rho: u64, delta: f64) -> (f64, f64) {
    if pico_rho == 0 {
        return (0.0, 0.0);
    }
    // neither adjacency nor mechanism changes the conversion
    let (adjacency, mechanism) = (Adjacency::ZeroOutDevice, Mechanism::DiscreteGaussian);
    let rho = Rho::from_pico(pico_rho);
    let statement = PrivacyStatement::new(rho, delta, adjacency, mechanism);
    let both = |known: PrivacyStatement| known.epsilon.zip(known.epsilon_gaussian);
    // an account that can't be converted must never read as a small epsilon
    let infinite = (f64::INFINITY, f64::INFINITY);
    statement.ok().and_then(both).unwrap_or(infinite)
}
