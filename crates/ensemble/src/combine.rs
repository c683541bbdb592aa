//! One question's scores from all members', and the spans that most members score highest.

use spanwise_artifact::scores::{Scores, ScoresView, Span, Whole};
use spanwise_spans::{best_spans, covering, span_score};

/// Returns the sum of the members' scores, each times its weight, character by character.
///
/// A character is a candidate where it is one for any member. A member whose tokens cannot express
/// it contributes the score of its tightest span around it ([`covering()`]), so that the best span
/// is found among all spans that begin where some member can begin and end where some member can
/// end. A single member of weight 1 passes unchanged.
///
/// # Panics
/// Unless there is a member, a weight for each, and all score the same characters.
pub fn weighted(members: &[ScoresView], weights: &[f64]) -> Scores {
    assert_eq!(members.len(), weights.len(), "a weight per member");
    let length = members[0].start.len();
    assert!(
        members.iter().all(|member| member.start.len() == length),
        "members score different paragraphs"
    );
    let covered: Vec<Scores> = members.iter().copied().map(covering).collect();
    // `raw` and `covered` hold one column, start or end scores, of every member.
    let sum = |raw: Vec<&[f32]>, covered: Vec<&[f32]>| -> Vec<f32> {
        let score = |index: usize| {
            if raw.iter().all(|scores| scores[index] == f32::NEG_INFINITY) {
                return f32::NEG_INFINITY;
            }
            let scores = covered.iter().zip(weights);
            let scores = scores.map(|(scores, weight)| f64::from(scores[index]) * weight);
            scores.sum::<f64>() as f32
        };
        (0..length).map(score).collect()
    };
    Scores {
        start: sum(
            members.iter().map(|scores| scores.start).collect(),
            covered.iter().map(|scores| &scores.start[..]).collect(),
        ),
        end: sum(
            members.iter().map(|scores| scores.end).collect(),
            covered.iter().map(|scores| &scores.end[..]).collect(),
        ),
    }
}

/// Returns what is known of a question besides the scores of its characters: the sum of the members'
/// scores of no answer, each times its weight. Windows are the members' own; those of a single
/// member of weight 1 pass unchanged.
///
/// # Panics
/// Unless there is a weight for each member.
pub fn weighted_whole(members: &[Whole], weights: &[f64]) -> Whole {
    assert_eq!(members.len(), weights.len(), "a weight per member");
    if let ([whole], [1.0]) = (members, weights) {
        return *whole;
    }
    let nulls = members.iter().zip(weights);
    let null: f64 = nulls
        .map(|(whole, weight)| f64::from(whole.null) * weight)
        .sum();
    // Nothing times minus infinity is not a number.
    Whole::with_null(if null.is_nan() {
        f32::NEG_INFINITY
    } else {
        null as f32
    })
}

/// Returns the weights that make [`weighted`] the mean.
pub fn equal(members: usize) -> Vec<f64> {
    vec![1.0 / members as f64; members]
}

