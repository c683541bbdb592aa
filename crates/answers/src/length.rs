//! Fitting the longest answer: weak models predict spans that are too long, and a limit cuts them
//! off.

use std::ops::Range;

use anyhow::Result;
use spanwise_artifact::Characters;
use spanwise_artifact::answers::Effect;
use spanwise_spans::holdout;

use crate::decode::Decoder;
use crate::split::{CHARACTERS, PARTS, ScoredQuestion, ScoredSplit};

/// A limit that is fitted on dev.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The limit under which most answers are exact, in characters.
    pub characters: usize,
    /// The longest limit that was tried, which is in use where nothing is fitted.
    pub longest: usize,
    /// Exact match gained over the longest on held-out parts of dev by limits that are fitted on the
    /// others; `None` where there are no others.
    pub held_out_gain: Option<f64>,
}

impl Choice {
    /// Whether the limit is applied: unless limits that are fitted on parts of dev lose on the
    /// others, or nothing could be held out.
    pub fn is_applied(&self) -> bool {
        self.held_out_gain.is_some_and(|gain| gain >= 0.0)
    }

    /// Returns the limit to apply, in characters: the fitted one, or the longest.
    pub fn applied(&self) -> usize {
        if self.is_applied() {
            self.characters
        } else {
            self.longest
        }
    }

    /// Returns what the limit does to one answer in place of the longest that is tried, as if it
    /// were not applied.
    pub fn effect(&self, question: &ScoredQuestion, decoder: Decoder) -> Effect {
        let answer = |limit| {
            let decoder = Decoder {
                max_answer_length: limit,
                ..decoder
            };
            let best = decoder.best(question);
            best.map_or_else(String::new, |best| best.text)
        };
        let (before, after) = (answer(self.longest), answer(self.characters));
        let mut effect = Effect::default();
        let (was_exact, is_exact) = (question.is_exact(&before), question.is_exact(&after));
        effect.count(before != after, was_exact, is_exact);
        effect
    }
}

/// Every limit up to here is tried, in characters, and beyond it the decoder's alone: the time goes
/// with their number.
const EACH_TRIED: usize = 400;

/// Tries limits up to the decoder's on the questions of dev that have references, and returns the
/// one under which most answers are exact; of several the longest. `None` without such questions.
///
/// # Errors
/// Fails if dev cannot be read.
pub fn fit(dev: &ScoredSplit, decoder: Decoder) -> Result<Option<Choice>> {
    let (mut exact, mut paragraphs) = (Vec::new(), Vec::new());
    dev.in_order(
        CHARACTERS,
        |_, questions| {
            let labelled = questions
                .iter()
                .filter(|question| question.has_references());
            let labelled = labelled.map(|one| (exact_limits(one, decoder), one.question.paragraph));
            Ok(labelled.collect::<Vec<_>>())
        },
        |labelled| {
            for (limits, paragraph) in labelled {
                exact.push(limits);
                paragraphs.push(paragraph as u32);
            }
            Ok(())
        },
    )?;
    if exact.is_empty() {
        return Ok(None);
    }
    // Questions about one paragraph are held out together.
    let parts = holdout::parts(paragraphs, PARTS);
    Ok(Some(choose(&exact, &parts, decoder.max_answer_length)))
}

/// The limits that are tried, in characters, ascending.
fn limits(longest: usize) -> Vec<usize> {
    (1..longest.min(EACH_TRIED + 1)).chain([longest]).collect()
}

/// Returns under which of [`limits`] a question's answer is exact, as ranges of their indices.
fn exact_limits(question: &ScoredQuestion, decoder: Decoder) -> Vec<Range<u32>> {
    let characters = Characters::new(question.paragraph);
    let longest = decoder.max_answer_length;
    // A limit beyond the paragraph's length changes nothing.
    let tried = longest.min(EACH_TRIED).min(characters.len().max(1));
    let answers = decoder.best_by_limit(question, tried);
    let mut exact: Vec<Range<u32>> = Vec::new();
    let mut first = 0;
    for same in answers.chunk_by(|a, b| a == b) {
        let behind = first + same.len() as u32;
        if question.is_exact(characters.get(same[0].clone()).unwrap_or_default()) {
            exact.push(first..behind);
        }
        first = behind;
    }
    let all = limits(longest).len() as u32;
    if first < all && tried < characters.len() {
        let best = decoder
            .best(question)
            .map_or_else(String::new, |best| best.text);
        if question.is_exact(&best) {
            exact.push(first..all);
        }
    } else if let Some(last) = exact.last_mut().filter(|last| last.end == first) {
        last.end = all;
    }
    exact
}

