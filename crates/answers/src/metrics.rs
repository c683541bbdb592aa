//! Answers scored by every definition that is reported.

use spanwise_artifact::answers::{QuestionMetrics, SplitMetrics};
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

/// Returns the sums over labelled answers as their means. What is fitted is left empty. `None`
/// where there is no labelled answer: nothing is measured.
pub fn means(sums: SplitMetrics) -> Option<SplitMetrics> {
    if sums.questions == 0 {
        return None;
    }
    let count = sums.questions as f64;
    let share = sums.task_exact_match / count;
    Some(SplitMetrics {
        task_exact_match: share,
        task_exact_match_standard_error: (share * (1.0 - share) / count).sqrt(),
        any_reference_exact_match: sums.any_reference_exact_match / count,
        cmrc_exact_match: sums.cmrc_exact_match / count,
        cmrc_f1: sums.cmrc_f1 / count,
        ..sums
    })
}

/// Adds an answer to the sums that become [`means`]; one without references does not count.
pub fn add(sums: &mut SplitMetrics, metrics: Option<&QuestionMetrics>, is_empty: bool) {
    let Some(metrics) = metrics else {
        sums.unlabelled += 1;
        return;
    };
    sums.questions += 1;
    sums.empty += usize::from(is_empty);
    sums.task_exact_match += metrics.task_exact_match;
    sums.any_reference_exact_match += metrics.any_reference_exact_match;
    sums.cmrc_exact_match += metrics.cmrc_exact_match;
    sums.cmrc_f1 += metrics.cmrc_f1;
}

#[cfg(test)]
mod tests {
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
        let means_of = |answers: &[(&str, &[&str])]| {
            let mut sums = SplitMetrics::default();
            for (answer, references) in answers {
                let metrics = of_answer(answer, references);
                add(&mut sums, metrics.as_ref(), answer.is_empty());
            }
            means(sums)
        };
        let metrics = means_of(&[("a", &["a"]), ("b", &["c", "b"]), ("", &["d"]), ("x", &[])]);
        let metrics = metrics.unwrap();
        assert_eq!(
            (metrics.questions, metrics.empty, metrics.unlabelled),
            (3, 1, 1)
        );
        assert!((metrics.task_exact_match - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.any_reference_exact_match - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.task_exact_match_standard_error - (2.0f64 / 27.0).sqrt()).abs() < 1e-12);
        assert_eq!(means_of(&[]), None);
        assert_eq!(means_of(&[("x", &[])]), None, "nothing is measured");
    }

    #[test]
    fn the_headline_takes_the_best_of_all_references() {
        // The first reference is not the answer; two of the others are.
        let metrics = of_answer("1926年", &["1926", "1926年", "1926年"]).unwrap();
        assert_eq!(metrics.task_exact_match, 1.0);
        assert_eq!(metrics.any_reference_exact_match, 1.0);
    }
}
