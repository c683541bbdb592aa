//! Which tokens are hidden from the model.

use std::ops::Range;

use rand::Rng;

/// Draws places to hide among `places`, `share` of them on average, in runs of 1 to `longest` neighbours. The
/// places come in ascending order.
pub fn draw(
    places: &Range<usize>,
    share: f64,
    longest: usize,
    random: &mut impl Rng,
) -> Vec<usize> {
    let mean = (1 + longest) as f64 / 2.0;
    // Runs are spread by drawing where the next begins: a gap of visible tokens, geometric, then a run.
    let begins = share / (mean * (1.0 - share) + share);
    let mut drawn = Vec::new();
    let mut place = places.start;
    while place < places.end {
        if random.random_bool(begins) {
            let run = random.random_range(1..=longest);
            let end = (place + run).min(places.end);
            drawn.extend(place..end);
            place = end;
        } else {
            place += 1;
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn the_share_is_hidden_in_runs() {
        for (share, longest) in [(0.15, 1), (0.15, 5), (0.5, 3), (0.0, 3)] {
            let drawn = draw(
                &(100..100_100),
                share,
                longest,
                &mut StdRng::seed_from_u64(0),
            );
            let found = drawn.len() as f64 / 100_000.0;
            assert!((found - share).abs() < 0.01, "{found} of {share}");
            assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.iter().all(|&place| place >= 100));
            let runs = drawn.chunk_by(|a, b| a + 1 == *b).map(<[usize]>::len);
            assert_eq!(runs.max().unwrap_or(0) >= longest, share > 0.0);
        }
    }
}