/// Returns the limit, up to `longest`, for questions that are exact under these of [`limits`] and
/// are in these parts.
fn choose(exact: &[Vec<Range<u32>>], parts: &[usize], longest: usize) -> Choice {
    let limits = limits(longest);
    let last = limits.len() - 1;
    // `[part][limit]`
    let mut counts = vec![vec![0i64; limits.len()]; PARTS];
    for (exact, part) in exact.iter().zip(parts) {
        for limit in exact.iter().cloned().flatten() {
            counts[*part][limit as usize] += 1;
        }
    }
    // Most exact answers outside `held_out`; of several limits the longest.
    let best = |held_out: Option<usize>| {
        let exact = |limit: usize| {
            let others = (0..PARTS).filter(|part| held_out != Some(*part));
            others.map(|part| counts[part][limit]).sum::<i64>()
        };
        let best = (0..limits.len()).max_by_key(|&limit| (exact(limit), limit));
        best.unwrap_or(last)
    };
    let gains = (0..PARTS).map(|part| {
        let exact = |limit: usize| counts[part][limit];
        exact(best(Some(part))) - exact(last)
    });
    let gain = gains.sum::<i64>() as f64 / parts.len() as f64;
    Choice {
        characters: limits[best(None)],
        longest,
        held_out_gain: holdout::are_held_out(parts).then_some(gain),
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::scores::{Scores, Whole};
    use spanwise_artifact::settings::AnswersTable;
    use spanwise_artifact::{Answer, Question};

    use super::*;
    use crate::testing::{TASK, TestSplit};

    const LONGEST: usize = 40;
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
            reference: answers.collect::<Vec<_>>().into(),
        };
        (question, scores)
    }

    fn decoder() -> Decoder {
        Decoder::new(&AnswersTable::default(), LONGEST)
    }

    fn fitted(questions: &[(Question, Scores)]) -> Choice {
        let dev = TestSplit::new(PARAGRAPH, questions);
        fit(&dev.open(), decoder()).unwrap().unwrap()
    }

    #[test]
    fn the_limit_is_the_one_under_which_most_answers_are_exact() {
        let questions = [
            question([0, 8, 2], &["甲乙"], 0),
            question([1, 7, 3], &["乙", "乙丙丁"], 1),
            question([2, 6, 1], &["丙丁戊己庚"], 2),
            question([2, 6, 1], &[], 2),
        ];
        // With 7 the second is too long, with 4 the third is cut.
        let found = fitted(&questions);
        assert_eq!((found.characters, found.applied()), (6, 6));
        // Without the first or the third question the others score highest with 6 too; without the
        // second, with 8, under which it is wrong.
        assert!((found.held_out_gain.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(
            fitted(&questions[2..]).characters,
            LONGEST,
            "of several the longest"
        );
        let unlabelled = TestSplit::new(PARAGRAPH, &questions[3..]);
        assert_eq!(fit(&unlabelled.open(), decoder()).unwrap(), None);
    }

    #[test]
    fn a_limit_is_compared_with_the_one_that_is_used_without_it() {
        // Longer than each limit that is tried, but for the decoder's own.
        const LENGTH: usize = EACH_TRIED + 100;
        let paragraph = "甲".repeat(LENGTH + 10);
        let mut scores = Scores::none(LENGTH + 10);
        scores.start[0] = 1.0;
        scores.end[LENGTH - 1] = 1.0;
        let question = |paragraph| Question {
            id: String::new(),
            paragraph,
            text: String::new(),
            reference: vec![Answer {
                text: "甲".repeat(LENGTH),
                start: 0,
            }]
            .into(),
        };
        let questions = [(question(0), scores.clone()), (question(1), scores)];
        let dev = TestSplit::new(&paragraph, &questions);
        let decoder = Decoder::new(&AnswersTable::default(), LENGTH + 5);
        let found = fit(&dev.open(), decoder).unwrap().unwrap();
        assert_eq!(found.applied(), LENGTH + 5);
        assert_eq!(found.held_out_gain, Some(0.0));
    }

    #[test]
    fn effects_are_those_of_the_limit_in_place_of_the_longest() {
        fn check(characters: usize, [first, last, short]: [usize; 3], expected: [usize; 3]) {
            let choice = Choice {
                characters,
                longest: LONGEST,
                held_out_gain: Some(0.0),
            };
            let (question, scores) = question([first, last, short], &["丙丁戊己庚"], 0);
            let effect = choice.effect(
                &ScoredQuestion {
                    question: &question,
                    paragraph: PARAGRAPH,
                    scores: scores.view(),
                    ranked: None,
                    whole: Whole::NONE,
                    headline: TASK,
                },
                decoder(),
            );
            let found = [effect.changed, effect.fixed, effect.broken];
            assert_eq!(found, expected, "{characters}");
        }
        check(6, [2, 6, 1], [0, 0, 0]);
        check(4, [2, 6, 1], [1, 0, 1]);
        check(6, [2, 8, 5], [1, 1, 0]);
    }

    #[test]
    fn a_limit_that_loses_on_held_out_parts_is_not_applied() {
        // Eight characters are right for the first two and wrong for the last. Without one of the
        // first, that is no better than forty; without the last it is, and the last is lost.
        let found = fitted(&[
            question([0, 8, 3], &["甲乙丙"], 0),
            question([0, 8, 3], &["甲乙丙"], 1),
            question([0, 8, 3], &["甲乙丙丁戊己庚辛壬"], 2),
        ]);
        assert_eq!(found.applied(), LONGEST);
        assert_eq!((found.characters, found.is_applied()), (8, false));
        assert!((found.held_out_gain.unwrap() + 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn questions_about_one_paragraph_are_held_out_together() {
        // As above, but all about one paragraph: no part is left to measure on.
        let found = fitted(&[
            question([0, 8, 3], &["甲乙丙"], 0),
            question([0, 8, 3], &["甲乙丙"], 0),
            question([0, 8, 3], &["甲乙丙丁戊己庚辛壬"], 0),
        ]);
        assert_eq!((found.held_out_gain, found.applied()), (None, LONGEST));
    }
}
