//! `train.mask_inputs`: some question and paragraph tokens are masked, the answer's never.

use std::ops::Range;

use rand::rngs::StdRng;
use spanwise_training::mask;

/// Replaces a share `probability` of the tokens in `texts`, ranges of a row's `ids`, by `mask_id`,
/// but for those of `answer`.
pub fn mask(
    ids: &mut [u32],
    texts: &[Range<usize>],
    answer: Option<Range<usize>>,
    probability: f64,
    mask_id: u32,
    random: &mut StdRng,
) {
    let answer = answer.unwrap_or(0..0);
    for text in texts {
        for position in mask::sample(text, probability, 1, random) {
            if !answer.contains(&position) {
                ids[position] = mask_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn texts_are_masked_and_answers_are_not() {
        let mut ids: Vec<u32> = (0..10).collect();
        let random = &mut StdRng::seed_from_u64(0);
        let almost_all = 1.0 - 1e-9;
        mask(&mut ids, &[1..3, 4..9], Some(5..7), almost_all, 99, random);
        assert_eq!(ids, [0, 99, 99, 3, 99, 5, 6, 99, 99, 9]);
    }
}
