//! Answers and evaluation windows in tokens.

use std::ops::Range;

/// The tokens that cover an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerTokens {
    /// The tokens; there is at least one.
    pub tokens: Range<usize>,
    /// Whether they begin and end exactly with the answer. Where they do not, no span of whole
    /// tokens is the answer, and training uses the shortest one around it instead.
    pub exact: bool,
}

/// The fewest tokens that cover the answer's characters; `None` where no token touches them.
/// `ranges` are the tokens' characters, starts and ends ascending.
pub fn answer_tokens(ranges: &[Range<usize>], answer: &Range<usize>) -> Option<AnswerTokens> {
    let first = ranges.partition_point(|range| range.end <= answer.start);
    let behind = ranges.partition_point(|range| range.start < answer.end);
    if first >= behind {
        return None;
    }
    let last = behind - 1;
    let exact = ranges[first].start == answer.start && ranges[last].end == answer.end;
    Some(AnswerTokens {
        tokens: first..last + 1,
        exact,
    })
}

/// Evaluation windows over `tokens` tokens: `room` tokens each, `stride` apart, the last one ending
/// with the text. Together they cover every token.
///
/// # Panics
/// Unless `1 ≤ stride ≤ room`: a longer stride would skip tokens.
pub fn evaluation_windows(
    tokens: usize,
    room: usize,
    stride: usize,
) -> impl Iterator<Item = Range<usize>> {
    assert!(
        (1..=room).contains(&stride),
        "stride {stride} with room for {room} tokens"
    );
    let beyond_first = tokens.saturating_sub(room).div_ceil(stride);
    (0..=beyond_first).map(move |index| index * stride..(index * stride + room).min(tokens))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn evaluation_windows_cases() {
        let check = |tokens, room, stride, expected: &[(usize, usize)]| {
            let windows = evaluation_windows(tokens, room, stride);
            let found: Vec<_> = windows.map(|window| (window.start, window.end)).collect();
            assert_eq!(found, expected);
        };
        check(5, 10, 3, &[(0, 5)]);
        check(10, 10, 3, &[(0, 10)]);
        check(11, 10, 3, &[(0, 10), (3, 11)]);
        check(20, 10, 10, &[(0, 10), (10, 20)]);
        check(21, 10, 5, &[(0, 10), (5, 15), (10, 20), (15, 21)]);
        check(0, 10, 3, &[(0, 0)]);
    }

    #[test]
    fn answer_tokens_cases() {
        let ranges = [0..1, 1..5, 6..7, 7..8];
        let check = |answer: Range<usize>, expected: Option<(usize, usize, bool)>| {
            let found = answer_tokens(&ranges, &answer);
            let found = found.map(|found| (found.tokens.start, found.tokens.end, found.exact));
            assert_eq!(found, expected);
        };
        check(0..1, Some((0, 1, true)));
        check(1..7, Some((1, 3, true)));
        check(2..4, Some((1, 2, false))); // inside a token
        check(4..7, Some((1, 3, false)));
        check(5..7, Some((2, 3, false))); // begins with a space, which has no token
        check(5..6, None);
        check(8..9, None);
    }

    proptest! {
        #[test]
        fn windows_cover_every_token(tokens in 0usize..2000, room in 1usize..500, share in 0.0f64..1.0) {
            let stride = 1 + (share * (room - 1) as f64) as usize;
            let mut covered = 0;
            for window in evaluation_windows(tokens, room, stride) {
                prop_assert!(window.start <= covered, "tokens {covered}..{} are skipped", window.start);
                prop_assert!(window.len() <= room);
                prop_assert!(tokens == 0 || window.end > covered, "window {window:?} adds nothing");
                covered = window.end;
            }
            prop_assert_eq!(covered, tokens);
        }
    }
}
