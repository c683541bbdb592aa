//! What training minimises: how surprised the model is by where the answers are.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use spanwise_artifact::settings::{DistillTable, TrainTable};
use spanwise_ops::{self as ops, MASKED};

use spanwise_model::encoder::{SpanLogits, SpanModel};

/// Dropout before the span head where `train.multi_sample_dropout` asks for several draws of it.
const HEAD_DROPOUT: f64 = 0.3;

/// An example: one row of a batch with an answer in it, and perhaps rows without after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// Input position of the answer's first token.
    pub start: usize,
    /// Of its last token, inclusive.
    pub end: usize,
    /// Number of rows, 1 or more.
    pub rows: usize,
}

/// The answers of a micro-batch, as tensors. A row is a window.
pub struct Targets {
    /// Share of the answer's start at every token of an example's windows, `[examples, windows · tokens]`.
    start: Tensor<2>,
    /// The same of its end.
    end: Tensor<2>,
    /// 0 for real tokens, [`MASKED`] for padding, as `start`.
    mask: Tensor<2>,
    /// Rows of the batch that make up the examples, `[examples · windows]`; none where every row is one.
    rows: Option<Tensor<1, Int>>,
    /// The rows that hold the answers, `[examples]`, and the answers' `start · tokens + end`, `[examples, 1]`.
    pairs: (Tensor<1, Int>, Tensor<2, Int>),
    taught: Option<Taught>,
}

/// What a teacher makes of one row: the probability of the answer's start, and of its end, at every token of the
/// paragraph.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// Input position of the paragraph's first token.
    pub first: usize,
    /// Of a start, per token; 1 together.
    pub start: Vec<f32>,
    /// Of an end.
    pub end: Vec<f32>,
}

/// The lessons on every example's first row.
struct Taught {
    /// `[examples, tokens]`.
    start: Tensor<2>,
    /// `[examples, tokens]`.
    end: Tensor<2>,
    /// 0 for tokens of the paragraph, [`MASKED`] for all others.
    mask: Tensor<2>,
    /// How they count.
    distill: DistillTable,
}

impl Targets {
    /// Of `examples`, whose rows stand one after the other. `mask`: the batch's, `[rows, tokens]`;
    /// `soft_labels`: the share of a boundary that goes to the tokens beside it.
    pub fn new(examples: &[Example], soft_labels: f64, mask: &Tensor<2>) -> Self {
        let device = mask.device();
        let [_, tokens] = mask.dims();
        let most = examples.iter().map(|example| example.rows).max();
        let most = most.unwrap_or(1);
        let width = most * tokens;
        let mut start = vec![0.0f32; examples.len() * width];
        let mut end = start.clone();
        let mut absent = start.clone();
        let mut rows = Vec::with_capacity(examples.len() * most);
        let (mut first_rows, mut pairs) = (Vec::new(), Vec::new());
        let mut next = 0;
        for (index, example) in examples.iter().enumerate() {
            let cells = index * width..index * width + tokens;
            soften(&mut start[cells.clone()], example.start, soft_labels);
            soften(&mut end[cells], example.end, soft_labels);
            first_rows.push(next as i64);
            pairs.push((example.start * tokens + example.end) as i64);
            // An example with fewer rows than others repeats its last one, out of sight.
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
            mask: spread(mask.clone(), rows.as_ref(), shape) + floats(absent),
            rows,
            pairs: (
                integers(first_rows, &device),
                integers(pairs, &device).unsqueeze_dim(1),
            ),
            taught: None,
        }
    }

    /// The same with a lesson an example.
    pub fn with_lessons(mut self, lessons: &[Lesson], distill: DistillTable) -> Self {
        let [_, tokens] = self.mask.dims();
        let tokens = match &self.rows {
            Some(rows) => tokens * lessons.len() / rows.dims()[0],
            None => tokens,
        };
        let mut start = vec![0.0f32; lessons.len() * tokens];
        let mut end = start.clone();
        let mut mask = vec![MASKED; lessons.len() * tokens];
        for (index, lesson) in lessons.iter().enumerate() {
            let first = index * tokens + lesson.first;
            let cells = first..first + lesson.start.len();
            start[cells.clone()].copy_from_slice(&lesson.start);
            end[cells.clone()].copy_from_slice(&lesson.end);
            mask[cells].fill(0.0);
        }
        let device = self.mask.device();
        let floats = |values| {
            let shape = [lessons.len(), tokens];
            Tensor::from_data(TensorData::new(values, shape), &device)
        };
        self.taught = Some(Taught {
            start: floats(start),
            end: floats(end),
            mask: floats(mask),
            distill,
        });
        self
    }

