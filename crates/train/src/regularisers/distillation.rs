//! `[distill]`: soft targets from an ensemble's scores (Hinton et al., 2015, arXiv:1503.02531).

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use spanwise_artifact::scores::ScoresView;
use spanwise_artifact::settings::DistillTable;
use spanwise_artifact::windows::{Window, WindowFile};
use spanwise_model::SpanLogits;
use spanwise_ops::{self as ops, MASKED};
use spanwise_spans::{covering, softmax::softmax};

use crate::loss::NO_ANSWER;

/// A teacher's probabilities for one row.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftTargets {
    /// Input position of the paragraph's first token.
    pub first: usize,
    /// Probability that the answer starts at a token, for every token of the paragraph; with that of
    /// no answer they sum to 1.
    pub start: Vec<f32>,
    /// The same of the answer's last token.
    pub end: Vec<f32>,
    /// Probability of no answer, as the start and as the end; `None` where that is not learned.
    pub null: Option<[f32; 2]>,
}

impl SoftTargets {
    /// Of a window that does not answer its question. `paragraph`: input positions of its tokens.
    pub fn no_answer(paragraph: Range<usize>) -> Self {
        Self {
            start: vec![0.0; paragraph.len()],
            end: vec![0.0; paragraph.len()],
            first: paragraph.start,
            null: Some([1.0, 1.0]),
        }
    }
}

/// Returns the teacher's probabilities for the tokens of a window, from its scores of the
/// paragraph's characters. A token that the teacher cannot express has the scores of the tightest
/// span around it. `first`: input position of the window's first token; `null`: the teacher's score
/// of no answer, where that is learned, of which start and end have half each.
pub fn soft_targets(
    file: &WindowFile,
    window: &Window,
    first: usize,
    scores: ScoresView,
    null: Option<f32>,
    temperature: f32,
) -> SoftTargets {
    let covering = covering(scores);
    let characters = |token| file.characters(window.question, token);
    let start = window
        .tokens
        .clone()
        .map(|token| covering.start[characters(token).start]);
    let end = window
        .tokens
        .clone()
        .map(|token| covering.end[characters(token).end - 1]);
    let half = null.map(|null| null / 2.0);
    let mut start = softmax(&start.chain(half).collect::<Vec<_>>(), temperature);
    let mut end = softmax(&end.chain(half).collect::<Vec<_>>(), temperature);
    let null = half.and_then(|_| start.pop().zip(end.pop()));
    let null = null.map(|(start, end)| [start, end]);
    SoftTargets {
        first,
        start,
        end,
        null,
    }
}

/// The soft targets of a micro-batch, one row an example.
pub(crate) struct Distillation {
    /// `[examples, tokens]`.
    start: Tensor<2>,
    /// `[examples, tokens]`.
    end: Tensor<2>,
    /// 0 for tokens of the paragraph, and for the first one where no answer is learned, [`MASKED`]
    /// for all others, `[examples, tokens]`.
    mask: Tensor<2>,
    settings: DistillTable,
}

impl Distillation {
    /// Puts soft targets into rows of `tokens` tokens.
    pub(crate) fn new(
        soft_targets: &[SoftTargets],
        tokens: usize,
        settings: DistillTable,
        device: &Device,
    ) -> Self {
        let mut start = vec![0.0f32; soft_targets.len() * tokens];
        let mut end = start.clone();
        let mut mask = vec![MASKED; soft_targets.len() * tokens];
        for (index, targets) in soft_targets.iter().enumerate() {
            let first = index * tokens + targets.first;
            let cells = first..first + targets.start.len();
            start[cells.clone()].copy_from_slice(&targets.start);
            end[cells.clone()].copy_from_slice(&targets.end);
            mask[cells].fill(0.0);
            if let Some(null) = targets.null {
                let cell = index * tokens + NO_ANSWER.start;
                [start[cell], end[cell]] = null;
                mask[cell] = 0.0;
            }
        }
        let floats = |values| {
            let shape = [soft_targets.len(), tokens];
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        Self {
            start: floats(start),
            end: floats(end),
            mask: floats(mask),
            settings,
        }
    }

    /// Returns `loss`, `[examples]`, weighted against the teacher's. `rows`: the examples' rows in
    /// `logits`, `[examples]`.
    pub(crate) fn mix(
        &self,
        loss: Tensor<1>,
        logits: &SpanLogits,
        rows: &Tensor<1, Int>,
    ) -> Tensor<1> {
        let weight = self.settings.weight;
        loss.mul_scalar(1.0 - weight) + self.loss(logits, rows).mul_scalar(weight)
    }

    /// Returns the cross-entropy of the teacher's distributions and the model's at the same
    /// temperature, `[examples]`: the mean of start and end, times the square of the temperature,
    /// so that gradients keep their size.
    fn loss(&self, logits: &SpanLogits, rows: &Tensor<1, Int>) -> Tensor<1> {
        let temperature = self.settings.temperature;
        let loss = |logits: &Tensor<2>, target: &Tensor<2>| {
            let logits = logits.clone().select(0, rows.clone());
            ops::cross_entropy(
                logits.div_scalar(temperature),
                self.mask.clone(),
                target.clone(),
            )
        };
        let sum = loss(&logits.start, &self.start) + loss(&logits.end, &self.end);
        sum.mul_scalar(temperature * temperature / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{TOKENS, assert_near, log_sum, logits, values};

    #[test]
    fn soft_targets_are_learned_over_the_paragraph_and_no_answer_alone() {
        let soft_targets = |first, start: &[f32], end: &[f32], null| SoftTargets {
            first,
            start: start.to_vec(),
            end: end.to_vec(),
            null,
        };
        let targets = [
            soft_targets(1, &[0.5, 0.5, 0.0], &[0.0, 0.0, 1.0], None),
            soft_targets(2, &[0.0, 0.5], &[0.25, 0.25], Some([0.5, 0.5])),
        ];
        let settings = DistillTable {
            weight: 0.25,
            temperature: 2.0,
        };
        let device = logits().start.device();
        let distillation = Distillation::new(&targets, TOKENS, settings, &device);
        let of = |row: usize, targets: &SoftTargets| {
            let side = |logits: &Tensor<2>, target: &[f32], null: Option<f32>| {
                let from = row * TOKENS + targets.first;
                let values = values(logits.clone());
                let first = null.map(|_| values[row * TOKENS]);
                let scores = values[from..from + target.len()].iter().copied();
                let scores: Vec<f32> = scores.chain(first).map(|score| score / 2.0).collect();
                let target = target.iter().copied().chain(null);
                let mean: f32 = scores.iter().zip(target).map(|(s, t)| s * t).sum();
                log_sum(&scores) - mean
            };
            let logits = logits();
            let [start, end] = [0, 1].map(|side| targets.null.map(|null| null[side]));
            let start = side(&logits.start, &targets.start, start);
            4.0 * (start + side(&logits.end, &targets.end, end)) / 2.0
        };
        // The second example's row is the batch's second or, where the first has two, its third.
        for second in [1, 2] {
            let rows = TensorData::new(vec![0i64, second as i64], [2]);
            let rows = Tensor::from_data(rows, &device);
            let expected = [of(0, &targets[0]), of(second, &targets[1])];
            assert_near(&values(distillation.loss(&logits(), &rows)), &expected);
            let mixed = distillation.mix(Tensor::from_data([4.0, 8.0], &device), &logits(), &rows);
            let expected = [3.0 + expected[0] / 4.0, 6.0 + expected[1] / 4.0];
            assert_near(&values(mixed), &expected);
        }
    }
}
