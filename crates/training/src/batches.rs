//! Batches of similar length.

use rand::Rng;
use rand::seq::SliceRandom;

/// Batches whose questions are sorted together by length: enough that rows of a batch are alike, few
/// enough that batches stay random.
const BATCHES_SORTED_TOGETHER: usize = 16;

/// Shuffled items in batches of similar length, the batches in random order.
pub fn by_length<T>(
    mut items: Vec<T>,
    length: impl Fn(&T) -> usize,
    batch_size: usize,
    random: &mut impl Rng,
) -> Vec<Vec<T>> {
    let mut batches = Vec::with_capacity(items.len().div_ceil(batch_size));
    while !items.is_empty() {
        let rest = items.split_off(items.len().min(batch_size * BATCHES_SORTED_TOGETHER));
        items.sort_by_key(&length);
        while !items.is_empty() {
            let others = items.split_off(items.len().min(batch_size));
            batches.push(std::mem::replace(&mut items, others));
        }
        items = rest;
    }
    batches.shuffle(random);
    batches
}
