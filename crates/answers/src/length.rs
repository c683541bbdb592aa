//! How long an answer may be: weak models run on behind the answer, and a limit makes them stop.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use spanwise_artifact::answers::{Effect, FittedLength};
use spanwise_artifact::scores::{ScoresView, Span};
use spanwise_artifact::settings::{AnswersTable, LengthLimit};

use crate::decode::decode;
use crate::metrics::task_exact_match;

/// A question to fit the limit on.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Of the paragraph's characters.
    pub scores: ScoresView<'a>,
    /// As [`decode`] takes them.
    pub ranked: Option<&'a [Span]>,
    /// The paragraph.
    pub paragraph: &'a str,
    /// The right answer.
    pub reference: &'a str,
}

/// Parts of the questions that are held out in turn.
const PARTS: usize = 5;

impl Known<'_> {
    /// The answer under a limit, and whether it is right.
    fn answer(&self, characters: usize, settings: &AnswersTable) -> (String, bool) {
        let settings = AnswersTable {
            max_answer_length: LengthLimit::Characters(characters),
            n_best_size: 1,
            ..settings.clone()
        };
        let best = decode(self.scores, self.ranked, self.paragraph, &settings)
            .into_iter()
            .next();
        let text = best.map_or_else(String::new, |best| best.text);
        let right = task_exact_match(&text, self.reference) == 1.0;
        (text, right)
    }
}

/// The best of all limits.
pub struct Limit {
    /// Under which most questions are answered right; of several the longest.
    characters: usize,
    /// As [`FittedLength::held_out_gain`].
    held_out_gain: f64,
}

impl Limit {
    /// Tries all limits on questions with a known answer.
    pub fn fit(known: &[Known], settings: &AnswersTable) -> Self {
        let right = |limit| {
            let right = known
                .par_iter()
                .map(|known| known.answer(limit, settings).1);
            right.collect()
        };
        let right: Vec<Vec<bool>> = (1..=LengthLimit::LONGEST_FITTED).map(right).collect();
        Self {
            characters: best(&right, |_| true),
            held_out_gain: held_out_gain(&right),
        }
    }

    fn is_applied(&self) -> bool {
        self.held_out_gain >= 0.0
    }

    /// What to apply, in characters: it, or the longest where fitting loses on the parts held out.
    pub fn to_apply(&self) -> usize {
        if self.is_applied() {
            self.characters
        } else {
            LengthLimit::LONGEST_FITTED
        }
    }

    /// It, and what it does to these questions.
    pub fn fitted(&self, known: &[Known], settings: &AnswersTable) -> FittedLength {
        FittedLength {
            characters: self.characters,
            held_out_gain: self.held_out_gain,
            effect: Effect {
                applied: self.is_applied(),
                ..effect(known, self.characters, settings)
            },
        }
    }
}

/// The limit in characters under which most of the questions that count are answered right; of several the longest.
/// `right`: `[limit - 1][question]`.
fn best(right: &[Vec<bool>], counts: impl Fn(usize) -> bool) -> usize {
    let right = (1..).zip(right).map(|(limit, right)| {
        let questions = right.iter().enumerate();
        let right = questions.filter(|&(question, &right)| right && counts(question));
        (right.count(), limit)
    });
    right.max().expect("there are limits").1
}

/// As [`FittedLength::held_out_gain`]; `right` as in [`best`].
fn held_out_gain(right: &[Vec<bool>]) -> f64 {
    let longest = &right[right.len() - 1];
    let gain = (0..PARTS).map(|part| {
        let limit = best(right, |question| question % PARTS != part);
        let pairs = right[limit - 1].iter().zip(longest);
        let gains = pairs.map(|(&new, &old)| f64::from(new) - f64::from(old));
        gains.skip(part).step_by(PARTS).sum::<f64>()
    });
    gain.sum::<f64>() / longest.len().max(1) as f64
}

/// What a limit does in place of the longest that is tried.
fn effect(known: &[Known], characters: usize, settings: &AnswersTable) -> Effect {
    let mut effect = Effect::default();
    for known in known {
        let (before, was_right) = known.answer(LengthLimit::LONGEST_FITTED, settings);
        let (after, is_right) = known.answer(characters, settings);
        effect.count(before != after, was_right, is_right);
    }
    effect
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::scores::Scores;

    use super::*;

    /// Scores whose best span is `first..=last`, the next best the first `short` characters of it.
    fn scores(characters: usize, first: usize, last: usize, short: usize) -> Scores {
        let mut scores = Scores::none(characters);
        scores.start[first] = 1.0;
        scores.end[last] = 1.0;
        scores.end[first + short - 1] = 0.5;
        scores
    }

    const PARAGRAPH: &str = "甲乙丙丁戊己庚辛壬癸";

    fn known<'a>(all: &'a [(Scores, &'static str)]) -> Vec<Known<'a>> {
        let known = all.iter().map(|(scores, reference)| Known {
            scores: scores.view(),
            ranked: None,
            paragraph: PARAGRAPH,
            reference,
        });
        known.collect()
    }

    #[test]
    fn the_limit_is_what_most_answers_are_right_under() {
        let all = [
            (scores(10, 0, 8, 2), "甲乙"),
            (scores(10, 1, 7, 3), "乙丙丁"),
            (scores(10, 2, 6, 1), "丙丁戊己庚"),
        ];
        let known = known(&all);
        let settings = AnswersTable::default();
        // With seven the second runs on, with four the last is cut.
        let limit = Limit::fit(&known, &settings);
        assert_eq!(limit.characters, 6);
        // Without the first or the third question the others like 6 too; without the second, 8, under which it is wrong.
        assert!((limit.held_out_gain - 1.0 / 3.0).abs() < 1e-12);
        let expected = Effect {
            applied: true,
            changed: 2,
            fixed: 2,
            broken: 0,
        };
        assert_eq!(limit.to_apply(), 6);
        assert_eq!(limit.fitted(&known, &settings).effect, expected);
        assert_eq!(effect(&known, 4, &settings).broken, 1);
        let (longest, best) = (LengthLimit::LONGEST_FITTED, |known| {
            Limit::fit(known, &settings).characters
        });
        assert_eq!(best(&known[2..]), longest, "of several the longest");
        assert_eq!(best(&[]), longest, "of nothing too");
    }

    #[test]
    fn a_limit_that_loses_where_it_was_not_fitted_is_not_applied() {
        // Eight characters are right for the first two and wrong for the last. Without one of the first, that is no
        // better than forty; without the last it is, and the last is lost.
        let all = [
            (scores(10, 0, 8, 3), "甲乙丙"),
            (scores(10, 0, 8, 3), "甲乙丙"),
            (scores(10, 0, 8, 3), "甲乙丙丁戊己庚辛壬"),
        ];
        let known = known(&all);
        let settings = AnswersTable::default();
        let limit = Limit::fit(&known, &settings);
        assert_eq!(limit.to_apply(), LengthLimit::LONGEST_FITTED);
        let fitted = limit.fitted(&known, &settings);
        assert_eq!((fitted.characters, fitted.effect.applied), (8, false));
        assert!((fitted.held_out_gain + 1.0 / 3.0).abs() < 1e-12);
    }
}
