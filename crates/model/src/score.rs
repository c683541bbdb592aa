//! Windows through the model to scores per paragraph character and of no answer, a bounded number of
//! windows at a time.

use std::iter::Peekable;

use anyhow::{Result, anyhow};
use burn::tensor::{Device, Tensor};
use spanwise_artifact::scores::{Scores, Span, Whole};
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_ops::Precision;
use spanwise_spans::softmax::cross_entropy;

use crate::batch::{Batch, split_into_passes, width};
use crate::pair_template::{answer_range, input_length, question_and_paragraph_ranges};
use crate::span_head::{SpanLogits, SpanModel};

/// Number of forward passes whose windows are sorted by length together, so that little is padded.
/// It bounds what is held in memory, and how seldom progress shows.
const PASSES_SORTED_TOGETHER: usize = 8;

/// Runs windows through a model.
#[derive(Debug, Clone, Copy)]
pub struct Scorer<'a> {
    /// The model, on a device that does not record gradients.
    pub model: &'a SpanModel,
    /// The model's device.
    pub device: &'a Device,
    /// The windows' pair template and lengths.
    pub layout: &'a Layout,
    /// Precision of matrix products.
    pub precision: Precision,
    /// Tokens of a forward pass, padding included. A longer window has a pass of its own.
    pub tokens_per_pass: usize,
}

/// The raw logits of one window.
struct WindowLogits {
    /// Of its paragraph tokens as the first of an answer.
    start: Vec<f32>,
    /// Of its paragraph tokens as the last of an answer.
    end: Vec<f32>,
    /// The sum of both of the input's first token, which stands for no answer.
    null: f32,
}

/// A question's scores.
pub struct Scored {
    /// Index of the question in the split.
    pub question: usize,
    /// The scores of its paragraph's characters.
    pub scores: Scores,
    /// The score of no answer, and the best window.
    pub whole: Whole,
    /// Number of windows that have gone through the model since the last question: those of all
    /// questions that were scored together come with the last of them.
    pub new_windows: usize,
}

/// The mean loss of windows that contain their question's whole answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MeanLoss {
    sum: f64,
    windows: usize,
}

impl MeanLoss {
    /// Returns the mean; NaN where no window contains an answer.
    pub fn value(&self) -> f64 {
        self.sum / self.windows as f64
    }
}

