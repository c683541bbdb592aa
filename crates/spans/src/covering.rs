//! Scores for spans that no token begins or ends with.

use spanwise_artifact::scores::{Scores, ScoresView};

/// Returns the scores with one for every character: where an answer cannot start, the score of the
/// last character before it where one can, and where it cannot end, that of the first character
/// after it where one can.
///
/// Any span thereby gets the score of the tightest span that covers it; minus infinity only where
/// none does.
pub fn covering(scores: ScoresView) -> Scores {
    let mut covering = Scores {
        start: scores.start.to_vec(),
        end: scores.end.to_vec(),
    };
    fill(covering.start.iter_mut());
    fill(covering.end.iter_mut().rev());
    covering
}

/// Replaces minus infinity by the score before it.
fn fill<'a>(scores: impl Iterator<Item = &'a mut f32>) {
    let mut previous = f32::NEG_INFINITY;
    for score in scores {
        if *score == f32::NEG_INFINITY {
            *score = previous;
        }
        previous = *score;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::span_score;

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn a_span_that_tokens_cannot_express_scores_as_the_tightest_around_it() {
        // Tokens: characters 0–1, 2, and 4; nothing stands for the space at 3.
        let scores = ScoresView {
            start: &[1.0, NONE, 2.0, NONE, 3.0],
            end: &[NONE, 10.0, 20.0, NONE, 30.0],
        };
        let covering_scores = covering(scores);
        assert_eq!(covering_scores.start, [1.0, 1.0, 2.0, 2.0, 3.0]);
        assert_eq!(covering_scores.end, [10.0, 10.0, 20.0, 30.0, 30.0]);
        assert_eq!(
            span_score(covering_scores.view(), 1..2),
            span_score(scores, 0..2)
        );
        let nothing = Scores::none(2);
        assert_eq!(covering(nothing.view()), nothing);
    }
}
