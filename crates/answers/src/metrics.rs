//! Answers scored by every definition that is reported, and the one that everything is fitted to.

use spanwise_artifact::answers::{PartMetrics, QuestionMetrics, SplitMetrics};
use spanwise_artifact::profile::{Profile, Script};
use spanwise_artifact::settings::{AnswersTable, Metric, MlqaLanguage};
use spanwise_artifact::{Question, Reference};
use spanwise_metrics::{Score, any_reference_exact_match, cmrc, score, score_of_unanswerable};
use spanwise_spans::task_exact_match;

/// The metric in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headline {
    /// The definition.
    pub metric: Metric,
    /// The language that MLQA's definition is of.
    pub language: MlqaLanguage,
}

/// Returns the metric that suits data where none is named; `unanswerable`: whether questions are.
pub fn suited(profile: &Profile, unanswerable: bool) -> Metric {
    match profile.script() {
        _ if profile.course_layout => Metric::Task,
        Some(Script::Han) => Metric::Cmrc,
        Some(Script::Hangul) => Metric::Korquad,
        Some(Script::Arabic | Script::Devanagari) => Metric::Mlqa,
        _ if unanswerable => Metric::Squad2,
        _ => Metric::Squad,
    }
}

/// Returns the language for MLQA's metric that the writing system says; `None` where it says none.
pub fn mlqa_language(profile: &Profile) -> Option<MlqaLanguage> {
    match profile.script()? {
        Script::Arabic => Some(MlqaLanguage::Arabic),
        Script::Devanagari => Some(MlqaLanguage::Hindi),
        Script::Han => Some(MlqaLanguage::Chinese),
        Script::Hangul | Script::Kana | Script::Other => None,
    }
}

impl Headline {
    /// Returns the metric that the settings name, or the one that suits the data; `unanswerable`:
    /// whether questions of train or dev are.
    pub fn of(settings: &AnswersTable, profile: &Profile, unanswerable: bool) -> Self {
        let suited = || suited(profile, unanswerable);
        let language = settings.language.or_else(|| mlqa_language(profile));
        Self {
            metric: settings.metric.unwrap_or_else(suited),
            language: language.unwrap_or(MlqaLanguage::English),
        }
    }

    /// Its name in reports.
    pub fn title(self) -> String {
        self.sums().title()
    }

    /// Returns the metrics of no question yet.
    pub fn sums(self) -> SplitMetrics {
        let language = (self.metric == Metric::Mlqa).then_some(self.language);
        SplitMetrics::of(self.metric, language)
    }

    /// Scores an answer; 0 to an unlabelled question.
    pub fn score(self, answer: &str, question: &Question) -> Score {
        if question.reference == Reference::Unanswerable {
            return score_of_unanswerable(self.metric, answer);
        }
        let references = question.answers().iter().map(|answer| &*answer.text);
        let references: Vec<&str> = references.collect();
        if references.is_empty() {
            return Score {
                exact_match: 0.0,
                f1: None,
            };
        }
        score(self.metric, self.language, answer, &references)
    }

    /// Returns the scores of an answer by every definition; `None` for an unlabelled question.
    pub fn of_answer(self, answer: &str, question: &Question) -> Option<QuestionMetrics> {
        let Score { exact_match, f1 } = self.score(answer, question);
        let references = question.answers().iter().map(|answer| &*answer.text);
        let references: Vec<&str> = references.collect();
        match question.reference {
            Reference::Unknown => None,
            Reference::Unanswerable => {
                let is_empty = f64::from(answer.is_empty());
                Some(QuestionMetrics {
                    exact_match,
                    f1,
                    task_exact_match: is_empty,
                    any_reference_exact_match: is_empty,
                    cmrc_exact_match: is_empty,
                    cmrc_f1: is_empty,
                })
            }
            Reference::Spans(_) => Some(QuestionMetrics {
                exact_match,
                f1,
                task_exact_match: f64::from(task_exact_match(answer, references.iter().copied())),
                any_reference_exact_match: any_reference_exact_match(answer, &references),
                cmrc_exact_match: cmrc::exact_match(answer, &references),
                cmrc_f1: cmrc::f1(answer, &references),
            }),
        }
    }
}

