//! SQuAD 2.0's metrics (Rajpurkar et al., 2018, arXiv:1806.03822), as its script
//! `evaluate-v2.0.py` computes them.
//!
//! Texts are normalised as for [SQuAD 1.1](crate::squad). A question without an answer is answered
//! by one that normalises to nothing. A model that says how likely a question has no answer is also
//! measured with the probability above which its answer would best be taken back.

use crate::{bag, squad};

/// Returns 1 where the normalised answer equals a normalised reference, and 0 elsewhere. References
/// that normalise to nothing are none; without any, the answer must normalise to nothing, too.
pub fn exact_match(answer: &str, references: &[&str]) -> f64 {
    scores(answer, references).0
}

/// Returns F1 over words, the best over the references. Where either side has no word, it is 1 if
/// neither has.
pub fn f1(answer: &str, references: &[&str]) -> f64 {
    scores(answer, references).1
}

/// Returns exact match and F1.
pub(crate) fn scores(answer: &str, references: &[&str]) -> (f64, f64) {
    let answer = squad::words(answer);
    let references = references.iter().map(|reference| squad::words(reference));
    let references: Vec<_> = references.filter(|words| !words.is_empty()).collect();
    if references.is_empty() {
        let equal = f64::from(answer.is_empty());
        return (equal, equal);
    }
    let exact = f64::from(references.contains(&answer));
    let f1 = references.iter().map(|words| bag::f1(&answer, words));
    (exact, f1.fold(0.0, f64::max))
}

/// An answered question, with what decides whether its answer is better taken back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// Exact match of the answer, 0 or 1.
    pub exact_match: f64,
    /// F1 of the answer, 0 to 1.
    pub f1: f64,
    /// Whether the data has a reference for the question, whatever it normalises to.
    pub has_answer: bool,
    /// Whether the answer is the empty string, not normalised.
    pub is_empty: bool,
    /// How likely the question has no answer, as the model says.
    pub no_answer_probability: f64,
}

impl Answered {
    /// Returns the question with the scores that it has where an answer is taken back whose
    /// probability of no answer is above the threshold.
    #[must_use]
    pub fn at_threshold(self, threshold: f64) -> Self {
        if self.no_answer_probability > threshold {
            let right = f64::from(!self.has_answer);
            Self {
                exact_match: right,
                f1: right,
                ..self
            }
        } else {
            self
        }
    }
}

/// A threshold of the probability of no answer, and what answers score with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The sum of the questions' scores.
    pub sum: f64,
    /// The threshold.
    pub threshold: f64,
}

/// Returns the threshold with the best exact match, and the one with the best F1, of scores to
/// which no threshold is applied yet.
///
/// The script walks through the questions by their probability and looks at the scores after
/// each of them. So the order of questions with one probability counts: it is that of the file of
/// probabilities. Those that are not a number come last.
pub fn best_thresholds(mut questions: Vec<Answered>) -> (Best, Best) {
    let compare = |a: f64, b: f64| {
        let by_nan = a.is_nan().cmp(&b.is_nan());
        a.partial_cmp(&b).unwrap_or(by_nan)
    };
    questions.sort_by(|a, b| compare(a.no_answer_probability, b.no_answer_probability));
    let best = |score: fn(&Answered) -> f64| {
        // With a threshold below all probabilities, every answer is taken back.
        let unanswerable = questions.iter().filter(|question| !question.has_answer);
        let mut current = unanswerable.count() as f64;
        let (mut highest, mut threshold) = (current, 0.0);
        for question in &questions {
            current += match (question.has_answer, question.is_empty) {
                (true, _) => score(question),
                (false, true) => 0.0,
                (false, false) => -1.0,
            };
            if current > highest {
                (highest, threshold) = (current, question.no_answer_probability);
            }
        }
        Best {
            sum: highest,
            threshold,
        }
    };
    (
        best(|question| question.exact_match),
        best(|question| question.f1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_that_normalise_to_nothing_are_none() {
        fn check(answer: &str, references: &[&str], expected: (f64, f64)) {
            assert_eq!(
                scores(answer, references),
                expected,
                "{answer:?} {references:?}"
            );
        }
        check("", &[], (1.0, 1.0));
        check(" The. ", &[], (1.0, 1.0));
        check("cat", &[], (0.0, 0.0));
        check("", &["the", "!"], (1.0, 1.0));
        check("", &["the", "cat"], (0.0, 0.0));
        check("a cat", &["the", "cat"], (1.0, 1.0));
        check("black cat", &["cat"], (0.0, 2.0 / 3.0));
    }

    fn question(score: f64, has_answer: bool, is_empty: bool, probability: f64) -> Answered {
        Answered {
            exact_match: score,
            f1: score,
            has_answer,
            is_empty,
            no_answer_probability: probability,
        }
    }

    #[test]
    fn an_answer_above_the_threshold_is_taken_back() {
        fn check(has_answer: bool, probability: f64, expected: f64) {
            let found = question(0.5, has_answer, false, probability).at_threshold(0.5);
            assert_eq!(found.f1, expected, "{has_answer} {probability}");
        }
        check(true, 0.5, 0.5);
        check(true, 0.6, 0.0);
        check(false, 0.6, 1.0);
        check(true, f64::NAN, 0.5);
    }

    #[test]
    fn best_threshold() {
        fn check(questions: &[Answered], sum: f64, threshold: f64) {
            let (found, _) = best_thresholds(questions.to_vec());
            assert_eq!(found, Best { sum, threshold });
        }
        let right = question(1.0, true, false, 0.3);
        let wrong = question(0.0, false, false, 0.6);
        check(&[], 0.0, 0.0);
        check(&[wrong, right], 2.0, 0.3);
        check(&[wrong], 1.0, 0.0);
        // Both have one probability: the right one helps only where it is looked at first.
        let same = question(0.0, false, false, 0.3);
        check(&[right, same], 2.0, 0.3);
        check(&[same, right], 1.0, 0.0);
        // An empty answer to a question without one is right at every threshold.
        check(&[question(1.0, false, true, 0.1), right], 2.0, 0.3);
        check(&[question(0.0, false, false, f64::NAN), right], 2.0, 0.3);
    }
}
