//! Some items of many, spread evenly.

/// Returns whether item `index` is one of `count` spread evenly among `all`; `count` ≤ `all`.
pub fn in_sample(index: usize, count: usize, all: usize) -> bool {
    // The share taken so far steps up at the items to take.
    index * count / all != (index + 1) * count / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_their_size_and_are_spread() {
        fn check(count: usize, all: usize) {
            let sample: Vec<usize> = (0..all).filter(|&i| in_sample(i, count, all)).collect();
            assert_eq!(sample.len(), count);
            let widest = sample.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(widest.is_none_or(|widest| widest <= all.div_ceil(count)));
        }
        check(0, 5);
        check(1, 1);
        check(2, 5);
        check(128, 520);
        check(44, 44);
    }
}