impl Scorer<'_> {
    /// Scores the questions that `windows` belong to, which are ordered by question, and calls `each`
    /// with every one.
    ///
    /// The windows of a question are merged by keeping every character's highest raw logit. A
    /// softmax over each window would make windows without the answer as confident as the one that
    /// has it. The lowest score of no answer is kept: windows without the answer score it highly,
    /// and one that has the answer does not.
    pub fn score(
        &self,
        file: &WindowFile,
        windows: impl Iterator<Item = Window>,
        mut each: impl FnMut(Scored) -> Result<()>,
    ) -> Result<MeanLoss> {
        let mut loss = MeanLoss::default();
        let mut windows = windows.peekable();
        while windows.peek().is_some() {
            let group = self.group(file, &mut windows);
            let logits = self.logits(file, &group, &mut loss)?;
            let scored: Vec<_> = group.iter().zip(&logits).collect();
            let mut left = group.len();
            for windows in scored.chunk_by(|a, b| a.0.question == b.0.question) {
                left -= windows.len();
                let question = windows[0].0.question;
                let mut scores = Scores::none(file.paragraph_characters(question));
                let mut best = Whole::NONE.window;
                for (window, logits) in windows {
                    merge(&mut scores, file, window, logits);
                    if let Some(span) = best_start_and_end(file, window, logits)
                        && span.score > best.score
                    {
                        best = span;
                    }
                }
                let nulls = windows.iter().map(|(_, logits)| logits.null);
                let null = nulls.fold(f32::INFINITY, f32::min);
                each(Scored {
                    question,
                    scores,
                    whole: Whole { null, window: best },
                    new_windows: if left == 0 { group.len() } else { 0 },
                })?;
            }
        }
        Ok(loss)
    }

    /// Returns the next windows that are sorted together, whole questions only.
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

    /// Returns the logits of every window of a group, in the group's order.
    fn logits(
        &self,
        file: &WindowFile,
        group: &[Window],
        loss: &mut MeanLoss,
    ) -> Result<Vec<WindowLogits>> {
        let mut order: Vec<usize> = (0..group.len()).collect();
        let length = |window: &Window| input_length(file, self.layout, window);
        // Longest first: the shorter ones then fit into memory that is already allocated.
        order.sort_by_key(|&index| std::cmp::Reverse(length(&group[index])));
        let by_length: Vec<Window> = order.iter().map(|&index| group[index].clone()).collect();
        let mut logits = Vec::with_capacity(group.len());
        let size = |window: &Window| (1, width(length(window), self.layout.max_length));
        // Reading waits for the device, so that is done when the next pass is on its way.
        let mut pending: Option<PendingPass> = None;
        for windows in split_into_passes(&by_length, size, self.tokens_per_pass) {
            let batch = Batch::from_windows(file, self.layout, windows, self.device);
            let SpanLogits { start, end } = self.model.forward(&batch, self.precision);
            let both = Tensor::cat(vec![start, end], 0);
            if let Some(pass) = pending.replace(PendingPass { windows, both }) {
                self.read(file, pass, loss, &mut logits)?;
            }
        }
        if let Some(pass) = pending {
            self.read(file, pass, loss, &mut logits)?;
        }
        let mut in_order: Vec<Option<WindowLogits>> = group.iter().map(|_| None).collect();
        for (index, logits) in order.into_iter().zip(logits) {
            in_order[index] = Some(logits);
        }
        let logits = in_order.into_iter();
        Ok(logits
            .map(|logits| logits.expect("every window is in one pass"))
            .collect())
    }

    /// Waits for a pass, adds its windows' losses to `loss` and their logits to `logits`.
    fn read(
        &self,
        file: &WindowFile,
        PendingPass { windows, both }: PendingPass,
        loss: &mut MeanLoss,
        logits: &mut Vec<WindowLogits>,
    ) -> Result<()> {
        let [_, columns] = both.dims();
        let values = both.into_data().try_into_vec::<f32>();
        let values = values.map_err(|error| anyhow!("{error:?}"))?;
        let (starts, ends) = values.split_at(windows.len() * columns);
        let rows = starts.chunks(columns).zip(ends.chunks(columns));
        for (window, (starts, ends)) in windows.iter().zip(rows) {
            let length = input_length(file, self.layout, window);
            let [_, tokens] = question_and_paragraph_ranges(file, self.layout, window);
            let answer = file.answer(window.question);
            let answer = answer.and_then(|a| answer_range(file, self.layout, window, &a));
            if let Some(answer) = answer {
                let start = cross_entropy(&starts[..length], answer.start);
                let end = cross_entropy(&ends[..length], answer.end - 1);
                loss.sum += f64::midpoint(start, end);
                loss.windows += 1;
            }
            logits.push(WindowLogits {
                start: starts[tokens.clone()].to_vec(),
                end: ends[tokens].to_vec(),
                null: starts[0] + ends[0],
            });
        }
        Ok(())
    }
}

/// A forward pass that the device may still be computing.
struct PendingPass<'a> {
    windows: &'a [Window],
    /// The start logits of every row, then the end logits, `[2 · rows, tokens]`.
    both: Tensor<2>,
}

/// Raises the scores of the characters that a window's tokens start and end with.
fn merge(scores: &mut Scores, file: &WindowFile, window: &Window, logits: &WindowLogits) {
    for ((token, &start), &end) in window.tokens.clone().zip(&logits.start).zip(&logits.end) {
        let characters = file.characters(window.question, token);
        let (first, last) = (characters.start, characters.end - 1);
        scores.start[first] = scores.start[first].max(start);
        scores.end[last] = scores.end[last].max(end);
    }
}

/// Returns the characters of a window's best start and its best end, each on its own, and their sum;
/// an empty range where the end is before the start. `None` for a window without tokens.
fn best_start_and_end(file: &WindowFile, window: &Window, logits: &WindowLogits) -> Option<Span> {
    let (start, end) = (highest(&logits.start)?, highest(&logits.end)?);
    let characters = |token: usize| file.characters(window.question, window.tokens.start + token);
    let range = if start <= end {
        characters(start).start..characters(end).end
    } else {
        0..0
    };
    Some(Span {
        start: range.start,
        end: range.end,
        score: logits.start[start] + logits.end[end],
    })
}

/// Returns the index of the first highest number.
fn highest(numbers: &[f32]) -> Option<usize> {
    let indices = (0..numbers.len()).rev();
    indices.max_by(|&a, &b| numbers[a].total_cmp(&numbers[b]))
}
