//! Made answers against what the official scripts return for them: one JSON object a line with
//! `prediction`, `references`, `exact` and `f1`. `SPANWISE_METRIC_CASES` names the folder.

use std::path::PathBuf;

use serde::Deserialize;
use spanwise_metrics::cmrc;

#[derive(Deserialize)]
struct Case {
    prediction: String,
    references: Vec<String>,
    exact: f64,
    f1: f64,
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a crate of arithmetic has no use for fs_err"
)]
fn cmrc_scores_equal_the_scripts() {
    let Some(folder) = std::env::var_os("SPANWISE_METRIC_CASES").map(PathBuf::from) else {
        eprintln!("skipped: SPANWISE_METRIC_CASES names no folder with cmrc.jsonl");
        return;
    };
    let text = std::fs::read_to_string(folder.join("cmrc.jsonl")).expect("cmrc.jsonl");
    let mut count = 0;
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).expect("a case a line");
        let references: Vec<&str> = case.references.iter().map(String::as_str).collect();
        let exact = cmrc::exact_match(&case.prediction, &references);
        let f1 = cmrc::f1(&case.prediction, &references);
        assert_eq!(exact, case.exact, "{line}");
        assert!((f1 - case.f1).abs() < 1e-9, "{f1}: {line}");
        count += 1;
    }
    assert!(count > 0, "no case");
}
