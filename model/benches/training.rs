//! One training step of a small perceptron on each engine.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use tributary_model::{Batch, BurnEngine, Engine, FastEngine, ModelSpec, initialise};

fn train_step(criterion: &mut Criterion) {
    let graph = ModelSpec::perceptron("bench", 150, &[32], 7)
        .graph()
        .expect("a valid model");
    let inputs: Vec<f32> = (0..8 * 150).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
    let labels: Vec<u32> = (0..8).map(|i| i % 7).collect();
    let engines: [(&str, Box<dyn Engine>); 2] = [
        ("fast", Box::new(FastEngine::new(&graph))),
        ("burn", Box::new(BurnEngine::new(&graph))),
    ];
    for (name, mut engine) in engines {
        let mut params = initialise(&graph, [1; 32]);
        criterion.bench_function(&format!("train_step/{name}/150-32-7/b8"), |bencher| {
            let batch = Batch {
                inputs: &inputs,
                labels: &labels,
            };
            bencher.iter(|| engine.step(&mut params, batch, 1e-3));
        });
    }
}

criterion_group!(benches, train_step);
criterion_main!(benches);
