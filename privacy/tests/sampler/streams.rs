//! Seeds, streams and threads.

use rayon::ThreadPoolBuilder;
use tributary_privacy::NoiseSource;

use crate::Sampler;

fn samplers() -> [Sampler; 3] {
    [
        Sampler::gaussian(1 << 21, 1),
        Sampler::table(1 << 21),
        Sampler::laplace(1 << 21, 1),
    ]
}

#[test]
fn equal_seeds_give_equal_noise_and_every_chunk_its_own() {
    for sampler in samplers() {
        let first = sampler.samples(200_000, 91);
        assert_eq!(first, sampler.samples(200_000, 91));
        assert_ne!(first[..1000], sampler.samples(1000, 92)[..]);
        assert_ne!(
            first[..1000],
            first[NoiseSource::CHUNK..NoiseSource::CHUNK + 1000]
        );
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // three whole chunks and one of a single value
    let length = 3 * NoiseSource::CHUNK + 1;
    let seeded = || NoiseSource::seeded([93; 32]);
    for sampler in samplers() {
        let mut source = seeded();
        let mut expected = vec![5; length];
        sampler.add_noise_on_this_thread(&mut expected, &mut source);
        let after = source.with_stream(rand_core::Rng::next_u64);
        for threads in [1, 2, 3, 8] {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let mut source = seeded();
            let mut values = vec![5; length];
            pool.install(|| sampler.add_noise(&mut values, &mut source));
            assert_eq!(values, expected, "{threads} threads, {}", sampler.name());
            // and the source stands at the same stream
            assert_eq!(source.with_stream(rand_core::Rng::next_u64), after);
        }
        // chunk by chunk is the same again
        let mut source = seeded();
        let mut values = vec![5; length];
        for chunk in values.chunks_mut(NoiseSource::CHUNK) {
            sampler.add_noise(chunk, &mut source);
        }
        assert_eq!(values, expected);
    }
}

#[test]
fn nothing_is_drawn_for_no_values() {
    let mut source = NoiseSource::seeded([94; 32]);
    Sampler::table(64).add_noise(&mut [], &mut source);
    let mut fresh = NoiseSource::seeded([94; 32]);
    let word = |source: &mut NoiseSource| source.with_stream(rand_core::Rng::next_u64);
    assert_eq!(word(&mut source), word(&mut fresh));
}
