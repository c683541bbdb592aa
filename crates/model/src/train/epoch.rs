//! One pass over the training questions: a window drawn for each, batches of similar length.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use spanwise_artifact::windows::{Layout, Window, WindowFile};

use crate::batch::input_length;
use crate::train::placement;

/// Batches whose questions are sorted together by length: enough that rows of a batch are alike, few
/// enough that batches stay random.
const BATCHES_SORTED_TOGETHER: usize = 16;

/// Questions that can be learned from: those with an answer that fits a window.
pub fn trainable(file: &WindowFile, layout: &Layout) -> Vec<usize> {
    let fits = |&question: &usize| {
        let room = layout.room(file.question_tokens(question).len());
        file.answer(question)
            .is_some_and(|(first, last)| last + 1 - first <= room)
    };
    (0..file.questions()).filter(fits).collect()
}

/// The batches of epoch `epoch`: every question once, windows and order drawn from `seed` and `epoch`.
pub fn batches(
    file: &WindowFile,
    layout: &Layout,
    questions: &[usize],
    batch_size: usize,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<Window>> {
    let mut random = StdRng::seed_from_u64(mix(seed, epoch as u64));
    let mut windows: Vec<Window> = questions
        .iter()
        .filter_map(|&question| draw(file, layout, question, &mut random))
        .collect();
    windows.shuffle(&mut random);
    let mut batches = Vec::with_capacity(windows.len().div_ceil(batch_size));
    for pool in windows.chunks_mut(batch_size * BATCHES_SORTED_TOGETHER) {
        pool.sort_by_key(|window| input_length(file, layout, window));
        batches.extend(pool.chunks(batch_size).map(<[Window]>::to_vec));
    }
    batches.shuffle(&mut random);
    batches
}

fn draw(
    file: &WindowFile,
    layout: &Layout,
    question: usize,
    random: &mut impl Rng,
) -> Option<Window> {
    let tokens = file.paragraph_tokens(question).len();
    let room = layout.room(file.question_tokens(question).len());
    let range = placement::draw(
        layout.placement,
        tokens,
        room,
        file.answer(question)?,
        random,
    )?;
    Some(Window {
        question,
        tokens: range,
    })
}

/// A seed of its own for every part of a run (Steele et al., 2014: SplitMix64's finaliser), so that any
/// epoch or step can be redrawn without replaying those before it.
pub fn mix(seed: u64, part: u64) -> u64 {
    let mut z = seed.wrapping_add(part.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
