//! The noise split and the trajectory of the adaptive clip.

use tributary_privacy::AdaptiveClip;

use crate::reference::{assert_close, cases, file, number};

#[test]
fn the_noise_split_matches_the_reference() {
    for case in cases("adaptive_clip_noise_split") {
        let law = AdaptiveClip::new(0.5, 0.2, number(&case, "sigma_b")).unwrap();
        let split = law.split(number(&case, "z")).unwrap();
        assert_close(split, number(&case, "z_delta"), 1e-9, &case);
    }
}

/// The reference moves a float of 53 bits; ours rounds the clip to 24 bits every round, which moves
/// the fraction within by one norm at most where a norm lies within 1e-7 of the clip.
#[test]
fn the_trajectory_without_noise_matches_the_reference() {
    let file = file();
    let block = &file["adaptive_clip_noiseless_trajectory"];
    assert_eq!(block["norms"], "linspace(0.5,1.5,101)");
    let norms: Vec<f64> = (0..101).map(|i| 0.5 + f64::from(i) / 100.0).collect();
    let law = AdaptiveClip::new(number(block, "gamma"), number(block, "lr"), 5.0).unwrap();
    let mut clip = number(block, "C0") as f32;
    let expected = block["C"].as_array().unwrap();
    assert!(!expected.is_empty());
    for value in expected {
        let within = norms.iter().filter(|&&norm| norm <= f64::from(clip));
        clip = law.next(clip, within.count() as f64 / norms.len() as f64);
        assert_close(f64::from(clip), value.as_f64().unwrap(), 1e-5, value);
    }
}
