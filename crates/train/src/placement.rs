//! Where a training window lies in its paragraph.

use std::ops::Range;

use rand::Rng;
use spanwise_artifact::settings::Placement;

/// Samples a window of at most `room` of the paragraph's `tokens` tokens that contains the whole
/// answer; `None` where the answer is longer than the window.
///
/// Placements are bounded so that the window holds as much paragraph as fits and never leaves it.
pub fn around(
    placement: Placement,
    tokens: usize,
    room: usize,
    answer: Range<usize>,
    random: &mut impl Rng,
) -> Option<Range<usize>> {
    if answer.len() > room {
        return None;
    }
    // From the first start that still reaches the answer's last token to the last that keeps its
    // first.
    let earliest = answer.end.saturating_sub(room);
    let latest = answer.start.min(tokens.saturating_sub(room));
    let start = match placement {
        Placement::Random => random.random_range(earliest..=latest),
        Placement::Centered => usize::midpoint(answer.start, answer.end - 1)
            .saturating_sub(room / 2)
            .clamp(earliest, latest),
    };
    Some(start..(start + room).min(tokens))
}

/// Samples a window of at most `room` of the paragraph's `tokens` tokens.
pub fn anywhere(tokens: usize, room: usize, random: &mut impl Rng) -> Range<usize> {
    let start = random.random_range(0..=tokens.saturating_sub(room));
    start..(start + room).min(tokens)
}

/// Least length in tokens of a window without the answer: shorter ones teach nothing.
const SHORTEST_WITHOUT: usize = 16;

/// Samples a window of at most `room` tokens from what stands before or after the answer; `None`
/// where neither is long enough.
pub fn without(
    tokens: usize,
    room: usize,
    answer: Range<usize>,
    random: &mut impl Rng,
) -> Option<Range<usize>> {
    let sides = sides(tokens, &answer);
    let total = sides[0].len() + sides[1].len();
    if total == 0 {
        return None;
    }
    // The longer side is the likelier one.
    let after = random.random_range(0..total) >= sides[0].len();
    let side = sides[usize::from(after)].clone();
    let start = random.random_range(side.start..=side.end.saturating_sub(room).max(side.start));
    Some(start..(start + room).min(side.end))
}

/// Whether [`without`] has something to sample from.
pub fn leaves_room(tokens: usize, answer: &Range<usize>) -> bool {
    sides(tokens, answer).iter().any(|side| !side.is_empty())
}

/// Returns what stands before and after the answer, as far as it is long enough.
fn sides(tokens: usize, answer: &Range<usize>) -> [Range<usize>; 2] {
    [0..answer.start, answer.end..tokens].map(|side| {
        if side.len() < SHORTEST_WITHOUT {
            0..0
        } else {
            side
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn random_placement_is_uniform_over_all_that_contain_the_answer() {
        let mut random = StdRng::seed_from_u64(0);
        let mut starts = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let window = around(Placement::Random, 20, 8, 9..12, &mut random).unwrap();
            *starts.entry(window.start).or_insert(0) += 1;
        }
        // Starts 4 (the answer ends the window) to 9 (it begins it): 1000 each, ±5 standard
        // deviations.
        assert_eq!(
            starts.keys().copied().collect::<Vec<_>>(),
            (4..=9).collect::<Vec<_>>()
        );
        assert!(
            starts.values().all(|count| (850..=1150).contains(count)),
            "{starts:?}"
        );
    }

    #[test]
    fn centered_placement_cases() {
        let check = |tokens, answer, expected| {
            let window = around(
                Placement::Centered,
                tokens,
                8,
                answer,
                &mut StdRng::seed_from_u64(0),
            );
            assert_eq!(window, expected);
        };
        check(20, 9..12, Some(6..14));
        check(20, 0..1, Some(0..8));
        check(20, 19..20, Some(12..20));
        check(5, 4..5, Some(0..5));
        check(20, 1..9, Some(1..9));
        check(20, 1..10, None);
    }

    proptest! {
        #[test]
        fn a_window_without_the_answer_has_none_of_it(
            tokens in 1usize..600,
            room in 1usize..300,
            first in 0.0f64..1.0,
            length in 1usize..40,
            seed: u64,
        ) {
            let first = (first * tokens as f64) as usize;
            let answer = first..(first + length).min(tokens);
            match without(tokens, room, answer.clone(), &mut StdRng::seed_from_u64(seed)) {
                Some(window) => {
                    prop_assert!(window.end <= answer.start || window.start >= answer.end);
                    prop_assert!(!window.is_empty() && window.len() <= room && window.end <= tokens);
                }
                None => prop_assert!(
                    answer.start < SHORTEST_WITHOUT && tokens - answer.end < SHORTEST_WITHOUT
                ),
            }
            let found = without(tokens, room, answer.clone(), &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(found.is_some(), leaves_room(tokens, &answer));
            let window = anywhere(tokens, room, &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(window.len(), room.min(tokens));
            prop_assert!(window.end <= tokens);
        }
    }

    proptest! {
        #[test]
        fn the_whole_answer_is_inside(
            tokens in 1usize..600,
            room in 1usize..300,
            first in 0.0f64..1.0,
            length in 1usize..40,
            centered: bool,
            seed: u64,
        ) {
            let first = (first * tokens as f64) as usize;
            let answer = first..(first + length).min(tokens);
            let placement = if centered { Placement::Centered } else { Placement::Random };
            let random = &mut StdRng::seed_from_u64(seed);
            match around(placement, tokens, room, answer.clone(), random) {
                Some(window) => {
                    prop_assert!(
                        window.start <= answer.start && answer.end <= window.end,
                        "{window:?} cuts {answer:?}"
                    );
                    prop_assert!(window.end <= tokens);
                    prop_assert_eq!(window.len(), room.min(tokens));
                }
                None => prop_assert!(answer.len() > room),
            }
        }
    }
}
