//! The operations composed from Burn's own, for any device: the definition of what a kernel
//! computes.

use burn::tensor::{Distribution, FloatDType, Tensor, activation, module};

use crate::{PackedRows, Precision, to_f32, to_precision};

/// See [`crate::linear`].
pub(crate) fn linear(
    x: Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<3> {
    let [batch, tokens, inputs] = x.dims();
    let [_, outputs] = weight.dims();
    // One product of two matrices: with three dimensions Burn would multiply batch by batch.
    let x = to_precision(x, precision).reshape([batch * tokens, inputs]);
    let product = x.matmul(to_precision(weight, precision));
    (product + to_precision(bias, precision).unsqueeze()).reshape([batch, tokens, outputs])
}

/// See [`crate::layer_norm`].
pub(crate) fn layer_norm(
    x: Tensor<3>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<3> {
    module::layer_norm(to_f32(x), gamma, Some(beta), epsilon)
}

/// See [`crate::residual_layer_norm`].
pub(crate) fn residual_layer_norm(
    x: Tensor<3>,
    residual: Tensor<3>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    probability: f64,
) -> Tensor<3> {
    layer_norm(
        residual + dropout(to_f32(x), probability),
        gamma,
        beta,
        epsilon,
    )
}

/// See [`crate::dropout`].
pub(crate) fn dropout<const D: usize>(x: Tensor<D>, probability: f64) -> Tensor<D> {
    if probability == 0.0 || !x.device().is_autodiff() {
        return x;
    }
    let keep = 1.0 - probability;
    let mask = x.random_like(Distribution::Bernoulli(keep));
    x * mask.mul_scalar(1.0 / keep)
}

/// See [`crate::attention`], row by row.
pub(crate) fn packed_attention(
    qkv: Tensor<3>,
    rows: &PackedRows,
    heads: usize,
    dropout_probability: f64,
) -> Tensor<3> {
    let offsets = rows.offsets.clone().into_data();
    let offsets: Vec<usize> = offsets
        .iter::<i64>()
        .map(|offset| offset as usize)
        .collect();
    let attended = offsets.windows(2).map(|row| {
        let row = qkv.clone().narrow(1, row[0], row[1] - row[0]);
        attention(row, None, heads, dropout_probability)
    });
    Tensor::cat(attended.collect(), 1)
}

/// See [`crate::attention`]. The mask is additive because one of Burn's backends passes a boolean
/// mask on with its meaning inverted.
pub(crate) fn attention(
    qkv: Tensor<3>,
    mask: Option<Tensor<2>>,
    heads: usize,
    dropout_probability: f64,
) -> Tensor<3> {
    let [batch, tokens, triple] = qkv.dims();
    let hidden = triple / 3;
    let size = hidden / heads;
    let dtype = qkv.dtype();
    let part = |part: usize| -> Tensor<4> {
        let x = qkv.clone().narrow(2, part * hidden, hidden);
        x.reshape([batch, tokens, heads, size]).swap_dims(1, 2)
    };
    let scale = (size as f64).powf(-0.5);
    let scores = to_f32(part(0).mul_scalar(scale).matmul(part(1).swap_dims(2, 3)));
    let scores = match mask {
        Some(mask) => scores + mask.reshape([batch, 1, 1, tokens]),
        None => scores,
    };
    let weights = activation::softmax(scores, 3);
    let mut weights = dropout(weights, dropout_probability);
    if weights.dtype() != dtype {
        weights = weights.cast(FloatDType::from(dtype));
    }
    weights
        .matmul(part(2))
        .swap_dims(1, 2)
        .reshape([batch, tokens, hidden])
}

/// See [`crate::cross_entropy`].
pub(crate) fn cross_entropy(logits: Tensor<2>, mask: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let log_probabilities = activation::log_softmax(logits + mask, 1);
    (log_probabilities * target)
        .sum_dim(1)
        .squeeze_dim::<1>(1)
        .neg()
}
