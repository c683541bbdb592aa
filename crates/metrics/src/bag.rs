//! What all metrics but CMRC's share: an answer equals a reference where their normalised words do,
//! and F1 is over words as if in a bag.

use std::collections::HashMap;
use std::hash::Hash;

/// Returns exact match and F1 of an answer by the words that `words` returns, the best over the
/// references.
pub(crate) fn scores(
    answer: &str,
    references: &[&str],
    words: impl Fn(&str) -> Vec<String>,
) -> (f64, f64) {
    let answer = words(answer);
    references
        .iter()
        .fold((0.0, 0.0), |(exact, best), reference| {
            let reference = words(reference);
            let equal = f64::from(answer == reference);
            (equal.max(exact), f1(&answer, &reference).max(best))
        })
}

/// Returns F1 over what two bags share; 0 where that is nothing, so also where both are empty.
pub(crate) fn f1<T: Eq + Hash>(answer: &[T], reference: &[T]) -> f64 {
    let mut left: HashMap<&T, usize> = HashMap::new();
    for word in reference {
        *left.entry(word).or_default() += 1;
    }
    let shared = answer.iter().filter(|word| match left.get_mut(word) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    });
    f1_of_shared(shared.count(), answer.len(), reference.len())
}

/// Returns F1 of an answer and a reference of these lengths that share so much; 0 where that is
/// nothing.
pub(crate) fn f1_of_shared(shared: usize, answer: usize, reference: usize) -> f64 {
    if shared == 0 {
        return 0.0;
    }
    let precision = shared as f64 / answer as f64;
    let recall = shared as f64 / reference as f64;
    // In the scripts' order: a threshold is the best by the last bit.
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_shared_as_often_as_both_have_it() {
        fn check(answer: &str, reference: &str, expected: f64) {
            let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(f1(&words(answer), &words(reference)), expected);
        }
        check("a a b", "a a b", 1.0);
        check("a a b", "b a c", 2.0 / 3.0);
        check("a a a", "a b", 0.4);
        check("a", "b", 0.0);
        assert_eq!(f1::<char>(&[], &[]), 0.0);
    }
}
