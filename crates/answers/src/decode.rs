//! Scores of one question → its candidates.

use std::ops::Range;

use spanwise_artifact::Characters;
use spanwise_artifact::answers::Candidate;
use spanwise_artifact::scores::Span;
use spanwise_artifact::settings::{AnswersTable, Decoding, LengthLimit};
use spanwise_spans::softmax::log_add_exp;
use spanwise_spans::span_score;

use crate::split::ScoredQuestion;

/// How candidates are chosen.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// Start and end together, or each on its own.
    pub decoding: Decoding,
    /// The longest answer in characters; joint decoding only.
    pub max_answer_length: usize,
    /// Whether the scores of candidates with the same text are pooled; joint decoding only.
    pub pool_duplicates: bool,
    /// Candidates returned per question.
    pub count: usize,
}

/// Best spans among which duplicates are pooled. Those further down have next to no share in a
/// softmax.
const POOL: usize = 50;

impl Decoder {
    /// Returns the decoder that the settings describe. `longest`: the longest answer in characters
    /// where the settings leave it open.
    pub fn new(settings: &AnswersTable, longest: usize) -> Self {
        Self {
            decoding: settings.decoding,
            max_answer_length: match settings.max_answer_length {
                Some(LengthLimit::Characters(count)) => count,
                None | Some(LengthLimit::Fitted(_)) => longest,
            },
            pool_duplicates: settings.pool_duplicates,
            count: settings.n_best_size,
        }
    }

    /// Returns a question's candidates, best first; the first is the answer.
    ///
    /// Joint decoding always answers: where no character is a candidate (a paragraph whose
    /// characters the tokenizer all drops), it falls back to the whole paragraph. The others return
    /// no candidate where the best end lies before the best start.
    pub fn candidates(&self, question: &ScoredQuestion) -> Vec<Candidate> {
        let characters = Characters::new(question.paragraph);
        let candidate = |span: Span| Candidate {
            text: text(&characters, &span).to_owned(),
            start: span.start,
            end: span.end,
            score: Some(span.score),
        };
        let spans = match self.decoding {
            Decoding::Joint if self.pool_duplicates => {
                let mut spans = question.best_spans(self.max_answer_length, POOL);
                spans = pool(&spans, &characters);
                spans.truncate(self.count);
                spans
            }
            Decoding::Joint => question.best_spans(self.max_answer_length, self.count),
            Decoding::Independent | Decoding::BestWindow => {
                self.on_their_own(question).into_iter().collect()
            }
        };
        let mut candidates: Vec<Candidate> = spans.into_iter().map(candidate).collect();
        if candidates.is_empty() && self.decoding == Decoding::Joint {
            candidates.push(Candidate {
                text: question.paragraph.to_owned(),
                start: 0,
                end: characters.len(),
                score: None,
            });
        }
        candidates
    }

    /// Returns a question's answer; `None` where it is left unanswered.
    pub fn best(&self, question: &ScoredQuestion) -> Option<Candidate> {
        let one = Self { count: 1, ..*self };
        one.candidates(question).into_iter().next()
    }

    /// Returns the characters of a question's answer under every limit from 1 to `longest`, in that
    /// order, from one look at its scores; an empty range where it is left unanswered.
    pub fn best_by_limit(&self, question: &ScoredQuestion, longest: usize) -> Vec<Range<usize>> {
        if self.decoding != Decoding::Joint {
            let best = self.on_their_own(question);
            let best = best.map_or(0..0, |span| span.range());
            return vec![best; longest];
        }
        let characters = Characters::new(question.paragraph);
        let whole = 0..characters.len();
        if !self.pool_duplicates {
            let spans = question.best_spans_by_limit(longest, 1);
            let best = spans.iter().map(|spans| spans.first().map(Span::range));
            return best.map(|best| best.unwrap_or(whole.clone())).collect();
        }
        let spans = question.best_spans_by_limit(longest, POOL);
        let mut found: Vec<Range<usize>> = Vec::with_capacity(longest);
        for (index, pooled) in spans.iter().enumerate() {
            // A limit that adds no span changes nothing.
            let best = if index > 0 && *pooled == spans[index - 1] {
                found[index - 1].clone()
            } else {
                let best = pool(&contenders(pooled, &characters), &characters);
                best.first().map_or(whole.clone(), Span::range)
            };
            found.push(best);
        }
        found
    }

    /// Returns the best start and the best end on their own, of all windows or of one; `None` where
    /// the end is before the start.
    fn on_their_own(&self, question: &ScoredQuestion) -> Option<Span> {
        match self.decoding {
            Decoding::BestWindow => {
                let window = question.whole.window;
                (!window.range().is_empty()).then_some(window)
            }
            _ => independent(question),
        }
    }
}

