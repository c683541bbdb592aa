//! The best spans of a long paragraph: `cargo bench -p spanwise-answers --bench decode`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use spanwise_answers::decode::Decoder;
use spanwise_answers::metrics::Headline;
use spanwise_answers::split::ScoredQuestion;
use spanwise_artifact::scores::{Scores, Whole};
use spanwise_artifact::settings::{AnswersTable, Decoding, Metric, MlqaLanguage};
use spanwise_artifact::{Question, Reference};

const CHARACTERS: usize = 1000;

/// Scores in no order.
fn scores() -> Scores {
    let score = |index: usize, salt: usize| ((index * 7919 + salt) % 1009) as f32 / 100.0;
    let all = |salt| (0..CHARACTERS).map(|index| score(index, salt)).collect();
    Scores {
        start: all(1),
        end: all(500),
    }
}

fn benches(criterion: &mut Criterion) {
    let scores = scores();
    let question = Question {
        id: String::new(),
        paragraph: 0,
        text: String::new(),
        reference: Reference::Unknown,
    };
    let question = ScoredQuestion {
        question: &question,
        paragraph: &"河".repeat(CHARACTERS),
        scores: scores.view(),
        ranked: None,
        whole: Whole::NONE,
        headline: Headline {
            metric: Metric::Task,
            language: MlqaLanguage::Chinese,
        },
    };
    let mut group = criterion.benchmark_group("decode 1000 characters");
    for (name, decoding) in [
        ("joint", Decoding::Joint),
        ("independent", Decoding::Independent),
    ] {
        let decoder = Decoder {
            decoding,
            ..Decoder::new(&AnswersTable::default(), 30)
        };
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| decoder.candidates(black_box(&question)));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
