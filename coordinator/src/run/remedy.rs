//! What makes room for a run whose devices can't pay for it.

use tributary_privacy::{Rho, epsilon_cks20, rho_for_epsilon};

use tributary_recipe::{PrivacySpec, RunSpec};

/// Hundredths by which an epsilon is raised until it really buys what is needed.
const STEPS: u32 = 4;

/// How to raise what is below `needed`: the cap that held before, what the recipe says, or both.
pub(super) fn raise(spec: &RunSpec, standing: Option<u64>, needed: u64) -> String {
    let delta = spec.privacy.delta;
    let fits = epsilon_that_buys(needed, delta);
    let epsilon = fits.map_or("E".to_owned(), |epsilon| epsilon.to_string());
    let playbook = spec.playbook.as_ref().map(|playbook| &playbook.privacy);
    let fields = [
        ("privacy.epsilon", Some(&spec.privacy)),
        ("playbook.privacy.epsilon", playbook),
    ];
    let fields = fields
        .into_iter()
        .filter(|(_, privacy)| privacy.is_some_and(|privacy| is_below(privacy, needed)));
    let mut parts: Vec<String> = fields.map(|(field, _)| field.to_owned()).collect();
    if !parts.is_empty()
        && let Some(epsilon) = fits
    {
        parts = vec![format!("{} to {epsilon}", parts.join(" and "))];
    }
    if standing.is_some_and(|cap| cap < needed) {
        let command = format!(
            "the cap with `tributary privacy cap --epsilon {epsilon} --delta {delta:e} --raise --reason TEXT`"
        );
        parts.insert(0, command);
    }
    format!("raise {}", parts.join(" and "))
}

fn is_below(privacy: &PrivacySpec, needed: u64) -> bool {
    let epsilon = privacy.epsilon;
    let cap = epsilon.and_then(|epsilon| rho_for_epsilon(epsilon, privacy.delta).ok());
    cap.is_some_and(|cap| cap.pico() < needed)
}

/// The least epsilon in hundredths whose cap at `delta` is at least `needed`.
fn epsilon_that_buys(needed: u64, delta: f64) -> Option<f64> {
    let exact = epsilon_cks20(Rho::from_pico(needed), delta).ok()?;
    let least = (exact * 100.0).ceil();
    let tried = (0..STEPS).map(|more| (least + f64::from(more)) / 100.0);
    let mut fitting = tried
        .filter(|epsilon| rho_for_epsilon(*epsilon, delta).is_ok_and(|cap| cap.pico() >= needed));
    fitting.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::spec;

    #[test]
    fn a_remedy_names_all_that_binds_with_an_epsilon_that_fits() {
        let mut spec = spec();
        (spec.privacy.epsilon, spec.privacy.delta) = (Some(8.0), 1e-5);
        let cap = |epsilon| rho_for_epsilon(epsilon, 1e-5).unwrap().pico();
        let needed = cap(10.4) - 1;
        let command = "the cap with `tributary privacy cap --epsilon 10.4 --delta 1e-5 --raise --reason TEXT`";
        let both = raise(&spec, Some(cap(8.0)), needed);
        assert_eq!(both, format!("raise {command} and privacy.epsilon to 10.4"));
        assert_eq!(raise(&spec, None, needed), "raise privacy.epsilon to 10.4");
        spec.privacy.epsilon = None;
        assert_eq!(raise(&spec, Some(0), needed), format!("raise {command}"));
        spec.privacy.epsilon = Some(12.0);
        assert_eq!(raise(&spec, Some(0), needed), format!("raise {command}"));
        let boundless = raise(&spec, Some(0), u64::MAX);
        assert!(
            boundless.contains("--epsilon E --delta 1e-5"),
            "{boundless}"
        );
    }
}
