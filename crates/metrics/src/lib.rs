//! Exact match and F1 by published definitions, equal to the published scripts. Answers are measured
//! and fitted by them; models are not, so that another definition makes none stale.
//!
//! The task's own exact match is in `spanwise-spans`: training measures with it, too.
//!
//! - [`score`]: an answer by any [`Metric`]
//! - [`score_of_unanswerable`]: an answer to a question that has none
//! - [`any_reference_exact_match`]: the exact string
//! - [`squad`]: SQuAD 1.1
//! - [`squad2`]: SQuAD 2.0, with questions that have no answer, and its thresholds
//! - [`cmrc`]: CMRC 2018, with which DRCD is scored, too
//! - [`mlqa`]: MLQA, in seven languages
//! - [`korquad`]: KorQuAD 1.0
//!
//! Every function returns the best over a question's references, 0 without any. The scripts are
//! written in Python, whose classes of characters differ from Rust's; they stand in one file.

#![warn(missing_docs)]

mod bag;
pub mod cmrc;
pub mod korquad;
pub mod mlqa;
mod python;
pub mod squad;
pub mod squad2;
mod treebank;

use spanwise_artifact::settings::{Metric, MlqaLanguage};
use spanwise_spans::task_exact_match;

/// The scores of one answer, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Exact match.
    pub exact_match: f64,
    /// F1; `None` where the metric has none.
    pub f1: Option<f64>,
}

/// Scores an answer by a metric, the best over the references. The language counts for MLQA alone.
///
/// Without references, SQuAD 2.0 takes a question for one that has no answer; the other scripts
/// know no such question, and the scores are 0.
pub fn score(metric: Metric, language: MlqaLanguage, answer: &str, references: &[&str]) -> Score {
    let (exact_match, f1) = match metric {
        Metric::Task => {
            let exact_match = task_exact_match(answer, references.iter().copied());
            return Score {
                exact_match: f64::from(exact_match),
                f1: None,
            };
        }
        Metric::Squad => squad::scores(answer, references),
        Metric::Squad2 => squad2::scores(answer, references),
        Metric::Cmrc => (
            cmrc::exact_match(answer, references),
            cmrc::f1(answer, references),
        ),
        Metric::Mlqa => mlqa::scores(language, answer, references),
        Metric::Korquad => korquad::scores(answer, references),
    };
    Score {
        exact_match,
        f1: Some(f1),
    }
}

/// Scores an answer to a question that is known to have none: 1 where it is empty. SQuAD 2.0's script
/// takes an answer that normalises to nothing for an empty one; the others know no such question.
pub fn score_of_unanswerable(metric: Metric, answer: &str) -> Score {
    let right = match metric {
        Metric::Squad2 => squad2::exact_match(answer, &[]),
        _ => f64::from(answer.is_empty()),
    };
    Score {
        exact_match: right,
        f1: (metric != Metric::Task).then_some(right),
    }
}

/// Returns 1 where an answer equals a reference, character by character, and 0 elsewhere.
pub fn any_reference_exact_match(answer: &str, references: &[&str]) -> f64 {
    f64::from(references.contains(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_reference_counts_and_nothing_is_normalised() {
        fn check(answer: &str, references: &[&str], expected: f64) {
            assert_eq!(any_reference_exact_match(answer, references), expected);
        }
        check("李白", &["杜甫", "李白"], 1.0);
        check("1,234", &["1234"], 0.0);
        check("李白", &[], 0.0);
    }

    #[test]
    fn each_metric_scores_by_its_own_definition() {
        fn check(metric: Metric, answer: &str, reference: &str, exact_match: f64, f1: Option<f64>) {
            let found = score(metric, MlqaLanguage::English, answer, &[reference]);
            assert_eq!(found, Score { exact_match, f1 }, "{metric:?}");
        }
        check(Metric::Task, "1,234", "1234", 1.0, None);
        check(Metric::Task, "The cat", "cat", 0.0, None);
        check(Metric::Squad, "The cat.", "cat", 1.0, Some(1.0));
        check(Metric::Squad, "", "", 1.0, Some(0.0));
        check(Metric::Squad2, "", "the", 1.0, Some(1.0));
        check(Metric::Cmrc, "《貓》", "貓", 1.0, Some(1.0));
        check(Metric::Mlqa, "the «cat»", "cat", 1.0, Some(1.0));
        check(Metric::Korquad, "〈고양이〉", "고양이", 1.0, Some(1.0));
        check(Metric::Korquad, "고양", "고양이", 0.0, Some(0.8));
    }

    #[test]
    fn an_empty_answer_is_right_where_there_is_none() {
        for metric in Metric::ALL {
            let exact = |answer| score_of_unanswerable(metric, answer).exact_match;
            let normalised = f64::from(metric == Metric::Squad2);
            assert_eq!(
                [exact(""), exact("The."), exact("cat")],
                [1.0, normalised, 0.0],
                "{metric:?}"
            );
        }
    }

    #[test]
    fn without_references_only_squad2_expects_an_empty_answer() {
        for metric in Metric::ALL {
            let expected = f64::from(metric == Metric::Squad2);
            let found = score(metric, MlqaLanguage::English, "", &[]);
            assert_eq!(found.exact_match, expected, "{metric:?}");
            assert_eq!(
                found.f1,
                (metric != Metric::Task).then_some(expected),
                "{metric:?}"
            );
        }
    }
}
