//! Whatever the files that are evaluated have in them, they are scored or refused in words.

use anyhow::Result;
use serde_json::Value;
use spanwise_artifact::UserError;
use spanwise_artifact::settings::Metric;
use spanwise_runner::evaluate::{self, Evaluation};

const DATA: &str = r#"{"data": [{"paragraphs": [{"context": "c", "qas": [
    {"id": "a", "question": "?", "answers": [{"text": "the cat", "answer_start": 0}]},
    {"id": "b", "question": "?", "answers": []}]}]}]}"#;
const PREDICTIONS: &str = r#"{"a": "a cat", "b": ""}"#;
const SUBMISSION: &str = "ID,Answer\na,\"a, cat\"\nb,\n";
const PROBABILITIES: &str = r#"{"a": 0.5, "b": 0.75}"#;

/// What is put in anywhere.
const PIECES: [&str; 16] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\n",
    "null",
    "1e400",
    "NaN",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\u{1b}[2J",
    "李",
];

fn changed(random: &mut fastrand::Rng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.usize(1..4) {
        let start = random.usize(0..=bytes.len());
        let end = (start + random.usize(0..20)).min(bytes.len());
        let piece = PIECES[random.usize(0..PIECES.len())];
        match random.u8(0..4) {
            0 => bytes.truncate(start),
            1 => bytes[start..end].fill(random.u8(..)),
            2 => drop(bytes.splice(start..end, piece.bytes())),
            _ => drop(bytes.splice(start..start, piece.repeat(random.usize(1..300)).bytes())),
        }
    }
    bytes
}

#[test]
fn damaged_files_are_scored_or_refused_in_words() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let mut random = fastrand::Rng::with_seed(1);
    let (mut scored, mut refused) = (0, 0);
    for _ in 0..1000 {
        let predictions = [PREDICTIONS, SUBMISSION][random.usize(0..2)];
        for (name, text) in [
            ("data", DATA),
            ("own", predictions),
            ("none", PROBABILITIES),
        ] {
            let text = match random.u8(0..3) {
                0 => changed(&mut random, text),
                _ => text.into(),
            };
            fs_err::write(path(name), text)?;
        }
        let evaluation = Evaluation {
            predictions: path("own"),
            data: path("data"),
            against: random.bool().then(|| path("own")),
            metric: random.bool().then_some(Metric::Squad2),
            language: None,
            no_answer_probability: random.bool().then(|| path("none")),
            no_answer_threshold: random.f64(),
            json: true,
        };
        let mut printed = Vec::new();
        match evaluate::run(&evaluation, &mut printed) {
            Ok(()) => {
                let report: Value = serde_json::from_slice(&printed)?;
                let exact = report["predictions"]["exact"].as_f64();
                assert!(
                    exact.is_some_and(|exact| (0.0..=100.0).contains(&exact)),
                    "{report}"
                );
                scored += 1;
            }
            Err(error) => {
                assert!(error.is::<UserError>(), "{error:?}");
                assert!(error.to_string().chars().count() < 1000, "{error}");
                refused += 1;
            }
        }
    }
    assert!(
        scored > 100 && refused > 100,
        "{scored} scored, {refused} refused"
    );
    Ok(())
}
