//! Coins of probability e^-x for rational x (Canonne, Kamath, Steinke 2020, algorithm 1).
//!
//! All of them follow the series of von Neumann: toss coins of probability x/1, x/2, x/3, ... until
//! one fails; the number of tosses is odd with probability e^-x.

use rand_core::Rng;

use super::uniform::{MAX_DENOMINATOR, coin, narrow_coin};

/// 1/2!, 1/3!, ... 1/8! as thresholds on a 32-bit word.
const FACTORIALS: [u64; 7] = [2, 6, 24, 120, 720, 5_040, LAST_FACTORIAL];
const LAST_FACTORIAL: u64 = 40_320;

/// True with probability exactly e^-1.
///
/// The tosses of the series at x = 1 are folded into one uniform real U: toss n is reached and won
/// exactly when U < 1/n!. One word settles nearly every call, where separate tosses take 2.7.
#[inline]
pub(super) fn minus_one<R: Rng + ?Sized>(rng: &mut R) -> bool {
    let word = u64::from(rng.next_u32());
    // toss 1 is always won; `won` counts further wins: an even total is an odd number of tosses
    let mut won_even = false;
    for factorial in FACTORIALS {
        let scaled = word * factorial;
        if scaled >= 1 << 32 {
            return won_even;
        }
        if scaled + factorial > 1 << 32 {
            // the threshold lies inside the word's interval: more bits of U decide
            if !coin(
                u128::from((1u64 << 32) - scaled),
                u128::from(factorial),
                rng,
            ) {
                return won_even;
            }
            // won, and the next threshold is far below; after the last, fresh tosses follow
            if factorial != LAST_FACTORIAL {
                return !won_even;
            }
        }
        won_even = !won_even;
    }
    // eight wins (chance 1/40320): go on toss by toss
    let mut divisor = 9;
    while narrow_coin(1, divisor, rng) {
        divisor += 1;
    }
    divisor % 2 == 1
}

/// True with probability exactly e^-(numerator / denominator), for denominator <= 2^81.
///
/// Each whole unit of the exponent is one [`minus_one`] that must succeed.
#[inline]
pub(super) fn negative_exponent<R: Rng + ?Sized>(
    mut numerator: u128,
    denominator: u128,
    rng: &mut R,
) -> bool {
    while numerator > denominator {
        if !minus_one(rng) {
            return false;
        }
        numerator -= denominator;
    }
    // 2^58: six bits are left for the growing divisor
    if denominator < 1 << 58 {
        return narrow_fraction(numerator as u64, denominator as u64, rng);
    }
    wide_fraction(numerator, denominator, rng)
}

/// [`negative_exponent`] for numerator <= denominator < 2^58.
#[inline]
pub(super) fn narrow_fraction<R: Rng + ?Sized>(
    numerator: u64,
    denominator: u64,
    rng: &mut R,
) -> bool {
    let mut scaled = denominator;
    let mut odd = true;
    for _ in 0..32 {
        if !narrow_coin(numerator, scaled, rng) {
            return odd;
        }
        odd = !odd;
        scaled += denominator;
    }
    continue_wide(u128::from(numerator), u128::from(denominator), 33, rng)
}

fn wide_fraction<R: Rng + ?Sized>(numerator: u128, denominator: u128, rng: &mut R) -> bool {
    continue_wide(numerator, denominator, 1, rng)
}

/// The series from toss `first` on. Its divisor can't outgrow the coin: reaching toss 2^15 has a
/// chance below 1/(2^15 - 1)!, less than that of guessing the key of the generator 1,000 times over.
fn continue_wide<R: Rng + ?Sized>(
    numerator: u128,
    denominator: u128,
    first: u32,
    rng: &mut R,
) -> bool {
    let mut toss = first;
    let mut scaled = denominator * u128::from(first);
    while scaled < MAX_DENOMINATOR && coin(numerator, scaled, rng) {
        toss += 1;
        scaled += denominator;
    }
    toss % 2 == 1
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::super::uniform::scripted::Scripted;
    use super::*;

    const DRAWS: u32 = 400_000;

    /// Five standard deviations: a false alarm has probability 6e-7 per rate checked.
    fn assert_rate(expected: f64, mut toss: impl FnMut(&mut ChaCha20Rng) -> bool) {
        let mut rng = ChaCha20Rng::from_seed([17; 32]);
        let heads = (0..DRAWS).filter(|_| toss(&mut rng)).count() as f64;
        let deviation = (expected * (1.0 - expected) / f64::from(DRAWS)).sqrt();
        let rate = heads / f64::from(DRAWS);
        assert!(
            (rate - expected).abs() <= 5.0 * deviation + 1e-12,
            "{rate} for {expected}"
        );
    }

    #[test]
    fn coins_fall_at_the_rate_of_the_exponential() {
        assert_rate((-1.0f64).exp(), minus_one);
        for (a, b) in [
            (0u64, 5u64),
            (1, 5),
            (1, 2),
            (99, 100),
            (1, 1),
            (7, 2),
            (1 << 50, 3 << 50),
        ] {
            let rate = (-(a as f64) / b as f64).exp();
            assert_rate(rate, |rng| negative_exponent(a.into(), b.into(), rng));
            // the same exponent on the wide path
            assert_rate(rate, |rng| {
                negative_exponent(u128::from(a) << 25, u128::from(b) << 25, rng)
            });
        }
    }

    #[test]
    fn the_thresholds_are_the_factorials() {
        let mut factorial = 1;
        for (index, threshold) in FACTORIALS.into_iter().enumerate() {
            factorial *= index as u64 + 2;
            assert_eq!(threshold, factorial);
        }
    }

    #[test]
    fn the_folded_series_agrees_with_separate_tosses_on_every_kind_of_word() {
        // words inside (1/(n+1)!, 1/n!) lose toss n + 1: success when n is even
        for (n, factorial) in FACTORIALS.iter().enumerate() {
            let wins = n + 2;
            let word = ((1u64 << 32) / factorial - 2) as u32;
            // the second word loses toss 9, which only the last case reaches
            assert_eq!(
                minus_one(&mut Scripted(vec![word, u32::MAX])),
                wins % 2 == 0
            );
        }
        // above 1/2 nothing more is won
        assert!(!minus_one(&mut Scripted(vec![u32::MAX])));
        // 1/6 lies inside the interval of this word: the next word settles it
        let open = ((1u64 << 32) / 6) as u32;
        assert!(minus_one(&mut Scripted(vec![open, u32::MAX])));
        assert!(!minus_one(&mut Scripted(vec![open, 0])));
    }

    #[test]
    fn the_tail_of_the_folded_series_goes_on_toss_by_toss() {
        // eight wins, toss 9 lost: nine tosses
        assert!(minus_one(&mut Scripted(vec![0, u32::MAX])));
        // toss 9 won, toss 10 lost: ten tosses
        assert!(!minus_one(&mut Scripted(vec![0, 0, u32::MAX])));
        // the eighth win decided by a second word is followed by the same fresh tosses
        let open = ((1u64 << 32) / LAST_FACTORIAL) as u32;
        assert!(!minus_one(&mut Scripted(vec![open, 0, 0, u32::MAX])));
        assert!(!minus_one(&mut Scripted(vec![open, u32::MAX])));
    }
}
