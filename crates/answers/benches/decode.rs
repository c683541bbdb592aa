//! The best spans of a long paragraph: `cargo bench -p spanwise-answers --bench decode`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use spanwise_answers::decode::decode;
use spanwise_artifact::scores::Scores;
use spanwise_artifact::settings::{AnswersTable, Decoding};

const CHARACTERS: usize = 1000;

/// Scores without an order.
fn scores() -> Scores {
    let score = |place: usize, salt: usize| ((place * 7919 + salt) % 1009) as f32 / 100.0;
    let all = |salt| (0..CHARACTERS).map(|place| score(place, salt)).collect();
    Scores {
        start: all(1),
        end: all(500),
    }
}

fn benches(criterion: &mut Criterion) {
    let scores = scores();
    let paragraph = "河".repeat(CHARACTERS);
    let mut group = criterion.benchmark_group("decode 1000 characters");
    for (name, decoding) in [
        ("joint", Decoding::Joint),
        ("independent", Decoding::Independent),
    ] {
        let settings = AnswersTable {
            decoding,
            ..Default::default()
        };
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| decode(black_box(scores.view()), None, &paragraph, &settings));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