/// Returns the sums over labelled answers as their means. What is fitted is left as it is. `None`
/// where there is no labelled answer: nothing is measured.
pub fn means(sums: SplitMetrics) -> Option<SplitMetrics> {
    if sums.questions == 0 {
        return None;
    }
    let count = sums.questions as f64;
    let share = sums.exact_match / count;
    let part = |part: PartMetrics| PartMetrics {
        exact_match: part.exact_match / part.questions as f64,
        f1: part.f1.map(|f1| f1 / part.questions as f64),
        ..part
    };
    let parts = sums.by_answerability;
    let both = parts.filter(|parts| parts.iter().all(|part| part.questions > 0));
    Some(SplitMetrics {
        exact_match: share,
        exact_match_standard_error: (share > 0.0 && share < 1.0)
            .then(|| (share * (1.0 - share) / count).sqrt()),
        f1: sums.f1.map(|f1| f1 / count),
        by_answerability: both.map(|parts| parts.map(part)),
        task_exact_match: sums.task_exact_match / count,
        any_reference_exact_match: sums.any_reference_exact_match / count,
        cmrc_exact_match: sums.cmrc_exact_match / count,
        cmrc_f1: sums.cmrc_f1 / count,
        ..sums
    })
}

/// Adds an answer to the sums that become [`means`]; one to an unlabelled question does not count.
pub fn add(
    sums: &mut SplitMetrics,
    metrics: Option<&QuestionMetrics>,
    is_unanswerable: bool,
    is_empty: bool,
) {
    let Some(metrics) = metrics else {
        sums.unlabelled += 1;
        return;
    };
    let parts = sums.by_answerability.get_or_insert_default();
    let part = &mut parts[usize::from(is_unanswerable)];
    part.questions += 1;
    part.exact_match += metrics.exact_match;
    sums.questions += 1;
    sums.exact_match += metrics.exact_match;
    if let Some(f1) = metrics.f1 {
        *sums.f1.get_or_insert_default() += f1;
        *part.f1.get_or_insert_default() += f1;
    }
    sums.empty += usize::from(is_empty);
    sums.task_exact_match += metrics.task_exact_match;
    sums.any_reference_exact_match += metrics.any_reference_exact_match;
    sums.cmrc_exact_match += metrics.cmrc_exact_match;
    sums.cmrc_f1 += metrics.cmrc_f1;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use spanwise_artifact::profile::SplitProfile;
    use spanwise_artifact::{Answer, Split};

    use super::*;
    use crate::testing::TASK;

    fn question(reference: Reference) -> Question {
        Question {
            id: String::new(),
            paragraph: 0,
            text: String::new(),
            reference,
        }
    }

    fn labelled(references: &[&str]) -> Question {
        let answers = references.iter().map(|text| Answer {
            text: (*text).to_owned(),
            start: 0,
        });
        question(Reference::Spans(answers.collect()))
    }

    #[test]
    fn every_definition_takes_the_best_over_the_references() {
        let of_answer = |answer, references| TASK.of_answer(answer, &labelled(references)).unwrap();
        let metrics = of_answer("1,234", &["李白", "1234"]);
        assert_eq!(metrics.task_exact_match, 1.0);
        assert_eq!(metrics.exact_match, 1.0);
        assert_eq!(metrics.any_reference_exact_match, 0.0);
        assert_eq!(of_answer("李白", &["杜甫", "李白"]).cmrc_f1, 1.0);
        let unlabelled = question(Reference::Unknown);
        assert_eq!(TASK.of_answer("李白", &unlabelled), None);
        // The first reference is not the answer; two of the others are.
        let metrics = of_answer("1926年", &["1926", "1926年", "1926年"]);
        assert_eq!((metrics.exact_match, metrics.f1), (1.0, None));
    }

    #[test]
    fn an_empty_answer_is_right_where_there_is_none() {
        let unanswerable = question(Reference::Unanswerable);
        for metric in Metric::ALL {
            let headline = Headline {
                metric,
                language: MlqaLanguage::Chinese,
            };
            for (answer, expected) in [("", 1.0), ("。", 0.0)] {
                let metrics = headline.of_answer(answer, &unanswerable).unwrap();
                assert_eq!(metrics.exact_match, expected, "{metric:?} {answer}");
                assert_eq!(metrics.f1.unwrap_or(expected), expected, "{metric:?}");
                assert_eq!(
                    (metrics.task_exact_match, metrics.cmrc_f1),
                    (expected, expected)
                );
            }
        }
    }

    #[test]
    fn metrics_are_means_over_labelled_questions() {
        let means_of = |answers: &[(&str, Question)]| {
            let mut sums = TASK.sums();
            for (answer, question) in answers {
                let metrics = TASK.of_answer(answer, question);
                let is_unanswerable = question.reference == Reference::Unanswerable;
                add(
                    &mut sums,
                    metrics.as_ref(),
                    is_unanswerable,
                    answer.is_empty(),
                );
            }
            means(sums)
        };
        let spans = [
            ("a", labelled(&["a"])),
            ("b", labelled(&["c", "b"])),
            ("", labelled(&["d"])),
            ("x", question(Reference::Unknown)),
        ];
        let metrics = means_of(&spans).unwrap();
        assert_eq!(
            (metrics.questions, metrics.empty, metrics.unlabelled),
            (3, 1, 1)
        );
        assert!((metrics.exact_match - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.any_reference_exact_match - 2.0 / 3.0).abs() < 1e-12);
        let error = metrics.exact_match_standard_error.unwrap();
        assert!((error - (2.0f64 / 27.0).sqrt()).abs() < 1e-12);
        assert_eq!(metrics.by_answerability, None);
        assert_eq!(means_of(&[]), None);
        assert_eq!(means_of(&spans[3..]), None, "nothing is measured");

        let [a, b, c, _] = spans;
        let none = question(Reference::Unanswerable);
        let metrics = means_of(&[a, b, c, ("", none.clone()), ("x", none)]).unwrap();
        assert!((metrics.exact_match - 3.0 / 5.0).abs() < 1e-12);
        let [has_answer, no_answer] = metrics.by_answerability.unwrap();
        assert_eq!((has_answer.questions, no_answer.questions), (3, 2));
        assert!((has_answer.exact_match - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(no_answer.exact_match, 0.5);
    }

    #[test]
    fn the_metric_is_the_one_that_suits_the_data_or_is_named() {
        let check = |script, course_layout, unanswerable, expected: &str| {
            let split = SplitProfile {
                letters: BTreeMap::from([(script, 9)]),
                ..SplitProfile::default()
            };
            let profile = Profile {
                course_layout,
                splits: BTreeMap::from([(Split::Dev, split)]),
            };
            let headline = Headline::of(&AnswersTable::default(), &profile, unanswerable);
            assert_eq!(headline.title(), expected);
            let settings = AnswersTable {
                metric: Some(Metric::Mlqa),
                language: Some(MlqaLanguage::German),
                ..AnswersTable::default()
            };
            let named = Headline::of(&settings, &profile, unanswerable);
            assert_eq!(named.title(), "MLQA (de)");
        };
        check(Script::Han, true, true, "task");
        check(Script::Han, false, true, "CMRC");
        check(Script::Hangul, false, false, "KorQuAD");
        check(Script::Arabic, false, false, "MLQA (ar)");
        check(Script::Devanagari, false, false, "MLQA (hi)");
        check(Script::Other, false, false, "SQuAD");
        check(Script::Other, false, true, "SQuAD 2.0");
    }
}
