//! One pass over the training questions: windows drawn for each, batches of similar length.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_training::batches::by_length;
use spanwise_training::seed::mix;

use crate::placement;
use spanwise_model::batch::input_length;

/// A question to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// One that holds the answer, then those drawn from the rest of the paragraph.
    pub windows: Vec<Window>,
}

impl Example {
    /// Length in tokens of the longest window's input.
    pub fn length(&self, file: &WindowFile, layout: &Layout) -> usize {
        let lengths = self
            .windows
            .iter()
            .map(|window| input_length(file, layout, window));
        lengths.max().unwrap_or(0)
    }
}

/// How an epoch is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Questions a batch.
    pub batch_size: usize,
    /// Windows without the answer beside the one with it.
    pub negative_windows: usize,
    /// Decides windows and order.
    pub seed: u64,
}

/// Questions that can be learned from: those with an answer that fits a window.
pub fn trainable(file: &WindowFile, layout: &Layout) -> Vec<usize> {
    let fits = |&question: &usize| {
        let room = layout.room(file.question_tokens(question).len());
        file.answer(question)
            .is_some_and(|answer| answer.len() <= room)
    };
    (0..file.questions()).filter(fits).collect()
}

/// The batches of epoch `epoch`: every question once.
pub fn batches(
    file: &WindowFile,
    layout: &Layout,
    questions: &[usize],
    draw: Draw,
    epoch: usize,
) -> Vec<Vec<Example>> {
    let mut random = StdRng::seed_from_u64(mix(draw.seed, epoch as u64));
    let mut examples: Vec<Example> = questions
        .iter()
        .filter_map(|&question| example(file, layout, question, draw.negative_windows, &mut random))
        .collect();
    examples.shuffle(&mut random);
    by_length(
        examples,
        |example| example.length(file, layout),
        draw.batch_size,
        &mut random,
    )
}

fn example(
    file: &WindowFile,
    layout: &Layout,
    question: usize,
    negative_windows: usize,
    random: &mut impl Rng,
) -> Option<Example> {
    let tokens = file.paragraph_tokens(question).len();
    let room = layout.room(file.question_tokens(question).len());
    let answer = file.answer(question)?;
    let answer = (answer.start, answer.end - 1);
    let positive = placement::draw(layout.placement, tokens, room, answer, random)?;
    let negatives =
        (0..negative_windows).filter_map(|_| placement::without(tokens, room, answer, random));
    let windows = std::iter::once(positive).chain(negatives);
    Some(Example {
        windows: windows.map(|tokens| Window { question, tokens }).collect(),
    })
}
