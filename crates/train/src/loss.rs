//! The training loss: cross-entropy of the answers' boundaries.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use spanwise_artifact::settings::{DistillTable, TrainTable};
use spanwise_model::{SpanLogits, SpanModel};
use spanwise_ops::{self as ops, MASKED};

use crate::regularisers::distillation::{Distillation, SoftTargets};
use crate::regularisers::{head_dropout, joint_loss, r_drop, soft_labels};

/// The input's first token, which stands for no answer, as in BERT's `run_squad.py`.
pub const NO_ANSWER: Range<usize> = 0..1;

/// Where an example's answer is: in one row of a batch, which rows without it may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundaries {
    /// The answer's tokens in the first row's input, or [`NO_ANSWER`].
    pub answer: Range<usize>,
    /// Number of rows, 1 or more.
    pub rows: usize,
}

/// The labels of a micro-batch, as tensors. A row is a window.
pub struct Targets {
    /// Label of the answer's first token, over all tokens of an example's windows,
    /// `[examples, windows · tokens]`.
    start: Tensor<2>,
    /// Label of the answer's last token, as `start`.
    end: Tensor<2>,
    /// 0 for real tokens, [`MASKED`] for padding, as `start`.
    mask: Tensor<2>,
    /// Rows of the batch that make up the examples, `[examples · windows]`; `None` where every row
    /// is an example.
    rows: Option<Tensor<1, Int>>,
    /// The rows that hold the answers, `[examples]`.
    answer_rows: Tensor<1, Int>,
    /// The answers' `start · tokens + last`, `[examples, 1]`.
    answer_pairs: Tensor<2, Int>,
    /// The batch's mask, `[rows, tokens]`.
    row_mask: Tensor<2>,
    distillation: Option<Distillation>,
}

impl Targets {
    /// The labels of `examples`, whose rows follow each other. `mask`: the batch's,
    /// `[rows, tokens]`; `soft_labels`: the share of a boundary's label that goes to the tokens
    /// beside it.
    pub fn new(examples: &[Boundaries], soft_labels: f64, mask: &Tensor<2>) -> Self {
        let device = mask.device();
        let [_, tokens] = mask.dims();
        let most = examples.iter().map(|example| example.rows).max();
        let most = most.unwrap_or(1);
        let width = most * tokens;
        let mut start = vec![0.0f32; examples.len() * width];
        let mut end = start.clone();
        let mut absent = start.clone();
        let mut rows = Vec::with_capacity(examples.len() * most);
        let (mut answer_rows, mut answer_pairs) = (Vec::new(), Vec::new());
        let mut next = 0;
        for (index, example) in examples.iter().enumerate() {
            let cells = index * width..index * width + tokens;
            let (first, last) = (example.answer.start, example.answer.end - 1);
            // The tokens beside the one that stands for no answer are no answer, either.
            let is_answer = example.answer != NO_ANSWER;
            let share = if is_answer { soft_labels } else { 0.0 };
            soft_labels::label(&mut start[cells.clone()], first, share);
            soft_labels::label(&mut end[cells], last, share);
            answer_rows.push(next as i64);
            answer_pairs.push((first * tokens + last) as i64);
            // An example with fewer rows than others repeats its last one, masked.
            rows.extend((0..most).map(|row| (next + row.min(example.rows - 1)) as i64));
            absent[index * width + example.rows * tokens..(index + 1) * width].fill(MASKED);
            next += example.rows;
        }
        let shape = [examples.len(), width];
        let floats = |values| Tensor::from_data(TensorData::new(values, shape), &device);
        let rows = (most > 1).then(|| integers(rows, &device));
        Self {
            start: floats(start),
            end: floats(end),
            mask: side_by_side(mask.clone(), rows.as_ref(), shape) + floats(absent),
            rows,
            answer_rows: integers(answer_rows, &device),
            answer_pairs: integers(answer_pairs, &device).unsqueeze_dim(1),
            row_mask: mask.clone(),
            distillation: None,
        }
    }

    /// Adds a teacher's targets, one an example, for the example's first row.
    #[must_use]
    pub fn with_teacher(mut self, targets: &[SoftTargets], settings: DistillTable) -> Self {
        let [_, tokens] = self.row_mask.dims();
        let device = self.row_mask.device();
        self.distillation = Some(Distillation::new(targets, tokens, settings, &device));
        self
    }

    /// Returns the loss of a micro-batch, one element: the sum over its examples.
    ///
    /// `hidden`: what the encoder writes, `[rows, tokens, hidden]`; with `train.r_drop` all rows
    /// twice, one sample of dropout after the other.
    pub fn loss(&self, model: &SpanModel, hidden: &Tensor<3>, settings: &TrainTable) -> Tensor<1> {
        let examples = |logits: &SpanLogits| {
            let mut loss = self.boundary_loss(logits);
            if settings.joint_loss > 0.0 {
                loss = loss + self.pair_loss(logits).mul_scalar(settings.joint_loss);
            }
            if let Some(distillation) = &self.distillation {
                loss = distillation.mix(loss, logits, &self.answer_rows);
            }
            loss.sum()
        };
        head_dropout::mean_loss(settings.multi_sample_dropout, hidden, |hidden| {
            let logits = model.logits(hidden);
            if settings.r_drop > 0.0 {
                r_drop::loss(&logits, self, settings.r_drop, examples)
            } else {
                examples(&logits)
            }
        })
    }