/// Returns the best start and the best end on their own; `None` where the end is before the start.
fn independent(question: &ScoredQuestion) -> Option<Span> {
    let (start, last) = (best(question.scores.start), best(question.scores.end));
    let (start, last) = start.zip(last).filter(|(start, last)| start <= last)?;
    Some(Span {
        start,
        end: last + 1,
        score: span_score(question.scores, start..last + 1),
    })
}

fn text<'a>(characters: &Characters<'a>, span: &Span) -> &'a str {
    characters
        .get(span.range())
        .expect("a question's spans are within its paragraph")
}

/// Returns the spans whose text may have the highest score after pooling. The others' texts have
/// next to no share: even as often as there are spans, their best one would not reach the best of
/// all.
fn contenders(spans: &[Span], characters: &Characters) -> Vec<Span> {
    // For what is lost in rounding.
    const MARGIN: f32 = 0.01;
    let Some(best) = spans.first() else {
        return Vec::new();
    };
    let least = best.score - (spans.len() as f32).ln() - MARGIN;
    let mut texts: Vec<&str> = Vec::new();
    let mut contenders = Vec::new();
    // Best first: a text's best span comes before its others.
    for span in spans {
        let text = text(characters, span);
        let is_known = texts.contains(&text);
        if is_known || span.score >= least {
            contenders.push(*span);
        }
        if !is_known && span.score >= least {
            texts.push(text);
        }
    }
    contenders
}

/// Returns one span per text, the best, with the score that has the probability of all of them
/// under a softmax; best first.
fn pool(spans: &[Span], characters: &Characters) -> Vec<Span> {
    let mut pooled: Vec<(Span, &str)> = Vec::new();
    for span in spans {
        let text = text(characters, span);
        match pooled.iter_mut().find(|(_, other)| *other == text) {
            Some((other, _)) => other.score = log_add_exp(other.score, span.score),
            None => pooled.push((*span, text)),
        }
    }
    pooled.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score));
    pooled.into_iter().map(|(span, _)| span).collect()
}

