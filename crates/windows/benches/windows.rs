//! Tokenizing the demo's texts, and laying windows over long ones: `cargo bench -p spanwise-windows
//! --bench windows`.

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use spanwise_windows::lay::{answer_tokens, evaluation_windows};
use spanwise_windows::tokenize::tokenize;
use tokenizers::Tokenizer;

fn paragraphs() -> Vec<String> {
    let text = include_str!("../../../data/demo/train.json");
    let file: Value = serde_json::from_str(text).expect("it is JSON");
    let paragraphs = file["paragraphs"].as_array().expect("it has paragraphs");
    let paragraphs = paragraphs.iter().filter_map(Value::as_str);
    paragraphs.map(str::to_owned).collect()
}

/// A Chinese BERT's tokenizer with the texts' characters for a vocabulary.
fn tokenizer(texts: &[String]) -> Tokenizer {
    let characters: BTreeSet<char> = texts.iter().flat_map(|text| text.chars()).collect();
    let tokens = characters.into_iter().map(String::from);
    let vocabulary: serde_json::Map<String, Value> = std::iter::once("[UNK]".to_owned())
        .chain(tokens)
        .zip(0..)
        .map(|(token, id)| (token, id.into()))
        .collect();
    let json = json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
    });
    json.to_string().parse().expect("it is well-formed")
}

fn benches(criterion: &mut Criterion) {
    let texts = paragraphs();
    let tokenizer = tokenizer(&texts);
    let mut group = criterion.benchmark_group("tokenize");
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    group.throughput(Throughput::Elements(characters as u64));
    group.bench_function("demo paragraphs, characters", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(tokenize(&tokenizer, text).expect("any text has tokens"));
            }
        });
    });
    group.finish();

    let ranges: Vec<_> = (0..2000).map(|index| index..index + 1).collect();
    let mut group = criterion.benchmark_group("windows");
    group.bench_function("lay over 2000 tokens", |bencher| {
        bencher.iter(|| evaluation_windows(black_box(2000), 321, 128).count());
    });
    group.bench_function("find an answer in 2000 tokens", |bencher| {
        bencher.iter(|| answer_tokens(&ranges, black_box(&(1900..1910))));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
