//! Answers scored by every definition that is reported.

use spanwise_artifact::answers::{AnswerRecord, QuestionMetrics, SplitMetrics};
use spanwise_metrics::{any_reference_exact_match, cmrc};
use spanwise_spans::task_exact_match;

/// Returns the scores of an answer with these references; `None` without any.
pub fn of_answer(answer: &str, references: &[&str]) -> Option<QuestionMetrics> {
    (!references.is_empty()).then(|| QuestionMetrics {
        task_exact_match: f64::from(task_exact_match(answer, references.iter().copied())),
        any_reference_exact_match: any_reference_exact_match(answer, references),
        cmrc_exact_match: cmrc::exact_match(answer, references),
        cmrc_f1: cmrc::f1(answer, references),
    })
}

/// Returns the means over labelled answers; unlabelled ones do not count. What is fitted is left
/// empty.
pub fn of_split<'a>(records: impl IntoIterator<Item = &'a AnswerRecord>) -> SplitMetrics {
    let mut sums = SplitMetrics::default();
    for record in records {
        let Some(metrics) = record.metrics else {
            continue;
        };
        sums.questions += 1;
        sums.empty += usize::from(record.answer.is_empty());
        sums.task_exact_match += metrics.task_exact_match;
        sums.any_reference_exact_match += metrics.any_reference_exact_match;
        sums.cmrc_exact_match += metrics.cmrc_exact_match;
        sums.cmrc_f1 += metrics.cmrc_f1;
    }
    let count = sums.questions.max(1) as f64;
    let share = sums.task_exact_match / count;
    SplitMetrics {
        task_exact_match: share,
        task_exact_match_standard_error: (share * (1.0 - share) / count).sqrt(),
        any_reference_exact_match: sums.any_reference_exact_match / count,
        cmrc_exact_match: sums.cmrc_exact_match / count,
        cmrc_f1: sums.cmrc_f1 / count,
        ..sums
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::Split;

    use super::*;

    #[test]
    fn every_definition_takes_the_best_over_the_references() {
        let metrics = of_answer("1,234", &["李白", "1234"]).unwrap();
        assert_eq!(metrics.task_exact_match, 1.0);
        assert_eq!(metrics.any_reference_exact_match, 0.0);
        assert_eq!(of_answer("李白", &["杜甫", "李白"]).unwrap().cmrc_f1, 1.0);
        assert_eq!(of_answer("李白", &[]), None);
    }

    #[test]
    fn metrics_are_means_over_labelled_questions() {
        let record = |(answer, references): (&str, &[&str])| AnswerRecord {
            split: Split::Dev,
            id: String::new(),
            question: String::new(),
            answer: answer.to_owned(),
            references: Vec::new(),
            metrics: of_answer(answer, references),
            candidates: Vec::new(),
        };
        let answers: [(&str, &[&str]); 4] =
            [("a", &["a"]), ("b", &["c", "b"]), ("", &["d"]), ("x", &[])];
        let metrics = of_split(&answers.map(record));
        assert_eq!((metrics.questions, metrics.empty), (3, 1));
        assert!((metrics.task_exact_match - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.any_reference_exact_match - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.task_exact_match_standard_error - (2.0f64 / 27.0).sqrt()).abs() < 1e-12);
        assert_eq!(of_split([]), SplitMetrics::default());
    }
}
