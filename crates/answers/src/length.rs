//! Fitting the longest answer: weak models predict spans that are too long, and a limit cuts them
//! off.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use spanwise_artifact::answers::{Effect, FittedLength};
use spanwise_artifact::settings::LengthLimit;
use spanwise_spans::holdout;

use crate::decode::Decoder;
use crate::split::ScoredQuestion;

/// Parts of dev that are held out in turn.
const PARTS: usize = 5;

/// Tries every limit up to [`LengthLimit::LONGEST_FITTED`] on labelled questions and returns the
/// one under which most answers are exact; of several the longest.
///
/// It is applied unless limits that are fitted on parts of the questions lose on the others.
pub fn fit(dev: &[ScoredQuestion], decoder: Decoder) -> FittedLength {
    let exact = |limit| {
        let exact = dev
            .par_iter()
            .map(|question| answer(question, decoder, limit).1);
        exact.collect()
    };
    let exact: Vec<Vec<bool>> = (1..=LengthLimit::LONGEST_FITTED).map(exact).collect();
    let parts = holdout::parts(dev.iter().map(|scored| scored.question.paragraph), PARTS);
    let characters = best(&exact, |_| true);
    let held_out_gain = held_out_gain(&exact, &parts);
    FittedLength {
        characters,
        held_out_gain,
        effect: Effect {
            applied: held_out_gain >= 0.0,
            ..effect(dev, decoder, characters)
        },
    }
}

/// Returns the limit to apply, in characters: the fitted one, or the longest where fitting loses on
/// held-out parts.
pub fn applied(fitted: &FittedLength) -> usize {
    if fitted.effect.applied {
        fitted.characters
    } else {
        LengthLimit::LONGEST_FITTED
    }
}

/// Returns what a limit does in place of the longest that is tried, as if it were not applied.
pub fn effect(labelled: &[ScoredQuestion], decoder: Decoder, characters: usize) -> Effect {
    let mut effect = Effect::default();
    for question in labelled {
        let (before, was_exact) = answer(question, decoder, LengthLimit::LONGEST_FITTED);
        let (after, is_exact) = answer(question, decoder, characters);
        effect.count(before != after, was_exact, is_exact);
    }
    effect
}

/// Returns the answer under a limit, and whether it is exact.
fn answer(question: &ScoredQuestion, decoder: Decoder, limit: usize) -> (String, bool) {
    let decoder = Decoder {
        max_answer_length: limit,
        ..decoder
    };
    let text = decoder
        .best(question)
        .map_or_else(String::new, |best| best.text);
    let exact = question.is_exact(&text);
    (text, exact)
}

/// Returns the limit in characters under which most of the questions that count are answered
/// exactly; of several the longest. `exact`: `[limit - 1][question]`.
fn best(exact: &[Vec<bool>], counts: impl Fn(usize) -> bool) -> usize {
    let exact = (1..).zip(exact).map(|(limit, exact)| {
        let questions = exact.iter().enumerate();
        let exact = questions.filter(|&(question, &exact)| exact && counts(question));
        (exact.count(), limit)
    });
    exact.max().expect("there are limits").1
}

/// Returns the task exact match gained on held-out parts by limits that are fitted on the others,
/// over the longest. `exact` as in [`best`]; `parts` holds the part of every question.
fn held_out_gain(exact: &[Vec<bool>], parts: &[usize]) -> f64 {
    let longest = &exact[exact.len() - 1];
    let gain = (0..PARTS).map(|part| {
        let limit = best(exact, |question| parts[question] != part);
        let pairs = exact[limit - 1].iter().zip(longest).zip(parts);
        let held_out = pairs.filter(|(_, other)| **other == part);
        let gains = held_out.map(|((&new, &old), _)| f64::from(new) - f64::from(old));
        gains.sum::<f64>()
    });
    gain.sum::<f64>() / longest.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::scores::Scores;
    use spanwise_artifact::settings::AnswersTable;
    use spanwise_artifact::{Answer, Question};

    use super::*;

    const PARAGRAPH: &str = "甲乙丙丁戊己庚辛壬癸";

    /// A question about a paragraph of its own whose best span is `first..=last`, the next best the
    /// first `short` characters of it.
    fn question(
        [first, last, short]: [usize; 3],
        references: &[&str],
        paragraph: usize,
    ) -> (Question, Scores) {
        let mut scores = Scores::none(10);
        scores.start[first] = 1.0;
        scores.end[last] = 1.0;
        scores.end[first + short - 1] = 0.5;
        let answers = references.iter().map(|text| Answer {
            text: (*text).to_owned(),
            start: first,
        });
        let question = Question {
            id: String::new(),
            paragraph,
            text: String::new(),
            answers: answers.collect(),
        };
        (question, scores)
    }

    fn scored(questions: &[(Question, Scores)]) -> Vec<ScoredQuestion<'_>> {
        let scored = questions.iter().map(|(question, scores)| ScoredQuestion {
            question,
            paragraph: PARAGRAPH,
            scores: scores.view(),
            ranked: None,
        });
        scored.collect()
    }

    fn decoder() -> Decoder {
        Decoder::new(&AnswersTable::default())
    }

    #[test]
    fn the_limit_is_the_one_under_which_most_answers_are_exact() {
        let questions = [
            question([0, 8, 2], &["甲乙"], 0),
            question([1, 7, 3], &["乙", "乙丙丁"], 1),
            question([2, 6, 1], &["丙丁戊己庚"], 2),
        ];
        let dev = scored(&questions);
        // With 7 the second is too long, with 4 the third is cut.
        let fitted = fit(&dev, decoder());
        assert_eq!((fitted.characters, applied(&fitted)), (6, 6));
        // Without the first or the third question the others score highest with 6 too; without the
        // second, with 8, under which it is wrong.
        assert!((fitted.held_out_gain - 1.0 / 3.0).abs() < 1e-12);
        let expected = Effect {
            applied: true,
            changed: 2,
            fixed: 2,
            broken: 0,
        };
        assert_eq!(fitted.effect, expected);
        assert_eq!(effect(&dev, decoder(), 4).broken, 1);
        let longest = LengthLimit::LONGEST_FITTED;
        let best = |dev: &[ScoredQuestion]| fit(dev, decoder()).characters;
        assert_eq!(best(&dev[2..]), longest, "of several the longest");
        assert_eq!(best(&[]), longest, "of no question too");
    }

    #[test]
    fn a_limit_that_loses_on_held_out_parts_is_not_applied() {
        // Eight characters are right for the first two and wrong for the last. Without one of the
        // first, that is no better than forty; without the last it is, and the last is lost.
        let questions = [
            question([0, 8, 3], &["甲乙丙"], 0),
            question([0, 8, 3], &["甲乙丙"], 1),
            question([0, 8, 3], &["甲乙丙丁戊己庚辛壬"], 2),
        ];
        let fitted = fit(&scored(&questions), decoder());
        assert_eq!(applied(&fitted), LengthLimit::LONGEST_FITTED);
        assert_eq!((fitted.characters, fitted.effect.applied), (8, false));
        assert!((fitted.held_out_gain + 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn questions_about_one_paragraph_are_held_out_together() {
        // As above, but all about one paragraph: no part is left to lose on.
        let questions = [
            question([0, 8, 3], &["甲乙丙"], 0),
            question([0, 8, 3], &["甲乙丙"], 0),
            question([0, 8, 3], &["甲乙丙丁戊己庚辛壬"], 0),
        ];
        let fitted = fit(&scored(&questions), decoder());
        assert_eq!(fitted.held_out_gain, 0.0);
    }
}
