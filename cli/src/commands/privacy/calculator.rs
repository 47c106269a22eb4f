//! `privacy epsilon` and `privacy noise`: what a plan costs, and the noise that makes it cost less.

use super::accountants::{Accountant, Accounts, accounts};
use super::plan::{Plan, PlanError, PlanFlags};
use crate::exit::{Exit, Failure};
use crate::output::{Align, Cell, Palette, Table, Tone, decimal};
use crate::text::spend::words;
use crate::view::{AccountantView, PlanView};

const SAMPLED: &str = "\
sampling is claimed: this holds only where the coordinator itself draws the devices of every round \
with secret coins, as a simulation can; devices that check in on their own are not sampled by anybody";
const UNSAMPLED: &str = "\
no sampling is claimed: this holds for devices that check in on their own, as long as the coordinator \
keeps the limits on each of them";

const CURVES: &str = "\
a curve is that of the continuous Gaussian: it is shown for comparison with other tools, and is no proof \
for integer noise";

/// The least and the most noise, over the clip, that is looked at.
const NOISE: (f64, f64) = (1e-2, 1e6);
/// Noise is found to this relative precision before it is rounded up.
const PRECISE: f64 = 1e-5;
/// Significant digits of a noise multiplier that is advised.
const DIGITS: i32 = 5;

/// What the plan costs with this noise.
///
/// # Errors
/// When the flags are no plan.
pub fn epsilon(flags: &PlanFlags, noise: f64) -> Result<PlanView, Failure> {
    let plan = flags.plan()?;
    let accounts = accounts(&plan).map_err(PlanError::Limits)?;
    let line = |one: &Accountant| AccountantView {
        accountant: one.name,
        epsilon: (one.epsilon)(noise)
            .ok()
            .filter(|epsilon| epsilon.is_finite()),
        noise_multiplier: Some(noise),
        claims_sampling: one.claims_sampling,
        is_curve: one.is_curve,
    };
    let mut lines: Vec<AccountantView> = accounts.accountants.iter().map(line).collect();
    let key = |line: &AccountantView| (line.is_curve, line.epsilon.unwrap_or(f64::INFINITY));
    sort(&mut lines, key);
    Ok(view(&plan, &accounts, lines))
}

/// What is proven first, then the curves; the best of each first.
fn sort(lines: &mut [AccountantView], key: impl Fn(&AccountantView) -> (bool, f64)) {
    lines.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
}

/// The least noise with which the plan stays within `epsilon`.
///
/// # Errors
/// When the flags are no plan.
pub fn noise(flags: &PlanFlags, epsilon: f64) -> Result<PlanView, Failure> {
    let plan = flags.plan()?;
    let accounts = accounts(&plan).map_err(PlanError::Limits)?;
    let line = |one: &Accountant| {
        let noise = least_noise(one, epsilon);
        AccountantView {
            accountant: one.name,
            epsilon: noise.and_then(|noise| (one.epsilon)(noise).ok()),
            noise_multiplier: noise,
            claims_sampling: one.claims_sampling,
            is_curve: one.is_curve,
        }
    };
    let mut lines: Vec<AccountantView> = accounts.accountants.iter().map(line).collect();
    let least = |line: &AccountantView| line.noise_multiplier.unwrap_or(f64::INFINITY);
    sort(&mut lines, |line| (line.is_curve, least(line)));
    Ok(view(&plan, &accounts, lines))
}

/// The lines come best first; the first is quoted.
fn view(plan: &Plan, accounts: &Accounts, lines: Vec<AccountantView>) -> PlanView {
    let best = lines.first();
    let claims_sampling = best.is_some_and(|best| best.claims_sampling);
    PlanView {
        epsilon: best.and_then(|best| best.epsilon),
        delta: plan.delta,
        adjacency: accounts.adjacency.name().to_owned(),
        mechanism: accounts.mechanism.clone(),
        noise_multiplier: best.and_then(|best| best.noise_multiplier),
        claims_sampling,
        caveat: if claims_sampling { SAMPLED } else { UNSAMPLED },
        accountants: lines,
    }
}

/// By bisection: epsilon falls as noise grows. What an accountant refuses to compute is too little
/// noise.
fn least_noise(accountant: &Accountant, epsilon: f64) -> Option<f64> {
    let is_enough = |noise: f64| (accountant.epsilon)(noise).is_ok_and(|found| found <= epsilon);
    let (mut low, mut high) = NOISE;
    let mut edge = 1.0;
    while edge < high && !is_enough(edge) {
        (low, edge) = (edge, edge * 4.0);
    }
    if edge >= high && !is_enough(high) {
        return None;
    }
    high = high.min(edge);
    while high - low > PRECISE * high {
        // in ratios first: the bounds may be magnitudes apart
        let middle = (low * high).sqrt();
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    let advised = rounded_up(high);
    is_enough(advised).then_some(advised)
}

fn rounded_up(number: f64) -> f64 {
    let places = DIGITS - 1 - number.log10().floor() as i32;
    let unit = 10f64.powi(places);
    (number * unit).ceil() / unit
}

/// Done with a number, failed without.
pub fn exit(plan: &PlanView) -> Exit {
    match plan.epsilon {
        Some(_) => Exit::Done,
        None => Exit::Failed,
    }
}

/// The plan for people.
pub fn text(plan: &PlanView, colours: Palette) -> String {
    let tone = match plan.claims_sampling {
        true => Tone::Warn,
        false => Tone::Dim,
    };
    format!(
        "{}\n{}\n\n{}\n\n{}\n{}",
        headline(plan, colours),
        plan.mechanism,
        table(&plan.accountants, colours),
        colours.paint(tone, plan.caveat),
        colours.paint(Tone::Dim, CURVES),
    )
}

/// The epsilon of the best accountant with what it has to be read with.
fn headline(plan: &PlanView, colours: Palette) -> String {
    match plan.epsilon {
        Some(epsilon) => format!(
            "epsilon {} at delta {:e} ({}) with noise of {} times the clip",
            colours.paint(Tone::Accent, &decimal(epsilon)),
            plan.delta,
            words(&plan.adjacency),
            colours.paint(Tone::Accent, &noise_text(plan.noise_multiplier)),
        ),
        None => colours.paint(
            Tone::Bad,
            "no accountant can state an epsilon for this plan",
        ),
    }
}

/// A noise multiplier with all its digits, which are rounded up already; `-` for none.
fn noise_text(multiplier: Option<f64>) -> String {
    multiplier.map_or("-".to_owned(), |value| value.to_string())
}

fn table(accountants: &[AccountantView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("accountant", Align::Left),
        ("epsilon", Align::Right),
        ("noise", Align::Right),
        ("sampling", Align::Left),
        ("", Align::Left),
    ]);
    for (place, line) in accountants.iter().enumerate() {
        let name = match place {
            0 => Cell::toned(Tone::Strong, line.accountant),
            _ => line.accountant.into(),
        };
        let sampling = match line.claims_sampling {
            true => Cell::toned(Tone::Warn, "claimed"),
            false => Cell::toned(Tone::Dim, "not claimed"),
        };
        let proof = match line.is_curve {
            true => Cell::toned(Tone::Dim, "curve"),
            false => "bound".into(),
        };
        let epsilon = line.epsilon.map_or("-".to_owned(), decimal);
        let noise = noise_text(line.noise_multiplier);
        table.row(vec![name, epsilon.into(), noise.into(), sampling, proof]);
    }
    table.render(colours, "")
}

#[cfg(test)]
#[path = "calculator_tests.rs"]
mod tests;
