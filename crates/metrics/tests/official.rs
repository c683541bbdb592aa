//! Scores equal those of the published scripts: exact match the same, F1 to 1e-9.
//!
//! `SPANWISE_METRIC_CASES` names a folder of further answers, files as in `tests/official`.

use std::fmt;
use std::path::PathBuf;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use spanwise_artifact::settings::{Metric, MlqaLanguage};
use spanwise_metrics::squad2::{Answered, best_thresholds};
use spanwise_metrics::{score, squad2};

#[derive(Deserialize)]
struct Case {
    prediction: String,
    references: Vec<String>,
    language: Option<MlqaLanguage>,
    exact: f64,
    f1: f64,
}

/// Compares the scores of an answer a line with those that the line has.
fn check(metric: Metric, cases: &str) {
    let mut count = 0;
    for line in cases.lines() {
        let case: Case = serde_json::from_str(line).expect("a case a line");
        let references: Vec<&str> = case.references.iter().map(String::as_str).collect();
        let language = case.language.unwrap_or(MlqaLanguage::English);
        let found = score(metric, language, &case.prediction, &references);
        assert_eq!(found.exact_match, case.exact, "{line}");
        let f1 = found.f1.expect("the metric has an F1");
        assert!((f1 - case.f1).abs() < 1e-9, "{f1}: {line}");
        count += 1;
    }
    assert!(count > 0, "no case");
}

#[test]
fn squad_scores_equal_the_scripts() {
    check(Metric::Squad, include_str!("official/squad.jsonl"));
}

#[test]
fn cmrc_scores_equal_the_scripts() {
    check(Metric::Cmrc, include_str!("official/cmrc.jsonl"));
}

#[test]
fn mlqa_scores_equal_the_scripts() {
    check(Metric::Mlqa, include_str!("official/mlqa.jsonl"));
}

#[test]
fn korquad_scores_equal_the_scripts() {
    check(Metric::Korquad, include_str!("official/korquad.jsonl"));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a crate of arithmetic has no use for fs_err"
)]
fn further_scores_equal_the_scripts() {
    let Some(folder) = std::env::var_os("SPANWISE_METRIC_CASES").map(PathBuf::from) else {
        return;
    };
    let mut files = 0;
    for metric in Metric::ALL {
        let path = folder.join(format!("{}.jsonl", metric.name()));
        if path.exists() {
            check(metric, &std::fs::read_to_string(path).expect("text"));
            files += 1;
        }
    }
    assert!(
        files > 0,
        "SPANWISE_METRIC_CASES names no folder with files of cases"
    );
}

/// The entries of an object, in the file's order.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: DeserializeOwned> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(Vec<(String, V)>);

        impl<'de, V: DeserializeOwned> Visitor<'de> for InOrder<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Entries<V>, A::Error> {
                while let Some(entry) = map.next_entry()? {
                    self.0.push(entry);
                }
                Ok(Entries(self.0))
            }
        }

        deserializer.deserialize_map(InOrder(Vec::new()))
    }
}

#[derive(Deserialize)]
struct Data {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: String,
    answers: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    text: String,
}

#[test]
fn squad2_scores_and_thresholds_equal_the_scripts() {
    let data: Data = serde_json::from_str(include_str!("official/squad2-data.json")).unwrap();
    let paragraphs = data.data.iter().flat_map(|article| &article.paragraphs);
    let questions: Vec<&Question> = paragraphs.flat_map(|paragraph| &paragraph.qas).collect();
    let Entries::<String>(predictions) =
        serde_json::from_str(include_str!("official/squad2-predictions.json")).unwrap();
    let Entries::<f64>(probabilities) =
        serde_json::from_str(include_str!("official/squad2-no-answer-probability.json")).unwrap();
    // In the order of the probabilities.
    let answered = probabilities.iter().map(|(id, probability)| {
        let question = questions
            .iter()
            .find(|question| question.id == *id)
            .unwrap();
        let (_, answer) = predictions.iter().find(|(own, _)| own == id).unwrap();
        let references = question.answers.iter();
        let references: Vec<&str> = references.map(|reference| &*reference.text).collect();
        Answered {
            exact_match: squad2::exact_match(answer, &references),
            f1: squad2::f1(answer, &references),
            has_answer: !references.is_empty(),
            is_empty: answer.is_empty(),
            no_answer_probability: *probability,
        }
    });
    let answered: Vec<Answered> = answered.collect();
    let Entries::<Entries<f64>>(expected) =
        serde_json::from_str(include_str!("official/squad2-expected.json")).unwrap();
    assert_eq!(expected.len(), 2);
    for (threshold, Entries(expected)) in expected {
        let threshold: f64 = threshold.parse().unwrap();
        let (best_exact, best_f1) = best_thresholds(answered.clone());
        let of = |questions: &[&Answered], score: fn(Answered) -> f64| {
            let at = questions
                .iter()
                .map(|question| score(question.at_threshold(threshold)));
            100.0 * at.sum::<f64>() / questions.len() as f64
        };
        let exact = |question: Answered| question.exact_match;
        let f1 = |question: Answered| question.f1;
        let (has, no): (Vec<_>, Vec<_>) = answered.iter().partition(|one| one.has_answer);
        let all: Vec<_> = answered.iter().collect();
        for (key, expected) in expected {
            let found = match &*key {
                "exact" => of(&all, exact),
                "f1" => of(&all, f1),
                "total" => all.len() as f64,
                "HasAns_exact" => of(&has, exact),
                "HasAns_f1" => of(&has, f1),
                "HasAns_total" => has.len() as f64,
                "NoAns_exact" => of(&no, exact),
                "NoAns_f1" => of(&no, f1),
                "NoAns_total" => no.len() as f64,
                "best_exact" => 100.0 * best_exact.sum / all.len() as f64,
                "best_exact_thresh" => best_exact.threshold,
                "best_f1" => 100.0 * best_f1.sum / all.len() as f64,
                "best_f1_thresh" => best_f1.threshold,
                other => panic!("{other}"),
            };
            assert!(
                (found - expected).abs() < 1e-9,
                "{key} at {threshold}: {found}"
            );
        }
    }
}
