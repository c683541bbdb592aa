//! Scores of one question → its ranked answers.

use spanwise_artifact::Characters;
use spanwise_artifact::answers::Candidate;
use spanwise_artifact::scores::{ScoresView, Span};
use spanwise_artifact::settings::{AnswersTable, Decoding};
use spanwise_spans::softmax::log_add_exp;
use spanwise_spans::{best_spans, span_score};

/// A question's candidates, best first; the first is the answer. `ranked`: spans that the ensemble has ranked by more
/// than their scores, which joint decoding then follows.
///
/// Joint decoding always answers: where no character is a candidate (a paragraph whose characters the
/// tokenizer all drops), it falls back to the whole paragraph. Independent decoding answers nothing where
/// the best end lies before the best start.
pub fn decode(
    scores: ScoresView,
    ranked: Option<&[Span]>,
    paragraph: &str,
    settings: &AnswersTable,
) -> Vec<Candidate> {
    let characters = Characters::new(paragraph);
    let candidate = |span: Span| Candidate {
        text: characters
            .get(span.range())
            .expect("scores and paragraph have the same length")
            .to_owned(),
        start: span.start,
        end: span.end,
        score: Some(span.score),
    };
    match settings.decoding {
        Decoding::Joint => {
            let longest = settings.max_answer_length.longest();
            let spans = match ranked {
                Some(ranked) => {
                    let fits = |span: &&Span| span.range().len() <= longest;
                    ranked.iter().filter(fits).copied().collect()
                }
                None if settings.pool_duplicates => best_spans(scores, longest, POOL),
                None => best_spans(scores, longest, settings.n_best_size),
            };
            let mut candidates: Vec<Candidate> = spans.into_iter().map(candidate).collect();
            if settings.pool_duplicates {
                candidates = pool(candidates);
            }
            candidates.truncate(settings.n_best_size);
            if candidates.is_empty() {
                candidates.push(Candidate {
                    text: paragraph.to_owned(),
                    start: 0,
                    end: characters.len(),
                    score: None,
                });
            }
            candidates
        }
        Decoding::Independent => match (best(scores.start), best(scores.end)) {
            (Some(start), Some(last)) if start <= last => {
                let end = last + 1;
                let score = span_score(scores, start..end);
                vec![candidate(Span { start, end, score })]
            }
            _ => Vec::new(),
        },
    }
}

/// Best spans among which duplicates are pooled. Those further down have next to no share in a softmax.
const POOL: usize = 50;

/// One candidate a text, where its best is, with the logarithm of the sum of the exponentials of all its scores: under
/// a softmax, the probabilities of all its places add up.
fn pool(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut pooled: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        match pooled.iter_mut().find(|other| other.text == candidate.text) {
            Some(other) => {
                let scores = other.score.zip(candidate.score);
                other.score = scores.map(|(a, b)| log_add_exp(a, b));
            }
            None => pooled.push(candidate),
        }
    }
    pooled.sort_by(|a, b| {
        let score = |candidate: &Candidate| candidate.score.unwrap_or(f32::NEG_INFINITY);
        score(b).total_cmp(&score(a))
    });
    pooled
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
    use spanwise_artifact::settings::LengthLimit;

    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn answer(decoding: Decoding, start: &[f32], end: &[f32]) -> String {
        let settings = AnswersTable {
            decoding,
            max_answer_length: LengthLimit::Characters(3),
            n_best_size: 2,
            ..Default::default()
        };
        let candidates = decode(ScoresView { start, end }, None, "𠮷a 國b", &settings);
        candidates
            .first()
            .map_or(String::new(), |best| best.text.clone())
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
        let settings = AnswersTable {
            n_best_size: 2,
            ..Default::default()
        };
        let scores = ScoresView {
            start: &[1.0, 2.0, NONE, 0.0, 0.0],
            end: &[0.0, 0.0, NONE, 5.0, 4.0],
        };
        let candidates = decode(scores, None, "𠮷a 國b", &settings);
        let found: Vec<_> = candidates
            .iter()
            .map(|c| (&*c.text, c.start, c.end, c.score))
            .collect();
        assert_eq!(
            found,
            [("a 國", 1, 4, Some(7.0)), ("𠮷a 國", 0, 4, Some(6.0))]
        );
    }

    #[test]
    fn the_places_of_one_text_add_up() {
        let settings = AnswersTable {
            max_answer_length: LengthLimit::Characters(1),
            n_best_size: 2,
            pool_duplicates: true,
            ..Default::default()
        };
        let scores = ScoresView {
            start: &[1.0, 1.5, 1.0, 0.0],
            end: &[0.0; 4],
        };
        let found = decode(scores, None, "甲乙甲丙", &settings);
        assert_eq!((&*found[0].text, found[0].start), ("甲", 0));
        assert!((found[0].score.unwrap() - (1.0 + 2f32.ln())).abs() < 1e-6);
        assert_eq!((&*found[1].text, found[1].score), ("乙", Some(1.5)));
    }

    #[test]
    fn joint_decoding_follows_the_ensembles_ranking() {
        let scores = ScoresView {
            start: &[9.0, 0.0],
            end: &[9.0, 0.0],
        };
        let span = |start, end| Span {
            start,
            end,
            score: 2.0,
        };
        let settings = AnswersTable {
            max_answer_length: LengthLimit::Characters(1),
            ..Default::default()
        };
        let ranked = Some(&[span(0, 2), span(1, 2)][..]);
        let found = decode(scores, ranked, "甲乙", &settings);
        assert_eq!(found.len(), 1, "the cap holds for it too");
        assert_eq!((&*found[0].text, found[0].score), ("乙", Some(2.0)));
    }
}
