//! Where a training window lies in its paragraph.

use std::ops::Range;

use rand::Rng;
use spanwise_artifact::settings::Placement;

/// Draws a window of at most `room` of the paragraph's `tokens` tokens that contains the whole answer
/// `first..=last`; `None` where the answer is longer than the window.
///
/// Placements are bounded so that the window holds as much paragraph as fits and never leaves it.
pub fn draw(
    placement: Placement,
    tokens: usize,
    room: usize,
    (first, last): (usize, usize),
    random: &mut impl Rng,
) -> Option<Range<usize>> {
    if last + 1 - first > room {
        return None;
    }
    // From the first start that still reaches the answer's last token to the last one that keeps its first.
    let earliest = (last + 1).saturating_sub(room);
    let latest = first.min(tokens.saturating_sub(room));
    let start = match placement {
        Placement::Random => random.random_range(earliest..=latest),
        Placement::Centered => usize::midpoint(first, last)
            .saturating_sub(room / 2)
            .clamp(earliest, latest),
    };
    Some(start..(start + room).min(tokens))
}

/// Least length in tokens of a window without the answer: shorter ones teach nothing.
const SHORTEST_WITHOUT: usize = 16;

/// Draws a window of at most `room` tokens from what stands before or after the answer `first..=last`; `None`
/// where neither is long enough.
pub fn without(
    tokens: usize,
    room: usize,
    (first, last): (usize, usize),
    random: &mut impl Rng,
) -> Option<Range<usize>> {
    let sides = [0..first, last + 1..tokens].map(|side| {
        if side.len() < SHORTEST_WITHOUT {
            0..0
        } else {
            side
        }
    });
    let total = sides[0].len() + sides[1].len();
    if total == 0 {
        return None;
    }
    let longer_is_likelier = usize::from(random.random_range(0..total) >= sides[0].len());
    let side = sides[longer_is_likelier].clone();
    let start = random.random_range(side.start..=side.end.saturating_sub(room).max(side.start));
    Some(start..(start + room).min(side.end))
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
            let window = draw(Placement::Random, 20, 8, (9, 11), &mut random).unwrap();
            *starts.entry(window.start).or_insert(0) += 1;
        }
        // Starts 4 (the answer ends the window) to 9 (it begins it): 1000 each, ±5 standard deviations.
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
            let window = draw(
                Placement::Centered,
                tokens,
                8,
                answer,
                &mut StdRng::seed_from_u64(0),
            );
            assert_eq!(window, expected);
        };
        check(20, (9, 11), Some(6..14));
        check(20, (0, 0), Some(0..8));
        check(20, (19, 19), Some(12..20));
        check(5, (4, 4), Some(0..5));
        check(20, (1, 8), Some(1..9));
        check(20, (1, 9), None);
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
            let last = (first + length - 1).min(tokens - 1);
            match without(tokens, room, (first, last), &mut StdRng::seed_from_u64(seed)) {
                Some(window) => {
                    prop_assert!(window.end <= first || window.start > last);
                    prop_assert!(!window.is_empty() && window.len() <= room && window.end <= tokens);
                }
                None => prop_assert!(first < SHORTEST_WITHOUT && tokens - last - 1 < SHORTEST_WITHOUT),
            }
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
            let last = (first + length - 1).min(tokens - 1);
            let placement = if centered { Placement::Centered } else { Placement::Random };
            match draw(placement, tokens, room, (first, last), &mut StdRng::seed_from_u64(seed)) {
                Some(window) => {
                    prop_assert!(window.contains(&first) && window.contains(&last), "{window:?} cuts {first}..={last}");
                    prop_assert!(window.end <= tokens);
                    prop_assert_eq!(window.len(), room.min(tokens));
                }
                None => prop_assert!(last + 1 - first > room),
            }
        }
    }
}
