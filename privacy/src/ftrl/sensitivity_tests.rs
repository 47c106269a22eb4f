//! Sensitivities against every participation pattern of small runs.

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::{Blt, FtrlError, Participation, Strategy, toeplitz_squared_sensitivity};

/// Every non-empty set of at most k rounds that are b apart, as bit masks.
fn patterns(participation: &Participation) -> impl Iterator<Item = u32> {
    let Participation {
        rounds,
        most,
        separation,
    } = *participation;
    (1u32..1 << rounds).filter(move |mask| {
        let close = (1..separation).any(|gap| mask & (mask >> gap) != 0);
        mask.count_ones() <= most && !close
    })
}

/// max over patterns of || C u ||^2 for the rows of C.
fn slow(rows: &[Vec<f64>], participation: &Participation) -> f64 {
    let norm = |mask: u32| -> f64 {
        let entry = |row: &Vec<f64>| {
            let taken = row.iter().enumerate().filter(|(s, _)| mask >> s & 1 == 1);
            taken.map(|(_, value)| value).sum::<f64>().powi(2)
        };
        rows.iter().map(entry).sum()
    };
    patterns(participation).map(norm).fold(0.0, f64::max)
}

fn blt_rows(blt: &Blt, n: usize) -> Vec<Vec<f64>> {
    let c = blt.coefficients(n);
    (0..n)
        .map(|t| (0..=t).map(|s| c[t - s]).collect())
        .collect()
}

fn tree_rows(n: usize) -> Vec<Vec<f64>> {
    let row = |t: usize| {
        let first = t - (1 << t.trailing_zeros());
        (0..t).map(|s| f64::from(u8::from(s >= first))).collect()
    };
    (1..=n).map(row).collect()
}

fn limits(most_rounds: u32) -> impl proptest::strategy::Strategy<Value = Participation> {
    (1..=most_rounds).prop_flat_map(|n| {
        (1..=n, 1..=n).prop_map(move |(k, b)| Participation::new(n, k, b).unwrap())
    })
}

