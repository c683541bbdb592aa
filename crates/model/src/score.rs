//! Windows through the model to scores per paragraph character, a bounded number of windows at a time.

use std::iter::Peekable;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use spanwise_artifact::scores::Scores;
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_ops::Precision;

use crate::batch::{Batch, input_length, width, within_budget};
use crate::encoder::SpanModel;

/// Forward passes sorted together by length, so that little is padded. Bounds what is held in memory, and
/// how seldom progress shows.
const PASSES_SORTED_TOGETHER: usize = 8;

/// How windows go through the model.
#[derive(Debug, Clone, Copy)]
pub struct Scorer<'a> {
    /// The model, on a device that does not record gradients.
    pub model: &'a SpanModel,
    /// Its device.
    pub device: &'a Device,
    /// Pair template and lengths.
    pub layout: &'a Layout,
    /// Of matrix products.
    pub precision: Precision,
    /// Tokens per forward pass, padding included; a window longer than that goes alone.
    pub tokens_per_pass: usize,
}

/// The logits of one window's paragraph tokens, raw.
struct WindowLogits {
    start: Vec<f32>,
    end: Vec<f32>,
}

/// Loss over windows that contain their question's whole answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MeanLoss {
    sum: f64,
    windows: usize,
}

impl MeanLoss {
    /// The mean, or NaN where no window had an answer.
    pub fn value(&self) -> f64 {
        self.sum / self.windows as f64
    }
}

impl Scorer<'_> {
    /// Scores questions of a split by their `windows`, which are ordered by question. `each` gets a question's
    /// index, its scores and the number of windows they come from.
    ///
    /// The windows of a question are merged by keeping every character's best raw logit. A softmax per
    /// window would make windows without the answer as sure of themselves as the one that has it.
    pub fn score(
        &self,
        file: &WindowFile,
        windows: impl Iterator<Item = Window>,
        mut each: impl FnMut(usize, Scores, usize) -> Result<()>,
    ) -> Result<MeanLoss> {
        let mut loss = MeanLoss::default();
        let mut windows = windows.peekable();
        while windows.peek().is_some() {
            let group = self.group(file, &mut windows);
            let logits = self.logits(file, &group, &mut loss)?;
            let scored: Vec<_> = group.iter().zip(&logits).collect();
            for question in scored.chunk_by(|a, b| a.0.question == b.0.question) {
                let index = question[0].0.question;
                let mut scores = Scores::none(file.paragraph_characters(index));
                for (window, logits) in question {
                    merge(&mut scores, file, window, logits);
                }
                each(index, scores, question.len())?;
            }
        }
        Ok(loss)
    }

    /// The next windows that are sorted together, whole questions only.
    fn group(
        &self,
        file: &WindowFile,
        windows: &mut Peekable<impl Iterator<Item = Window>>,
    ) -> Vec<Window> {
        let wanted = self.tokens_per_pass * PASSES_SORTED_TOGETHER;
        let mut tokens = 0;
        let mut question = None;
        let mut group = Vec::new();
        while let Some(window) =
            windows.next_if(|next| tokens < wanted || question == Some(next.question))
        {
            tokens += input_length(file, self.layout, &window);
            question = Some(window.question);
            group.push(window);
        }
        group
    }

    /// Logits of every window of a group, in the group's order.
    fn logits(
        &self,
        file: &WindowFile,
        group: &[Window],
        loss: &mut MeanLoss,
    ) -> Result<Vec<WindowLogits>> {
        let mut order: Vec<usize> = (0..group.len()).collect();
        let length = |window: &Window| input_length(file, self.layout, window);
        // Longest first: what the shorter ones need then fits into memory that is already there.
        order.sort_by_key(|&place| std::cmp::Reverse(length(&group[place])));
        let by_length: Vec<Window> = order.iter().map(|&place| group[place].clone()).collect();
        let mut places = order.into_iter();
        let mut logits: Vec<Option<WindowLogits>> = group.iter().map(|_| None).collect();
        let size = |window: &Window| (1, width(length(window), self.layout.max_length));
        for windows in within_budget(&by_length, size, self.tokens_per_pass) {
            let batch = Batch::from_windows(file, self.layout, windows, self.device);
            let output = self.model.forward(&batch, self.precision);
            let (starts, ends) = (rows(output.start)?, rows(output.end)?);
            for (row, (window, place)) in windows.iter().zip(&mut places).enumerate() {
                let length = length(window);
                let first = self
                    .layout
                    .template
                    .paragraph_start(file.question_tokens(window.question).len());
                if let Some((answer_start, answer_end)) = answer_in(file, window) {
                    let start = cross_entropy(&starts[row][..length], first + answer_start);
                    let end = cross_entropy(&ends[row][..length], first + answer_end);
                    loss.sum += f64::midpoint(start, end);
                    loss.windows += 1;
                }
                let tokens = first..first + window.tokens.len();
                logits[place] = Some(WindowLogits {
                    start: starts[row][tokens.clone()].to_vec(),
                    end: ends[row][tokens].to_vec(),
                });
            }
        }
        Ok(logits
            .into_iter()
            .map(|logits| logits.expect("every window is in one pass"))
            .collect())
    }
}

/// The answer's first and last token within a window that contains it whole.
pub fn answer_in(file: &WindowFile, window: &Window) -> Option<(usize, usize)> {
    let answer = file.answer(window.question)?;
    let whole = window.tokens.start <= answer.start && answer.end <= window.tokens.end;
    whole.then(|| {
        let first = window.tokens.start;
        (answer.start - first, answer.end - 1 - first)
    })
}

/// Raises the scores of the characters that a window's tokens begin and end with.
fn merge(scores: &mut Scores, file: &WindowFile, window: &Window, logits: &WindowLogits) {
    for ((token, &start), &end) in window.tokens.clone().zip(&logits.start).zip(&logits.end) {
        let characters = file.characters(window.question, token);
        let (first, last) = (characters.start, characters.end - 1);
        scores.start[first] = scores.start[first].max(start);
        scores.end[last] = scores.end[last].max(end);
    }
}

/// A `[rows, columns]` tensor as rows of numbers.
fn rows(tensor: Tensor<2>) -> Result<Vec<Vec<f32>>> {
    let [_, columns] = tensor.dims();
    let values = tensor
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(values.chunks(columns).map(<[f32]>::to_vec).collect())
}

/// −log softmax(logits)[target].
fn cross_entropy(logits: &[f32], target: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - largest).exp())
        .sum();
    sum.ln() - f64::from(logits[target] - largest)
}

#[cfg(test)]
mod tests {
    use super::cross_entropy;

    #[test]
    fn cross_entropy_cases() {
        assert!((cross_entropy(&[0.0, 0.0], 1) - 2f64.ln()).abs() < 1e-12);
        assert!(cross_entropy(&[100.0, 0.0], 0) < 1e-12);
        assert!((cross_entropy(&[100.0, 0.0], 1) - 100.0).abs() < 1e-9);
    }
}
