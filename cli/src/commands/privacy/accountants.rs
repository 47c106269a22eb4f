//! The accountants that apply to a plan, each as a function from noise to epsilon.

use tributary_privacy::accountant::{
    AccountingError, Adjacency, FixedSizeGaussian, LossDistribution, PoissonGaussian, RdpCurve,
    default_orders, epsilon_bun_steinke, epsilon_cks20, epsilon_gaussian,
};
use tributary_privacy::ftrl::{Blt, FtrlError, Strategy};
use tributary_privacy::{Rho, RhoError};

use super::plan::{Kind, Plan};

/// From the noise multiplier, over the clip, to epsilon at the delta of the plan.
type Epsilon = Box<dyn Fn(f64) -> Result<f64, AccountingError>>;

/// One way to prove an epsilon.
pub struct Accountant {
    /// Its name.
    pub name: &'static str,
    /// True when it holds only with the plan's sampling.
    pub claims_sampling: bool,
    /// True when it is the curve of the continuous Gaussian, which is no proof for the integer noise of
    /// the coordinator: shown beside what is proven, never in its place.
    pub is_curve: bool,
    /// What it says.
    pub epsilon: Epsilon,
}

/// A plan with all that is said about it whatever the noise.
pub struct Accounts {
    /// Which fleets the guarantee compares.
    pub adjacency: Adjacency,
    /// What runs, the noise apart.
    pub mechanism: String,
    /// Whatever applies.
    pub accountants: Vec<Accountant>,
}

/// All accountants that apply to a plan.
///
/// # Errors
/// When the limits can't be kept by any strategy.
pub fn accounts(plan: &Plan) -> Result<Accounts, FtrlError> {
    let limits = plan.participation;
    let (rounds, most) = (limits.rounds, limits.effective_most());
    let limited = format!(
        "{most} rounds that lie at least {} apart",
        limits.separation
    );
    // squared sensitivity of the whole run in clips, when nothing is sampled
    let (squared, mechanism) = match plan.kind {
        Kind::Independent | Kind::Poisson(_) => (f64::from(most), "fresh noise".to_owned()),
        Kind::Fixed { .. } => (4.0 * f64::from(most), "fresh noise".to_owned()),
        Kind::Blt => {
            let blt = Blt::optimise(&limits)?;
            let buffers = blt.buffers();
            let gain = blt.gain(&limits);
            let text = format!(
                "DP-FTRL, noise correlated by a BLT of {buffers} buffers ({gain:.2} times less of it \
                 in the last model than with fresh noise at the same rho)"
            );
            (blt.squared_sensitivity(&limits), text)
        }
        Kind::Tree => {
            let squared = Strategy::Tree.squared_sensitivity(&limits, 1, 1)?;
            (
                squared as f64,
                "DP-FTRL, noise correlated by a tree".to_owned(),
            )
        }
    };
    let (adjacency, devices) = match plan.kind {
        Kind::Independent | Kind::Blt | Kind::Tree => {
            let devices = format!("a device in at most {limited}");
            (Adjacency::ZeroOutDevice, devices)
        }
        Kind::Poisson(rate) => {
            let devices = format!("Poisson samples of rate {rate}");
            (Adjacency::AddOrRemoveDevice, devices)
        }
        Kind::Fixed { sample, population } => {
            let devices = format!("samples of {sample} of {population} devices");
            (Adjacency::ReplaceDevice, devices)
        }
    };
    let mut accountants = sampled(plan);
    accountants.extend(unsampled(plan, squared, adjacency));
    Ok(Accounts {
        adjacency,
        mechanism: format!("{rounds} rounds, {mechanism}, {devices}"),
        accountants,
    })
}

/// Those that count on the coin.
fn sampled(plan: &Plan) -> Vec<Accountant> {
    let (steps, delta) = (u64::from(plan.participation.rounds), plan.delta);
    let claim = |name, epsilon: Epsilon| Accountant {
        name,
        claims_sampling: true,
        is_curve: false,
        epsilon,
    };
    match plan.kind {
        Kind::Independent | Kind::Blt | Kind::Tree => Vec::new(),
        Kind::Poisson(rate) => {
            let pld = move |noise| {
                let step = PoissonGaussian::new(rate, noise)?;
                Ok(LossDistribution::new(&step)?.epsilon(steps, delta)?.epsilon)
            };
            let rdp = move |noise| {
                let step = PoissonGaussian::new(rate, noise)?;
                let curve = RdpCurve::poisson_gaussian(&step, steps, &default_orders())?;
                Ok(curve.epsilon(delta)?.epsilon)
            };
            vec![
                claim("privacy loss distribution", Box::new(pld)),
                claim("RDP", Box::new(rdp)),
            ]
        }
        Kind::Fixed { sample, population } => {
            let rdp = move |noise: f64| {
                // its noise is measured in the sensitivity, which is twice the clip here
                let step = FixedSizeGaussian::new(population, sample, noise / 2.0)?;
                let curve = RdpCurve::fixed_size_gaussian(&step, steps, &default_orders())?;
                Ok(curve.epsilon(delta)?.epsilon)
            };
            vec![claim("RDP", Box::new(rdp))]
        }
    }
}

/// Those that hold for any device that keeps the limits, sampled or not.
fn unsampled(plan: &Plan, squared: f64, adjacency: Adjacency) -> Vec<Accountant> {
    let delta = plan.delta;
    let is_sampled = matches!(plan.kind, Kind::Poisson(_) | Kind::Fixed { .. });
    let plain = |name, epsilon: Epsilon| Accountant {
        name,
        claims_sampling: false,
        is_curve: false,
        epsilon,
    };
    let curve = |name, epsilon: Epsilon| Accountant {
        is_curve: true,
        ..plain(name, epsilon)
    };
    let rho = move |noise: f64| {
        let rho = squared / (2.0 * noise * noise);
        match rho.is_finite() {
            true => Rho::from_f64(rho),
            false => Err(RhoError::TooLarge),
        }
    };
    let gaussian = move |noise| epsilon_gaussian(rho(noise)?, delta);
    if is_sampled {
        let name = "zCDP, exact Gaussian, every device in every round";
        return vec![curve(name, Box::new(gaussian))];
    }
    let cks20 = move |noise| epsilon_cks20(rho(noise)?, delta);
    let bun_steinke = move |noise| epsilon_bun_steinke(rho(noise)?, delta);
    let rdp = move |noise: f64| {
        let noise = noise / squared.sqrt();
        let curve = RdpCurve::gaussian(noise, 1, adjacency, &default_orders())?;
        Ok(curve.epsilon(delta)?.epsilon)
    };
    let pld = move |noise: f64| {
        let step = PoissonGaussian::new(1.0, noise / squared.sqrt())?;
        Ok(LossDistribution::new(&step)?.epsilon(1, delta)?.epsilon)
    };
    vec![
        curve("zCDP, exact Gaussian", Box::new(gaussian)),
        curve("privacy loss distribution", Box::new(pld)),
        plain("zCDP, CKS20 (what the ledger states)", Box::new(cks20)),
        plain("RDP", Box::new(rdp)),
        plain("zCDP, Bun-Steinke", Box::new(bun_steinke)),
    ]
}
