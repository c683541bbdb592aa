//! Scores of one question → its ranked answers.

use serde::Serialize;
use spanwise_artifact::Characters;
use spanwise_artifact::scores::{ScoresView, Span};
use spanwise_artifact::settings::{AnswersSettings, Decoding};

/// One candidate of a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The substring of the paragraph.
    pub text: String,
    /// Its first character.
    pub start: usize,
    /// One past its last character.
    pub end: usize,
    /// Start score plus end score; `null` for a fallback without any.
    pub score: Option<f32>,
}

/// A question's answer and the candidates behind it, best first.
///
/// Joint decoding always answers: where no character is a candidate (a paragraph whose characters the
/// tokenizer all drops), it falls back to the whole paragraph. Independent decoding answers nothing where
/// the best end lies before the best start.
pub fn decode(
    scores: ScoresView,
    paragraph: &str,
    settings: &AnswersSettings,
) -> (String, Vec<Candidate>) {
    let characters = Characters::new(paragraph);
    let candidate = |span: Span| Candidate {
        text: characters
            .get(span.range())
            .expect("scores and paragraph have the same length")
            .to_owned(),
        start: span.start,
        end: span.end + 1,
        score: Some(span.score),
    };
    match settings.decoding {
        Decoding::Joint => {
            let spans = scores.best_spans(settings.max_answer_length, settings.n_best);
            let mut candidates: Vec<Candidate> = spans.into_iter().map(candidate).collect();
            if candidates.is_empty() {
                let whole = Candidate {
                    text: paragraph.to_owned(),
                    start: 0,
                    end: characters.len(),
                    score: None,
                };
                candidates.push(whole);
            }
            (candidates[0].text.clone(), candidates)
        }
        Decoding::Independent => match (best(scores.start), best(scores.end)) {
            (Some(start), Some(end)) if start <= end => {
                let score = scores.start[start] + scores.end[end];
                let candidate = candidate(Span { start, end, score });
                (candidate.text.clone(), vec![candidate])
            }
            _ => (String::new(), Vec::new()),
        },
    }
}

/// Index of the first largest score that is one.
fn best(scores: &[f32]) -> Option<usize> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores
        .iter()
        .position(|&score| score == largest && score > f32::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn answer(decoding: Decoding, start: &[f32], end: &[f32]) -> String {
        let settings = AnswersSettings {
            decoding,
            max_answer_length: 3,
            n_best: 2,
        };
        decode(ScoresView { start, end }, "𠮷a 國b", &settings).0
    }

    #[test]
    fn decode_cases() {
        use Decoding::{Independent, Joint};
        let ends = [0.0, 0.0, NONE, 0.0, 9.0];
        assert_eq!(answer(Joint, &[1.0, 0.0, NONE, 3.0, 0.0], &ends), "國b");
        assert_eq!(
            answer(Joint, &[8.0, 0.0, NONE, 3.0, 0.0], &ends),
            "國b",
            "the cap is in characters"
        );
        assert_eq!(
            answer(Independent, &[8.0, 0.0, NONE, 3.0, 0.0], &ends),
            "𠮷a 國b",
            "and only for joint decoding"
        );
        assert_eq!(
            answer(
                Joint,
                &[0.0, 9.0, NONE, 0.0, 0.0],
                &[9.0, 1.0, NONE, 0.0, 0.0]
            ),
            "a"
        );
        assert_eq!(
            answer(
                Independent,
                &[0.0, 9.0, NONE, 0.0, 0.0],
                &[9.0, 1.0, NONE, 0.0, 0.0]
            ),
            ""
        );
        assert_eq!(answer(Joint, &[NONE; 5], &[NONE; 5]), "𠮷a 國b");
        assert_eq!(answer(Independent, &[NONE; 5], &[NONE; 5]), "");
    }

    #[test]
    fn candidates_are_ranked_and_bounded() {
        let settings = AnswersSettings {
            n_best: 2,
            ..Default::default()
        };
        let scores = ScoresView {
            start: &[1.0, 2.0, NONE, 0.0, 0.0],
            end: &[0.0, 0.0, NONE, 5.0, 4.0],
        };
        let (_, candidates) = decode(scores, "𠮷a 國b", &settings);
        let found: Vec<_> = candidates
            .iter()
            .map(|c| (&*c.text, c.start, c.end, c.score))
            .collect();
        assert_eq!(
            found,
            [("a 國", 1, 4, Some(7.0)), ("𠮷a 國", 0, 4, Some(6.0))]
        );
    }
}
