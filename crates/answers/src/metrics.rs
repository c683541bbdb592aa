//! The three rulers for answers.
//!
//! 1. task exact match: one reference, ASCII commas deleted on both sides, nothing else normalised
//! 2. any-reference exact match: the exact string against any reference
//! 3. CMRC exact match and F1 (Cui et al., 2019): lower-cased, a list of punctuation deleted, best over
//!    the references; F1 over the longest common substring

use spanwise_artifact::answers::{QuestionMetrics, SplitMetrics};

/// The scores of an answer with these references; `None` without any.
pub fn of_answer(answer: &str, references: &[&str]) -> Option<QuestionMetrics> {
    let first = references.first()?;
    let best = |metric: fn(&str, &str) -> f64| {
        let scores = references.iter().map(|reference| metric(answer, reference));
        scores.fold(0.0, f64::max)
    };
    Some(QuestionMetrics {
        task_exact_match: task_exact_match(answer, first),
        any_reference_exact_match: best(|answer, reference| f64::from(answer == reference)),
        cmrc_exact_match: best(cmrc_exact_match),
        cmrc_f1: best(cmrc_f1),
    })
}

/// The means over answers with their scores; those without a reference have none and do not count.
pub fn of_split<'a>(
    answers: impl IntoIterator<Item = (&'a str, Option<QuestionMetrics>)>,
) -> SplitMetrics {
    let mut sums = SplitMetrics::default();
    for (answer, metrics) in answers {
        let Some(metrics) = metrics else {
            continue;
        };
        sums.questions += 1;
        sums.empty += usize::from(answer.is_empty());
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

/// 1 where the strings are equal without their ASCII commas, which the course's grader deletes.
pub fn task_exact_match(answer: &str, reference: &str) -> f64 {
    f64::from(answer.replace(',', "") == reference.replace(',', ""))
}

/// What CMRC's evaluation deletes; the list is the published one, however incomplete.
const PUNCTUATION: &str = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』";

/// Lower-cased, stripped, without the listed punctuation.
fn cmrc_normalise(text: &str) -> String {
    text.to_lowercase()
        .trim()
        .chars()
        .filter(|&c| !PUNCTUATION.contains(c))
        .collect()
}

/// 1 where the normalised strings are equal.
pub fn cmrc_exact_match(answer: &str, reference: &str) -> f64 {
    f64::from(cmrc_normalise(answer) == cmrc_normalise(reference))
}

/// F1 of the longest common substring, in CMRC's units: a Chinese character is one, and so is a run of
/// anything else between spaces and punctuation.
pub fn cmrc_f1(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (cmrc_units(answer), cmrc_units(reference));
    let common = longest_common_substring(&answer, &reference);
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (
        common as f64 / answer.len() as f64,
        common as f64 / reference.len() as f64,
    );
    2.0 * precision * recall / (precision + recall)
}

fn cmrc_units(text: &str) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in text.to_lowercase().chars() {
        let kept = !PUNCTUATION.contains(c) && !c.is_whitespace();
        let word = kept && !('\u{4e00}'..='\u{9fa5}').contains(&c);
        match units.last_mut() {
            Some(last) if word && in_word => last.push(c),
            _ if kept => units.push(c.to_string()),
            _ => {}
        }
        in_word = word;
    }
    units
}

fn longest_common_substring(a: &[String], b: &[String]) -> usize {
    let mut longest = 0;
    let mut previous = vec![0usize; b.len() + 1];
    for left in a {
        let mut current = vec![0usize; b.len() + 1];
        for (place, right) in b.iter().enumerate() {
            if left == right {
                current[place + 1] = previous[place] + 1;
                longest = longest.max(current[place + 1]);
            }
        }
        previous = current;
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn task_ruler_deletes_commas_and_nothing_else() {
        assert_eq!(task_exact_match("1,234人", "1234人"), 1.0);
        assert_eq!(task_exact_match("1，234人", "1234人"), 0.0);
        assert_eq!(task_exact_match("李白。", "李白"), 0.0);
        assert_eq!(task_exact_match(" 李白", "李白"), 0.0);
        assert_eq!(task_exact_match("A", "a"), 0.0);
    }

    #[test]
    fn cmrc_ruler_forgives_case_and_punctuation() {
        assert_eq!(cmrc_exact_match("《Hello World》", "hello world"), 1.0);
        assert_eq!(cmrc_exact_match("李白", "杜甫"), 0.0);
        assert_eq!(cmrc_f1("詩人李白", "李白"), 2.0 * 0.5 / 1.5);
        assert_eq!(cmrc_f1("NBA總冠軍", "nba"), 2.0 * 0.25 / 1.25);
        assert_eq!(cmrc_f1("", "李白"), 0.0);
        assert_eq!(cmrc_f1("。", "李白"), 0.0);
    }

    #[test]
    fn metrics_are_shares_of_labelled_questions() {
        let answers = [
            ("a", vec!["a"]),
            ("b", vec!["c", "b"]),
            ("", vec!["d"]),
            ("x", vec![]),
        ];
        let marked = answers.map(|(answer, references)| (answer, of_answer(answer, &references)));
        let metrics = of_split(marked);
        assert_eq!((metrics.questions, metrics.empty), (3, 1));
        assert!(
            (metrics.task_exact_match - 1.0 / 3.0).abs() < 1e-12,
            "one reference: the first"
        );
        assert!((metrics.any_reference_exact_match - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.task_exact_match_standard_error - (2.0f64 / 27.0).sqrt()).abs() < 1e-12);
        assert_eq!(of_split([]), SplitMetrics::default());
    }

    proptest! {
        #[test]
        fn a_string_equals_itself_on_every_ruler(text in "[a-zA-Z0-9一-十，。 ]{0,12}[一-十]") {
            prop_assert_eq!(task_exact_match(&text, &text), 1.0);
            prop_assert_eq!(cmrc_exact_match(&text, &text), 1.0);
            prop_assert_eq!(cmrc_f1(&text, &text), 1.0);
        }

        #[test]
        fn f1_is_symmetric_and_a_share(a in "[ab一-五]{0,8}", b in "[ab一-五]{0,8}") {
            let f1 = cmrc_f1(&a, &b);
            prop_assert!((0.0..=1.0).contains(&f1));
            prop_assert!((f1 - cmrc_f1(&b, &a)).abs() < 1e-12);
        }
    }
}