/// Returns the index of the first largest score; `None` where every score is minus infinity.
fn best(scores: &[f32]) -> Option<usize> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores
        .iter()
        .position(|&score| score == largest && score > f32::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spanwise_artifact::scores::{ScoresView, Whole};
    use spanwise_artifact::{Question, Reference};

    use super::*;
    use crate::testing::TASK;

    const NONE: f32 = f32::NEG_INFINITY;

    const JOINT: Decoder = Decoder {
        decoding: Decoding::Joint,
        max_answer_length: 3,
        pool_duplicates: false,
        count: 2,
    };

    fn candidates(
        decoder: Decoder,
        paragraph: &str,
        start: &[f32],
        end: &[f32],
        ranked: Option<&[Span]>,
    ) -> Vec<(String, usize, usize, Option<f32>)> {
        let question = Question {
            id: String::new(),
            paragraph: 0,
            text: String::new(),
            reference: Reference::Unknown,
        };
        let found = decoder.candidates(&ScoredQuestion {
            question: &question,
            paragraph,
            scores: ScoresView { start, end },
            ranked,
            whole: Whole::NONE,
            headline: TASK,
        });
        found
            .into_iter()
            .map(|c| (c.text, c.start, c.end, c.score))
            .collect()
    }

    #[test]
    fn answers_by_decoding() {
        fn check(decoding: Decoding, start: &[f32; 5], end: &[f32; 5], expected: &str) {
            let decoder = Decoder { decoding, ..JOINT };
            let found = candidates(decoder, "𠮷a 國b", start, end, None);
            let answer = found.first().map_or("", |best| &best.0);
            assert_eq!(answer, expected, "{decoding:?} {start:?} {end:?}");
        }
        use Decoding::{Independent, Joint};
        let ends = [0.0, 0.0, NONE, 0.0, 9.0];
        check(Joint, &[1.0, 0.0, NONE, 3.0, 0.0], &ends, "國b");
        // The limit counts characters and holds for joint decoding only.
        check(Joint, &[8.0, 0.0, NONE, 3.0, 0.0], &ends, "國b");
        check(Independent, &[8.0, 0.0, NONE, 3.0, 0.0], &ends, "𠮷a 國b");
        let (starts, ends) = ([0.0, 9.0, NONE, 0.0, 0.0], [9.0, 1.0, NONE, 0.0, 0.0]);
        check(Joint, &starts, &ends, "a");
        check(Independent, &starts, &ends, "");
        check(Joint, &[NONE; 5], &[NONE; 5], "𠮷a 國b");
        check(Independent, &[NONE; 5], &[NONE; 5], "");
    }

    #[test]
    fn candidates_are_ranked_and_counted() {
        let decoder = Decoder {
            max_answer_length: 30,
            ..JOINT
        };
        let start = [1.0, 2.0, NONE, 0.0, 0.0];
        let end = [0.0, 0.0, NONE, 5.0, 4.0];
        assert_eq!(
            candidates(decoder, "𠮷a 國b", &start, &end, None),
            [
                ("a 國".to_owned(), 1, 4, Some(7.0)),
                ("𠮷a 國".to_owned(), 0, 4, Some(6.0))
            ]
        );
    }

    #[test]
    fn window_decoding_takes_the_best_windows_start_and_end() {
        let question = Question {
            id: String::new(),
            paragraph: 0,
            text: String::new(),
            reference: Reference::Unknown,
        };
        let check = |window: Range<usize>, expected: &str| {
            let window = Span {
                start: window.start,
                end: window.end,
                score: 3.0,
            };
            let decoder = Decoder {
                decoding: Decoding::BestWindow,
                ..JOINT
            };
            let scored = ScoredQuestion {
                question: &question,
                paragraph: "𠮷a 國b",
                scores: ScoresView {
                    start: &[9.0; 5],
                    end: &[9.0; 5],
                },
                ranked: None,
                whole: Whole { null: 0.0, window },
                headline: TASK,
            };
            let best = decoder.best(&scored);
            assert_eq!(best.as_ref().map_or("", |best| &best.text), expected);
            assert_eq!(best.and_then(|best| best.score).unwrap_or(3.0), 3.0);
            let by_limit = decoder.best_by_limit(&scored, 2);
            assert!(by_limit.iter().all(|range| scored.slice(range) == expected));
        };
        check(1..4, "a 國");
        check(0..0, "");
    }

    #[test]
    fn scores_of_one_text_add_up() {
        let decoder = Decoder {
            max_answer_length: 1,
            pool_duplicates: true,
            ..JOINT
        };
        let found = candidates(decoder, "甲乙甲丙", &[1.0, 1.5, 1.0, 0.0], &[0.0; 4], None);
        assert_eq!((&*found[0].0, found[0].1), ("甲", 0));
        assert!((found[0].3.unwrap() - (1.0 + 2f32.ln())).abs() < 1e-6);
        assert_eq!((&*found[1].0, found[1].3), ("乙", Some(1.5)));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn joint_decoding_follows_the_ensembles_ranking_within_the_limit() {
        let span = |start, end| Span {
            start,
            end,
            score: 2.0,
        };
        let decoder = Decoder {
            max_answer_length: 1,
            ..JOINT
        };
        let scores = [9.0, 0.0];
        let ranked = [span(0, 2), span(1, 2)];
        assert_eq!(
            candidates(decoder, "甲乙", &scores, &scores, Some(&ranked)),
            [("乙".to_owned(), 1, 2, Some(2.0))]
        );
    }

    proptest! {
        #[test]
        fn every_limit_has_the_answer_of_its_own_decoding(
            characters in prop::collection::vec((0..3usize, -3i8..3, -3i8..3, prop::bool::weighted(0.3)), 1..12),
            ranked in prop::option::of(prop::collection::vec((0..12usize, 1..12usize), 0..4)),
            decoding in prop::sample::select(vec![
                Decoding::Joint,
                Decoding::Independent,
                Decoding::BestWindow,
            ]),
            pool_duplicates in any::<bool>(),
        ) {
            let paragraph: String = characters.iter().map(|c| ['甲', '乙', '丙'][c.0]).collect();
            let column = |score: fn(&(usize, i8, i8, bool)) -> i8| -> Vec<f32> {
                let value = |c: &(usize, i8, i8, bool)| if c.3 { NONE } else { f32::from(score(c)) };
                characters.iter().map(value).collect()
            };
            let (start, end) = (column(|c| c.1), column(|c| c.2));
            let ranked: Option<Vec<Span>> = ranked.map(|ranked| {
                let spans = ranked.into_iter().map(|(start, length)| {
                    let start = start % characters.len();
                    Span { start, end: characters.len().min(start + length), score: 1.0 }
                });
                spans.collect()
            });
            let question = Question {
                id: String::new(),
                paragraph: 0,
                text: String::new(),
                reference: Reference::Unknown,
            };
            let question = ScoredQuestion {
                question: &question,
                paragraph: &paragraph,
                scores: ScoresView { start: &start, end: &end },
                ranked: ranked.as_deref(),
                whole: Whole::NONE,
                headline: TASK,
            };
            let decoder = Decoder { decoding, pool_duplicates, ..JOINT };
            let each: Vec<Range<usize>> = (1..=14)
                .map(|max_answer_length| {
                    let best = Decoder { max_answer_length, ..decoder }.best(&question);
                    best.map_or(0..0, |best| best.start..best.end)
                })
                .collect();
            prop_assert_eq!(decoder.best_by_limit(&question, 14), each);
        }
    }
}