    /// Cross-entropy of the teacher's distributions and the model's at the same temperature, `[examples]`: the mean of
    /// start and end, times the square of the temperature, so that gradients keep their size.
    fn lessons(&self, taught: &Taught, logits: &SpanLogits, temperature: f64) -> Tensor<1> {
        let (rows, _) = &self.pairs;
        let loss = |logits: &Tensor<2>, target: &Tensor<2>| {
            let logits = logits.clone().select(0, rows.clone());
            ops::cross_entropy(
                logits.div_scalar(temperature),
                taught.mask.clone(),
                target.clone(),
            )
        };
        let sum = loss(&logits.start, &taught.start) + loss(&logits.end, &taught.end);
        sum.mul_scalar(temperature * temperature / 2.0)
    }

    /// An example's logits side by side, `[examples, windows · tokens]`, from `[rows, tokens]`.
    fn spread(&self, logits: Tensor<2>) -> Tensor<2> {
        spread(logits, self.rows.as_ref(), self.start.dims())
    }

    /// Loss of every example, `[examples]`: the mean of start and end cross-entropy, each over all the
    /// example's windows, so that those without the answer learn to be less sure than the one with it.
    pub fn boundaries(&self, logits: &SpanLogits) -> Tensor<1> {
        let loss = |logits: &Tensor<2>, target: &Tensor<2>| {
            ops::cross_entropy(
                self.spread(logits.clone()),
                self.mask.clone(),
                target.clone(),
            )
        };
        (loss(&logits.start, &self.start) + loss(&logits.end, &self.end)).div_scalar(2.0)
    }

    /// Cross-entropy of every example's answer, `[examples]`, among all pairs with start ≤ end of the window that
    /// holds it (Fajcik et al., 2021, with the sum of both logits as a pair's).
    fn joint(&self, logits: &SpanLogits, mask: &Tensor<2>) -> Tensor<1> {
        let (rows, pairs) = &self.pairs;
        let pick = |x: &Tensor<2>| x.clone().select(0, rows.clone());
        let [examples, _] = pairs.dims();
        let [_, tokens] = mask.dims();
        let mask = pick(mask);
        let start = (pick(&logits.start) + mask.clone()).unsqueeze_dim::<3>(2);
        let end = (pick(&logits.end) + mask).unsqueeze_dim::<3>(1);
        let ordered = Tensor::<2>::full([tokens, tokens], MASKED, &start.device())
            .tril(-1)
            .unsqueeze::<3>();
        let scores = (start + end + ordered).reshape([examples, tokens * tokens]);
        activation::log_softmax(scores, 1)
            .gather(1, pairs.clone())
            .squeeze_dim::<1>(1)
            .neg()
    }

    /// How far two draws of dropout disagree per example, `[examples]`: the mean over both boundaries of the mean
    /// of both Kullback-Leibler divergences (R-Drop; Liang et al., 2021).
    fn disagreement(&self, one: &SpanLogits, other: &SpanLogits) -> Tensor<1> {
        let divergence = |one: &Tensor<2>, other: &Tensor<2>| {
            let log = |logits: &Tensor<2>| {
                activation::log_softmax(self.spread(logits.clone()) + self.mask.clone(), 1)
            };
            let (one, other) = (log(one), log(other));
            ((one.clone().exp() - other.clone().exp()) * (one - other))
                .sum_dim(1)
                .squeeze_dim::<1>(1)
        };
        (divergence(&one.start, &other.start) + divergence(&one.end, &other.end)).div_scalar(4.0)
    }
}