/// Valid parameters: weights are parts of what the conditions leave.
pub(super) fn any_blt() -> impl proptest::strategy::Strategy<Value = Blt> {
    prop::collection::vec((0.01f64..0.999, 0.01f64..1.0), 1..=4).prop_map(|pairs| {
        let theta: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
        let most = 0.99 / pairs.len() as f64;
        let omega = pairs
            .iter()
            .map(|(theta, part)| theta * part * most)
            .collect();
        Blt::new(theta, omega).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_pattern_moves_a_blt_further_than_its_sensitivity(blt in any_blt(), p in limits(11)) {
        let exact = slow(&blt_rows(&blt, p.rounds as usize), &p);
        let claimed = blt.squared_sensitivity(&p);
        prop_assert!((claimed / exact - 1.0).abs() < 1e-9, "{} for {}", claimed, exact);
        let bound = 1 << 20;
        let strategy = Strategy::Blt(blt);
        let integer = strategy.squared_sensitivity(&p, bound, 100).unwrap() as f64;
        let real = exact * (bound as f64).powi(2);
        prop_assert!(integer >= real && integer < real * 1.0001 + 1e6);
    }

    #[test]
    fn no_pattern_moves_a_tree_further_than_its_bound(p in limits(11)) {
        let exact = slow(&tree_rows(p.rounds as usize), &p);
        let bound = Strategy::Tree.squared_sensitivity(&p, 3, 1).unwrap() as f64;
        prop_assert!(exact * 9.0 <= bound, "{} above {}", exact * 9.0, bound);
        let simple: u32 = (0..32 - p.rounds.leading_zeros())
            .map(|l| p.effective_most() * p.most.min((1u32 << l).div_ceil(p.separation)))
            .sum();
        prop_assert!(bound <= 9.0 * f64::from(simple));
    }

    #[test]
    fn the_closed_form_equals_the_sum_over_rounds(
        blt in any_blt(), n in 1u32..400, k in 1u32..50, b in 1u32..100,
    ) {
        let p = Participation::new(n, k, b.min(n)).unwrap();
        let summed = toeplitz_squared_sensitivity(&blt.coefficients(n as usize), &p).unwrap();
        prop_assert!((blt.squared_sensitivity(&p) / summed - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_further_participation_never_costs_less_than_nothing(
        blt in any_blt(), n in 1u32..400, b in 1u32..100,
    ) {
        let p = Participation::new(n, 1, b.min(n)).unwrap();
        for strategy in [Strategy::Tree, Strategy::Blt(blt)] {
            let charge = |k| strategy.squared_sensitivity(&p.with_most(k), 1 << 20, 1000).unwrap();
            for k in 1..20 {
                prop_assert!(charge(k + 1) >= charge(k));
            }
            // what does not fit into the run costs nothing
            let fitting = p.with_most(1000).effective_most();
            prop_assert_eq!(charge(1000), charge(fitting));
        }
    }

    #[test]
    fn the_inverse_of_a_blt_leads_back_to_it(blt in any_blt()) {
        // Kaluza: 1, then nothing positive, and more than -1 together
        let inverse = blt.inverse_coefficients(200);
        prop_assert!(inverse[1..].iter().all(|&value| value <= 1e-15));
        prop_assert!(inverse.iter().sum::<f64>() > 0.0);
        let coefficients = blt.coefficients(200);
        for t in [0, 1, 7, 199] {
            let product: f64 = (0..=t).map(|s| coefficients[t - s] * inverse[s]).sum();
            prop_assert!((product - f64::from(u8::from(t == 0))).abs() < 1e-12);
        }
        // the deviation of buffers under seeds of variance 1
        let mut most = 0.0f64;
        for &theta in blt.theta() {
            let (mut buffer, mut total) = (0.0f64, 0.0);
            for &emitted in blt.inverse_coefficients(20_000).iter() {
                buffer = theta * buffer + emitted;
                total += buffer * buffer;
            }
            most = most.max(total.sqrt());
        }
        prop_assert!(most <= blt.buffer_gain(), "{} above {}", most, blt.buffer_gain());
    }
}

#[test]
fn a_tree_costs_its_height_for_one_participation() {
    for (rounds, height) in [(1, 1), (100, 7), (2047, 11), (2048, 12)] {
        let once = Participation::new(rounds, 1, rounds).unwrap();
        assert_eq!(Strategy::Tree.squared_sensitivity(&once, 1, 1), Ok(height));
    }
    // by hand, k = 2 and b = 3 in 6 rounds: levels of width 1 and 2 give 2, width 4 gives 2^2
    let twice = Participation::new(6, 2, 3).unwrap();
    assert_eq!(
        Strategy::Tree.squared_sensitivity(&twice, 1, 1),
        Ok(2 + 2 + 4)
    );
}

#[test]
fn parameters_outside_the_conditions_are_refused_by_name() {
    for (theta, omega, field) in [
        (vec![], vec![], "number of buffers"),
        (vec![0.5; 9], vec![0.01; 9], "number of buffers"),
        (vec![0.5], vec![0.1, 0.1], "number of omegas"),
        (vec![1.0], vec![0.1], "theta"),
        (vec![f64::NAN], vec![0.1], "theta"),
        (vec![0.5], vec![0.0], "omega"),
        (vec![0.5], vec![f64::INFINITY], "omega"),
        (vec![0.99, 0.99], vec![0.5, 0.5], "sum of omega"),
        (vec![0.5], vec![0.5], "sum of omega / theta"),
    ] {
        match Blt::new(theta, omega) {
            Err(FtrlError::BadBlt { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{other:?} instead of {field}"),
        }
    }
    let text = r#"{"theta":[0.5],"omega":[0.9]}"#;
    assert!(serde_json::from_str::<Blt>(text).is_err());
    let blt = Blt::new(vec![0.9, 0.3], vec![0.2, 0.2]).unwrap();
    let stored = serde_json::to_string(&blt).unwrap();
    assert_eq!(serde_json::from_str::<Blt>(&stored).unwrap(), blt);
}

#[test]
fn increasing_coefficients_and_bad_limits_have_no_sensitivity() {
    let p = Participation::new(4, 1, 4).unwrap();
    for coefficients in [&[1.0, 2.0][..], &[1.0, -0.5], &[f64::NAN], &[f64::INFINITY]] {
        let refused = toeplitz_squared_sensitivity(coefficients, &p);
        assert_eq!(refused, Err(FtrlError::BadCoefficients));
    }
    let broken = Participation { separation: 0, ..p };
    assert!(toeplitz_squared_sensitivity(&[1.0], &broken).is_err());
    assert!(Strategy::Tree.squared_sensitivity(&broken, 1, 1).is_err());
    assert!(Blt::optimise(&broken).is_err());
    let blt = Strategy::Blt(Blt::new(vec![0.5], vec![0.1]).unwrap());
    for strategy in [Strategy::Tree, blt] {
        let huge = strategy.squared_sensitivity(&p, u64::MAX, 1);
        assert!(matches!(huge, Err(FtrlError::SensitivityTooLarge { .. })));
        assert!(strategy.squared_sensitivity(&p, 1 << 44, 1).is_ok());
    }
}
