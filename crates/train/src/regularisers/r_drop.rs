//! `train.r_drop`: every row goes through the model twice, and where the two samples of dropout
//! disagree is a loss of its own (Liang et al., 2021, arXiv:2106.14448).

use burn::tensor::{Tensor, activation};
use spanwise_model::SpanLogits;

use crate::loss::Targets;

/// Returns the mean of both halves' losses plus `weight` times their divergence, one element.
/// `logits`: of all rows, then of all rows again, `[2 · rows, tokens]`.
pub fn loss(
    logits: &SpanLogits,
    targets: &Targets,
    weight: f64,
    loss: impl Fn(&SpanLogits) -> Tensor<1>,
) -> Tensor<1> {
    let [one, other] = halves(logits);
    let mean = (loss(&one) + loss(&other)).div_scalar(2.0);
    let divergence = divergence(&one, &other, targets).sum();
    mean + divergence.mul_scalar(weight)
}

/// Returns the mean over both boundaries of the mean of both Kullback-Leibler divergences,
/// `[examples]`.
fn divergence(one: &SpanLogits, other: &SpanLogits, targets: &Targets) -> Tensor<1> {
    let divergence = |one: &Tensor<2>, other: &Tensor<2>| {
        let log = |logits: &Tensor<2>| activation::log_softmax(targets.masked(logits), 1);
        let (one, other) = (log(one), log(other));
        ((one.clone().exp() - other.clone().exp()) * (one - other))
            .sum_dim(1)
            .squeeze_dim::<1>(1)
    };
    (divergence(&one.start, &other.start) + divergence(&one.end, &other.end)).div_scalar(4.0)
}

/// Returns the first and the second half of the rows.
fn halves(logits: &SpanLogits) -> [SpanLogits; 2] {
    let [rows, _] = logits.start.dims();
    [0, rows / 2].map(|first| SpanLogits {
        start: logits.start.clone().narrow(0, first, rows / 2),
        end: logits.end.clone().narrow(0, first, rows / 2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::testing::{
        TOKENS, assert_near, boundaries, log_sum, logits, mask, tensor, values,
    };

    #[test]
    fn only_different_logits_diverge() {
        let examples = [
            boundaries(1..3, 1),
            boundaries(0..5, 1),
            boundaries(0..1, 1),
        ];
        let targets = Targets::new(&examples, 0.0, &mask());
        let same = divergence(&logits(), &logits(), &targets);
        assert_near(&values(same), &[0.0; 3]);
        let mut other = logits();
        // Neither a constant added to a row nor the logits of padding change its distribution.
        other.start = other.start + tensor(&[[3.0; TOKENS], [0.0; TOKENS], [0.0; TOKENS]]);
        other.end = other.end + tensor(&[[0.0, 0.0, 0.0, 0.0, 7.0], [0.0; TOKENS], [0.0; TOKENS]]);
        other.end = other.end + tensor(&[[0.0; TOKENS], [0.0; TOKENS], [1.0, 0.0, 0.0, 0.0, 0.0]]);
        let p = [0.5f32, 0.4, 0.3, 0.2, 0.1];
        let q = [1.5f32, 0.4, 0.3, 0.2, 0.1];
        let probability = |of: &[f32; 5], index: usize| of[index].exp() / log_sum(of).exp();
        let both = (0..5).map(|index| {
            let (p, q) = (probability(&p, index), probability(&q, index));
            (p - q) * (p.ln() - q.ln())
        });
        let expected = both.sum::<f32>() / 4.0;
        let found = values(divergence(&logits(), &other, &targets));
        assert_near(&found, &[0.0, 0.0, expected]);
    }
}
