//! The best spans of start and end scores.

use std::ops::Range;

use spanwise_artifact::scores::{ScoresView, Span};

/// Returns the score of a non-empty span: the start score of its first character plus the end score
/// of its last.
pub fn span_score(scores: ScoresView, span: Range<usize>) -> f32 {
    scores.start[span.start] + scores.end[span.end - 1]
}

/// Returns the `count` best non-empty spans of at most `max_length` characters, best first, exact
/// over all pairs of start and end.
///
/// Of equal scores the earlier start comes first, then the shorter span. Empty where no character
/// is a candidate.
pub fn best_spans(scores: ScoresView, max_length: usize, count: usize) -> Vec<Span> {
    let mut best: Vec<Span> = Vec::new();
    // No span from a start scores more than with the best of all ends: most starts are left out at
    // once, however long an answer may be.
    let largest_end = scores.end.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for (start, &start_score) in scores.start.iter().enumerate() {
        let is_full = best.len() == count;
        let cannot_enter = |worst: &Span| start_score + largest_end <= worst.score;
        if start_score == f32::NEG_INFINITY || is_full && best.last().is_none_or(cannot_enter) {
            continue;
        }
        let limit = scores.end.len().min(start.saturating_add(max_length));
        for (last, &end_score) in scores.end[..limit].iter().enumerate().skip(start) {
            let score = start_score + end_score;
            let enters = best.len() < count || best.last().is_some_and(|worst| score > worst.score);
            if end_score == f32::NEG_INFINITY || !enters {
                continue;
            }
            let rank = best.partition_point(|other| other.score >= score);
            let end = last + 1;
            best.insert(rank, Span { start, end, score });
            best.truncate(count);
        }
    }
    best
}

/// Returns what [`best_spans`] returns for every limit from 1 to `longest`, in that order, from one
/// pass over all spans.
pub fn best_spans_by_limit(scores: ScoresView, longest: usize, count: usize) -> Vec<Vec<Span>> {
    let characters = scores.start.len();
    let mut best: Vec<Span> = Vec::new();
    let limits = (1..=longest).map(|length| {
        // A limit adds the spans of one length to those of the limit before it.
        for start in 0..(characters + 1).saturating_sub(length) {
            let end = start + length;
            let score = scores.start[start] + scores.end[end - 1];
            // Of equal scores the earlier start comes first; the shorter span is there already.
            let precedes = |other: &Span| {
                other.score > score || (other.score == score && other.start <= start)
            };
            let enters = best.len() < count || best.last().is_some_and(|worst| !precedes(worst));
            if score == f32::NEG_INFINITY || !enters {
                continue;
            }
            let rank = best.partition_point(precedes);
            best.insert(rank, Span { start, end, score });
            best.truncate(count);
        }
        best.clone()
    });
    limits.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn best_spans_cases() {
        fn check(start: &[f32], end: &[f32], max_length: usize, expected: &[Range<usize>]) {
            let scores = ScoresView { start, end };
            let spans = best_spans(scores, max_length, expected.len().max(1));
            let found: Vec<Range<usize>> = spans.iter().map(Span::range).collect();
            assert_eq!(found, expected, "{start:?} {end:?} {max_length}");
            for span in spans {
                assert_eq!(span_score(scores, span.range()), span.score);
            }
        }
        // One character is an answer.
        check(&[0.0, 5.0], &[0.0, 5.0], 30, &[1..2]);
        // The best end given the best start is not the best pair.
        check(&[3.0, 2.9], &[NONE, 0.0], 30, &[0..2]);
        check(&[3.0, 2.9, 0.0], &[NONE, 9.0, 0.0], 1, &[1..2]);
        // An end before the start is never returned, and the limit counts characters.
        check(&[0.0, 0.0, 9.0], &[9.0, 0.0, 0.0], 30, &[0..1]);
        check(&[9.0, NONE, NONE], &[NONE, NONE, 9.0], 2, &[]);
        check(&[9.0, NONE, NONE], &[NONE, NONE, 9.0], 3, &[0..3]);
        check(&[9.0, NONE, NONE], &[NONE, NONE, 9.0], usize::MAX, &[0..3]);
        // Ties: the earlier, then the shorter.
        check(&[1.0, 1.0], &[1.0, 1.0], 30, &[0..1, 0..2, 1..2]);
        check(&[NONE], &[NONE], 30, &[]);
        check(&[], &[], 30, &[]);
    }

    /// Start and end scores; none where the flag is set.
    fn columns(scores: &[(i8, i8, bool)]) -> (Vec<f32>, Vec<f32>) {
        let value = |none: bool, score: i8| if none { NONE } else { f32::from(score) };
        let values = scores.iter();
        values
            .map(|&(start, end, none)| (value(none, start), value(none, end)))
            .unzip()
    }

    proptest! {
        #[test]
        fn best_spans_equal_exhaustive_search(
            scores in prop::collection::vec((-5i8..5, -5i8..5, prop::bool::weighted(0.2)), 0..30),
            max_length in 1usize..12,
            count in 1usize..8,
        ) {
            let (start, end) = columns(&scores);
            let view = ScoresView { start: &start, end: &end };
            let mut all = Vec::new();
            for first in 0..start.len() {
                for last in first..start.len().min(first + max_length) {
                    let score = span_score(view, first..last + 1);
                    if score > NONE {
                        all.push(Span { start: first, end: last + 1, score });
                    }
                }
            }
            all.sort_by(|a, b| b.score.total_cmp(&a.score)); // stable: ties stay in order of position
            all.truncate(count);
            prop_assert_eq!(best_spans(view, max_length, count), all);
        }

        #[test]
        fn every_limit_has_the_spans_of_its_own_search(
            scores in prop::collection::vec((-3i8..3, -3i8..3, prop::bool::weighted(0.2)), 0..30),
            longest in 0usize..12,
            count in 1usize..8,
        ) {
            let (start, end) = columns(&scores);
            let view = ScoresView { start: &start, end: &end };
            let by_limit = best_spans_by_limit(view, longest, count);
            let each: Vec<Vec<Span>> =
                (1..=longest).map(|limit| best_spans(view, limit, count)).collect();
            prop_assert_eq!(by_limit, each);
        }
    }
}
