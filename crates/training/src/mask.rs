//! Which tokens are masked.

use std::ops::Range;

use rand::Rng;

/// Samples positions to mask, a share `probability` of `positions` on average, in runs of 1 to
/// `longest` neighbours. Returns them in ascending order.
pub fn sample(
    positions: &Range<usize>,
    probability: f64,
    longest: usize,
    random: &mut impl Rng,
) -> Vec<usize> {
    let mean = (1 + longest) as f64 / 2.0;
    // A gap of visible tokens, geometric in length, then a run, and so on.
    let start_of_run = probability / (mean * (1.0 - probability) + probability);
    let mut masked = Vec::new();
    let mut position = positions.start;
    while position < positions.end {
        if random.random_bool(start_of_run) {
            let run = random.random_range(1..=longest);
            let end = (position + run).min(positions.end);
            masked.extend(position..end);
            position = end;
        } else {
            position += 1;
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn the_share_is_masked_in_runs() {
        for (share, longest) in [(0.15, 1), (0.15, 5), (0.5, 3), (0.0, 3)] {
            let masked = sample(
                &(100..100_100),
                share,
                longest,
                &mut StdRng::seed_from_u64(0),
            );
            let found = masked.len() as f64 / 100_000.0;
            assert!((found - share).abs() < 0.01, "{found} of {share}");
            assert!(
                masked.is_sorted_by(|a, b| a < b) && masked.iter().all(|&position| position >= 100)
            );
            let runs = masked.chunk_by(|a, b| a + 1 == *b).map(<[usize]>::len);
            assert_eq!(runs.max().unwrap_or(0) >= longest, share > 0.0);
        }
    }
}
