//! `train.multi_sample_dropout`: the mean loss over several samples of dropout before the span head
//! (Inoue, 2019, arXiv:1905.09788).

use burn::tensor::Tensor;
use spanwise_ops as ops;

/// Probability of dropout before the span head where several samples of it are asked for.
const PROBABILITY: f64 = 0.3;

/// Returns the mean of `loss` over `samples` samples of dropout on `hidden`,
/// `[rows, tokens, hidden]`; the loss without dropout for 0 or 1.
pub fn mean_loss(
    samples: usize,
    hidden: &Tensor<3>,
    loss: impl Fn(Tensor<3>) -> Tensor<1>,
) -> Tensor<1> {
    let samples = samples.max(1);
    let probability = if samples > 1 { PROBABILITY } else { 0.0 };
    let losses = (0..samples).map(|_| loss(ops::dropout(hidden.clone(), probability)));
    let sum = losses.reduce(|sum, loss| sum + loss);
    sum.expect("one sample at least").div_scalar(samples as f64)
}