fn integers(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn spread(x: Tensor<2>, rows: Option<&Tensor<1, Int>>, shape: [usize; 2]) -> Tensor<2> {
    match rows {
        Some(rows) => x.select(0, rows.clone()).reshape(shape),
        None => x,
    }
}

/// Puts a boundary at `place`, with half of `share` on either side of it where there is one.
fn soften(row: &mut [f32], place: usize, share: f64) {
    row[place] = 1.0;
    let beside = [place.checked_sub(1), Some(place + 1)];
    for neighbour in beside.into_iter().flatten() {
        if share > 0.0 && neighbour < row.len() {
            row[neighbour] += (share / 2.0) as f32;
            row[place] -= (share / 2.0) as f32;
        }
    }
}

/// The loss of a micro-batch, one element: the sum over its examples.
///
/// `hidden`: `[rows, tokens, hidden]`, what the encoder wrote; with `train.r_drop` the rows twice, one draw of
/// dropout after the other. `mask`: `[rows, tokens]`, once.
pub fn loss(
    model: &SpanModel,
    hidden: &Tensor<3>,
    mask: &Tensor<2>,
    targets: &Targets,
    settings: &TrainTable,
) -> Tensor<1> {
    let of = |logits: &SpanLogits| {
        let mut loss = targets.boundaries(logits);
        if settings.joint_loss > 0.0 {
            loss = loss + targets.joint(logits, mask).mul_scalar(settings.joint_loss);
        }
        if let Some(taught) = &targets.taught {
            let DistillTable {
                weight,
                temperature,
            } = taught.distill;
            let lessons = targets.lessons(taught, logits, temperature);
            loss = loss.mul_scalar(1.0 - weight) + lessons.mul_scalar(weight);
        }
        loss.sum()
    };
    let draws = settings.multi_sample_dropout.max(1);
    let probability = if draws > 1 { HEAD_DROPOUT } else { 0.0 };
    let mut sum: Option<Tensor<1>> = None;
    for _ in 0..draws {
        let logits = model.logits(ops::dropout(hidden.clone(), probability));
        let loss = if settings.r_drop > 0.0 {
            let [one, other] = halves(&logits);
            let mean = (of(&one) + of(&other)).div_scalar(2.0);
            let disagreement = targets.disagreement(&one, &other).sum();
            mean + disagreement.mul_scalar(settings.r_drop)
        } else {
            of(&logits)
        };
        sum = Some(match sum {
            Some(sum) => sum + loss,
            None => loss,
        });
    }
    sum.expect("one draw at least").div_scalar(draws as f64)
}

/// The first and the second half of the rows.
fn halves(logits: &SpanLogits) -> [SpanLogits; 2] {
    let [rows, _] = logits.start.dims();
    [0, rows / 2].map(|first| SpanLogits {
        start: logits.start.clone().narrow(0, first, rows / 2),
        end: logits.end.clone().narrow(0, first, rows / 2),
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    const TOKENS: usize = 5;

    fn tensor(rows: &[[f32; TOKENS]]) -> Tensor<2> {
        let device = Device::flex();
        let values = rows.concat();
        Tensor::from_data(TensorData::new(values, [rows.len(), TOKENS]), &device)
    }

    fn logits() -> SpanLogits {
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

    /// The first row's last token is padding.
    fn mask() -> Tensor<2> {
        tensor(&[[0.0, 0.0, 0.0, 0.0, MASKED], [0.0; TOKENS], [0.0; TOKENS]])
    }

    fn example(start: usize, end: usize, rows: usize) -> Example {
        Example { start, end, rows }
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    fn log_sum(scores: &[f32]) -> f32 {
        scores.iter().map(|score| score.exp()).sum::<f32>().ln()
    }

    fn assert_near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-4, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn boundaries_are_chosen_among_all_of_an_examples_rows() {
        let examples = [example(1, 2, 1), example(0, 3, 2)];
        let targets = Targets::new(&examples, 0.0, &mask());
        let alone = |all: &[f32], answer: f32| log_sum(all) - answer;
        let first = alone(&[0.5, 2.0, -1.0, 0.0], 2.0) + alone(&[1.5, 0.0, 1.0, 2.0], 1.0);
        let both_rows = [1.0, -2.0, 0.0, 3.0, 0.5, 0.1, 0.2, 0.3, 0.4, 0.5];
        let both_ends = [0.0, 1.0, 2.0, -3.0, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1];
        let second = alone(&both_rows, 1.0) + alone(&both_ends, -3.0);
        assert_near(
            &values(targets.boundaries(&logits())),
            &[first / 2.0, second / 2.0],
        );
    }

    #[test]
    fn soft_labels_share_with_the_neighbours() {
        let examples = [example(1, 0, 1), example(0, 4, 1), example(2, 2, 1)];
        let targets = Targets::new(&examples, 0.2, &mask());
        let row = |row: usize, of: &Tensor<2>| {
            values(of.clone())[row * TOKENS..(row + 1) * TOKENS].to_vec()
        };
        assert_near(&row(0, &targets.start), &[0.1, 0.8, 0.1, 0.0, 0.0]);
        assert_near(&row(0, &targets.end), &[0.9, 0.1, 0.0, 0.0, 0.0]);
        assert_near(&row(1, &targets.end), &[0.0, 0.0, 0.0, 0.1, 0.9]);
    }

    #[test]
    fn pairs_with_end_before_start_do_not_compete() {
        let examples = [example(1, 2, 1), example(0, 4, 2)];
        let targets = Targets::new(&examples, 0.0, &mask());
        let pairs = |start: &[f32], end: &[f32]| {
            let mut scores = Vec::new();
            for (place, start) in start.iter().enumerate() {
                scores.extend(end[place..].iter().map(|end| start + end));
            }
            log_sum(&scores)
        };
        let first = pairs(&[0.5, 2.0, -1.0, 0.0], &[1.5, 0.0, 1.0, 2.0]) - (2.0 + 1.0);
        let second = pairs(&[1.0, -2.0, 0.0, 3.0, 0.5], &[0.0, 1.0, 2.0, -3.0, 0.5]) - 1.5;
        assert_near(&values(targets.joint(&logits(), &mask())), &[first, second]);
    }

    #[test]
    fn only_different_draws_disagree() {
        let examples = [example(1, 2, 1), example(0, 4, 1), example(0, 0, 1)];
        let targets = Targets::new(&examples, 0.0, &mask());
        assert_near(
            &values(targets.disagreement(&logits(), &logits())),
            &[0.0; 3],
        );
        let mut other = logits();
        // What a row scores altogether is no disagreement, and neither is what padding scores.
        other.start = other.start + tensor(&[[3.0; TOKENS], [0.0; TOKENS], [0.0; TOKENS]]);
        other.end = other.end + tensor(&[[0.0, 0.0, 0.0, 0.0, 7.0], [0.0; TOKENS], [0.0; TOKENS]]);
        other.end = other.end + tensor(&[[0.0; TOKENS], [0.0; TOKENS], [1.0, 0.0, 0.0, 0.0, 0.0]]);
        let p = [0.5f32, 0.4, 0.3, 0.2, 0.1];
        let q = [1.5f32, 0.4, 0.3, 0.2, 0.1];
        let probability = |of: &[f32; 5], place: usize| of[place].exp() / log_sum(of).exp();
        let both = (0..5).map(|place| {
            let (p, q) = (probability(&p, place), probability(&q, place));
            (p - q) * (p.ln() - q.ln())
        });
        let expected = both.sum::<f32>() / 4.0;
        let found = values(targets.disagreement(&logits(), &other));
        assert_near(&found, &[0.0, 0.0, expected]);
    }

    #[test]
    fn lessons_are_learned_over_the_paragraph_alone() {
        let lesson = |first, start: &[f32], end: &[f32]| Lesson {
            first,
            start: start.to_vec(),
            end: end.to_vec(),
        };
        for examples in [
            vec![example(1, 2, 1), example(2, 3, 2)],
            vec![example(1, 2, 2), example(2, 3, 1)],
        ] {
            let second = examples[0].rows;
            let lessons = [
                lesson(1, &[0.5, 0.5, 0.0], &[0.0, 0.0, 1.0]),
                lesson(2, &[0.0, 1.0], &[0.25, 0.75]),
            ];
            let targets = Targets::new(&examples, 0.0, &mask())
                .with_lessons(&lessons, DistillTable::default());
            let taught = targets.taught.as_ref().unwrap();
            let found = values(targets.lessons(taught, &logits(), 2.0));
            let of = |row: usize, lesson: &Lesson| {
                let side = |logits: &Tensor<2>, target: &[f32]| {
                    let from = row * TOKENS + lesson.first;
                    let scores = values(logits.clone())[from..from + target.len()].to_vec();
                    let scores: Vec<f32> = scores.iter().map(|score| score / 2.0).collect();
                    let mean: f32 = scores.iter().zip(target).map(|(s, t)| s * t).sum();
                    log_sum(&scores) - mean
                };
                let logits = logits();
                4.0 * (side(&logits.start, &lesson.start) + side(&logits.end, &lesson.end)) / 2.0
            };
            assert_near(&found, &[of(0, &lessons[0]), of(second, &lessons[1])]);
        }
    }
}
