//! The batches of an epoch: items of similar length, in random order.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::hyperparameters::Hyperparameters;
use crate::seed::derive_seed;
use crate::task::Task;

/// Batches whose items are sorted together by length: enough that rows of a batch are alike, few
/// enough that batches stay random.
const BATCHES_SORTED_TOGETHER: usize = 16;

/// The batches of a run, of which one epoch's are held at a time.
pub struct Batches<'a, T: Task> {
    task: &'a T,
    batch_size: usize,
    seed: u64,
    epoch: Option<usize>,
    in_epoch: Vec<Vec<T::Item>>,
}

impl<'a, T: Task> Batches<'a, T> {
    /// The batches of `task`. Sequence and content are a pure function of the seed.
    pub fn new(task: &'a T, hyperparameters: &Hyperparameters) -> Self {
        Self {
            task,
            batch_size: hyperparameters.batch_size,
            seed: hyperparameters.seed,
            epoch: None,
            in_epoch: Vec::new(),
        }
    }

    /// Returns the number of batches in an epoch.
    pub fn per_epoch(&self) -> usize {
        self.task.items().div_ceil(self.batch_size)
    }

    /// Returns the batch that is learned from after `step` steps.
    pub fn at(&mut self, step: usize) -> &[T::Item] {
        let epoch = step / self.per_epoch();
        if self.epoch != Some(epoch) {
            self.in_epoch = self.sample(epoch);
            self.epoch = Some(epoch);
        }
        &self.in_epoch[step % self.per_epoch()]
    }

    /// Returns the batches of an epoch, counted from 0: every item once.
    pub fn sample(&self, epoch: usize) -> Vec<Vec<T::Item>> {
        let mut random = StdRng::seed_from_u64(derive_seed(self.seed, epoch as u64));
        let mut items = self.task.sample(&mut random);
        items.shuffle(&mut random);
        let length = |item: &T::Item| self.task.length(item);
        by_length(items, length, self.batch_size, &mut random)
    }
}

/// Returns shuffled items in batches of similar length, the batches in random order.
fn by_length<T>(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_item_once_beside_items_of_similar_length() {
        let mut random = StdRng::seed_from_u64(0);
        let mut items: Vec<usize> = (0..203).collect();
        items.shuffle(&mut random);
        let batches = by_length(items, |&length| length, 10, &mut random);
        assert_eq!(batches.len(), 21);
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..203));
        // Of 160 items sorted together, 10 neighbours span a sixteenth of the lengths.
        let spread = |batch: &Vec<usize>| batch.iter().max().unwrap() - batch.iter().min().unwrap();
        let narrow = batches.iter().filter(|batch| spread(batch) < 40).count();
        assert!(narrow >= 16, "{batches:?}");
        assert!(!batches.is_sorted(), "batches are in random order");
    }
}
