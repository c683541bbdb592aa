//! `train.joint_loss`: a second loss over pairs of start and end together.

use burn::tensor::{Int, Tensor, activation};
use spanwise_model::SpanLogits;
use spanwise_ops::MASKED;

/// Returns the cross-entropy of every example's answer, `[examples]`, among all pairs with
/// start ≤ end of the window that holds it, the sum of both logits being a pair's (Fajcik et al.,
/// 2021, arXiv:2008.12804).
///
/// `logits` and `mask`: `[rows, tokens]`. `rows`: the rows that hold the answers, `[examples]`.
/// `pairs`: the answers' `start · tokens + last`, `[examples, 1]`.
pub fn pair_loss(
    logits: &SpanLogits,
    mask: &Tensor<2>,
    rows: &Tensor<1, Int>,
    pairs: &Tensor<2, Int>,
) -> Tensor<1> {
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

#[cfg(test)]
mod tests {
    use crate::loss::Targets;
    use crate::loss::testing::{assert_near, boundaries, log_sum, logits, mask, values};

    #[test]
    fn pairs_with_end_before_start_do_not_compete() {
        let examples = [boundaries(1..3, 1), boundaries(0..5, 2)];
        let targets = Targets::new(&examples, 0.0, &mask());
        let pairs = |start: &[f32], end: &[f32]| {
            let mut scores = Vec::new();
            for (position, start) in start.iter().enumerate() {
                scores.extend(end[position..].iter().map(|end| start + end));
            }
            log_sum(&scores)
        };
        let first = pairs(&[0.5, 2.0, -1.0, 0.0], &[1.5, 0.0, 1.0, 2.0]) - (2.0 + 1.0);
        let second = pairs(&[1.0, -2.0, 0.0, 3.0, 0.5], &[0.0, 1.0, 2.0, -3.0, 0.5]) - 1.5;
        assert_near(&values(targets.pair_loss(&logits())), &[first, second]);
    }
}