    /// Returns the loss of every example, `[examples]`: the mean of start and end cross-entropy,
    /// each over all the example's windows, so that windows without the answer learn to be less
    /// confident than the one with it. `logits`: `[rows, tokens]`.
    pub fn boundary_loss(&self, logits: &SpanLogits) -> Tensor<1> {
        let loss = |logits: &Tensor<2>, labels: &Tensor<2>| {
            let logits = side_by_side(logits.clone(), self.rows.as_ref(), self.start.dims());
            ops::cross_entropy(logits, self.mask.clone(), labels.clone())
        };
        (loss(&logits.start, &self.start) + loss(&logits.end, &self.end)).div_scalar(2.0)
    }

    /// Returns the loss of every example over pairs: see [`joint_loss::pair_loss`].
    pub(crate) fn pair_loss(&self, logits: &SpanLogits) -> Tensor<1> {
        joint_loss::pair_loss(
            logits,
            &self.row_mask,
            &self.answer_rows,
            &self.answer_pairs,
        )
    }

    /// Returns an example's logits side by side, those of padding masked,
    /// `[examples, windows · tokens]`, from `[rows, tokens]`.
    pub(crate) fn masked(&self, logits: &Tensor<2>) -> Tensor<2> {
        let logits = side_by_side(logits.clone(), self.rows.as_ref(), self.start.dims());
        logits + self.mask.clone()
    }
}

fn integers(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Returns the rows of every example side by side, `shape`, from `[rows, tokens]`.
fn side_by_side(x: Tensor<2>, rows: Option<&Tensor<1, Int>>, shape: [usize; 2]) -> Tensor<2> {
    match rows {
        Some(rows) => x.select(0, rows.clone()).reshape(shape),
        None => x,
    }
}

/// What the tests of losses share.
#[cfg(test)]
pub(crate) mod testing {
    use spanwise_artifact::settings::Device;
    use spanwise_ops::device;

    use super::*;

    pub(crate) const TOKENS: usize = 5;

    pub(crate) fn tensor(rows: &[[f32; TOKENS]]) -> Tensor<2> {
        let device = device::open(Device::Flex).unwrap().device;
        let values = rows.concat();
        Tensor::from_data(TensorData::new(values, [rows.len(), TOKENS]), &device)
    }

    /// Logits of three rows.
    pub(crate) fn logits() -> SpanLogits {
        SpanLogits {
            start: tensor(&[
                [0.5, 2.0, -1.0, 0.0, 9.0],
                [1.0, -2.0, 0.0, 3.0, 0.5],
                [0.1, 0.2, 0.3, 0.4, 0.5],
            ]),
            end: tensor(&[
                [1.5, 0.0, 1.0, 2.0, 9.0],
                [0.0, 1.0, 2.0, -3.0, 0.5],
                [0.5, 0.4, 0.3, 0.2, 0.1],
            ]),
        }
    }

    /// Their mask: the first row's last token is padding.
    pub(crate) fn mask() -> Tensor<2> {
        tensor(&[[0.0, 0.0, 0.0, 0.0, MASKED], [0.0; TOKENS], [0.0; TOKENS]])
    }

    pub(crate) fn boundaries(answer: Range<usize>, rows: usize) -> Boundaries {
        Boundaries { answer, rows }
    }

    pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    pub(crate) fn log_sum(scores: &[f32]) -> f32 {
        scores.iter().map(|score| score.exp()).sum::<f32>().ln()
    }

    pub(crate) fn assert_near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-4, "{found:?}, expected {expected:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{TOKENS, assert_near, boundaries, log_sum, logits, mask, values};
    use super::*;

    #[test]
    fn boundaries_compete_over_all_of_an_examples_rows() {
        let examples = [boundaries(1..3, 1), boundaries(0..4, 2)];
        let targets = Targets::new(&examples, 0.0, &mask());
        let alone = |all: &[f32], answer: f32| log_sum(all) - answer;
        let first = alone(&[0.5, 2.0, -1.0, 0.0], 2.0) + alone(&[1.5, 0.0, 1.0, 2.0], 1.0);
        let both_rows = [1.0, -2.0, 0.0, 3.0, 0.5, 0.1, 0.2, 0.3, 0.4, 0.5];
        let both_ends = [0.0, 1.0, 2.0, -3.0, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1];
        let second = alone(&both_rows, 1.0) + alone(&both_ends, -3.0);
        assert_near(
            &values(targets.boundary_loss(&logits())),
            &[first / 2.0, second / 2.0],
        );
    }

    #[test]
    fn soft_labels_are_those_of_start_and_end_and_of_no_answer_none() {
        let examples = [
            boundaries(1..2, 1),
            boundaries(0..5, 1),
            boundaries(0..1, 1),
        ];
        let targets = Targets::new(&examples, 0.2, &mask());
        let row = |row: usize, of: &Tensor<2>| {
            values(of.clone())[row * TOKENS..(row + 1) * TOKENS].to_vec()
        };
        assert_near(&row(0, &targets.start), &[0.1, 0.8, 0.1, 0.0, 0.0]);
        assert_near(&row(1, &targets.start), &[0.9, 0.1, 0.0, 0.0, 0.0]);
        assert_near(&row(1, &targets.end), &[0.0, 0.0, 0.0, 0.1, 0.9]);
        assert_near(&row(2, &targets.start), &[1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_near(&row(2, &targets.end), &[1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