/// Returns every member's best span of at most `max_answer_length` characters, those with most
/// votes first. A span's score is its number of votes; of equal ones the span with the larger mean
/// score comes first.
pub fn votes(members: &[ScoresView], max_answer_length: usize) -> Vec<Span> {
    let mean = weighted(members, &equal(members.len()));
    let mut spans: Vec<Span> = Vec::new();
    for member in members {
        let Some(best) = best_spans(*member, max_answer_length, 1).pop() else {
            continue;
        };
        match spans.iter_mut().find(|span| span.range() == best.range()) {
            Some(span) => span.score += 1.0,
            None => spans.push(Span { score: 1.0, ..best }),
        }
    }
    let rank = |span: &Span| (span.score, span_score(mean.view(), span.range()));
    spans.sort_by(|a, b| {
        let ((votes, mean), (other_votes, other_mean)) = (rank(a), rank(b));
        other_votes
            .total_cmp(&votes)
            .then(other_mean.total_cmp(&mean))
    });
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn scores(start: &[f32], end: &[f32]) -> Scores {
        Scores {
            start: start.to_vec(),
            end: end.to_vec(),
        }
    }

    #[test]
    fn one_member_passes_unchanged_and_equal_weights_average() {
        let one = scores(&[1.0, NONE], &[0.3, 7.0]);
        let two = scores(&[3.0, NONE], &[0.1, -1.0]);
        assert_eq!(weighted(&[one.view()], &[1.0]), one);
        assert_eq!(
            weighted(&[one.view(), two.view()], &equal(2)),
            scores(&[2.0, NONE], &[0.2, 3.0])
        );
        assert_eq!(
            weighted(&[one.view(), two.view()], &[2.0, 0.0]),
            scores(&[2.0, NONE], &[0.6, 14.0])
        );
    }

    #[test]
    fn one_members_windows_pass_and_scores_of_no_answer_add_up() {
        let window = Span {
            start: 1,
            end: 2,
            score: 3.0,
        };
        let one = Whole { null: 1.0, window };
        let two = Whole::with_null(-3.0);
        assert_eq!(weighted_whole(&[one], &[1.0]), one);
        assert_eq!(weighted_whole(&[one], &[2.0]), Whole::with_null(2.0));
        assert_eq!(
            weighted_whole(&[one, two], &[0.5, 0.25]),
            Whole::with_null(-0.25)
        );
        assert_eq!(
            weighted_whole(&[one, Whole::NONE], &[0.5, 0.0]),
            Whole::NONE
        );
    }

    #[test]
    fn members_with_other_tokens_contribute_to_every_span() {
        // "1998年": one member has a token a character, the other one for the number and one for the
        // unit.
        let fine = scores(&[5.0, 0.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 4.0, 3.0]);
        let coarse = scores(&[6.0, NONE, NONE, NONE, 0.0], &[NONE, NONE, NONE, 1.0, 9.0]);
        let both = weighted(&[fine.view(), coarse.view()], &equal(2));
        let best = best_spans(both.view(), 30, 1)[0];
        assert_eq!((best.start, best.end, best.score), (0, 5, 11.5));
        // "998年" is none of the second member's spans; it gets what "1998年" gets there.
        assert_eq!(span_score(both.view(), 1..5), (0.0 + 3.0 + 6.0 + 9.0) / 2.0);
    }

    #[test]
    fn votes_count_before_scores() {
        let sure = scores(&[0.0, 0.0, 90.0], &[0.0, 0.0, 90.0]);
        let one = scores(&[2.0, 0.0, 0.0], &[2.0, 0.0, 0.0]);
        let two = scores(&[1.0, 0.0, 0.0], &[1.0, 0.0, 0.0]);
        let found = votes(&[sure.view(), one.view(), two.view()], 30);
        let found: Vec<_> = found.iter().map(|s| (s.start, s.end, s.score)).collect();
        assert_eq!(found, [(0, 1, 2.0), (2, 3, 1.0)]);
        let tied = votes(&[sure.view(), one.view()], 30);
        assert_eq!((tied[0].start, tied[0].end), (2, 3), "the mean decides");
        assert_eq!(votes(&[Scores::none(3).view()], 30), []);
    }

    proptest! {
        #[test]
        fn every_members_span_is_a_candidate(
            members in prop::collection::vec(prop::collection::vec((-5i8..5, -5i8..5, any::<bool>()), 6), 1..4),
        ) {
            let members: Vec<Scores> = members
                .iter()
                .map(|member| Scores {
                    start: member.iter().map(|s| if s.2 { NONE } else { f32::from(s.0) }).collect(),
                    end: member.iter().map(|s| if s.2 { NONE } else { f32::from(s.1) }).collect(),
                })
                .collect();
            let views: Vec<ScoresView> = members.iter().map(Scores::view).collect();
            let all = weighted(&views, &equal(views.len()));
            for span in views.iter().flat_map(|view| best_spans(*view, 6, 100)) {
                // A member may have no token before or after a character; then it has no span
                // around it.
                let covered = views.iter().all(|view| {
                    span_score(covering(*view).view(), span.range()) > NONE
                });
                prop_assert_eq!(span_score(all.view(), span.range()) > NONE, covered);
            }
        }
    }
}
