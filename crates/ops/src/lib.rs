//! The few heavy operations of the model, and the devices they run on.
//!
//! Everything here is composed from Burn's own operations, which decides nothing about the backend;
//! kernels of a backend can replace a composition without the model noticing. Only this crate knows
//! libtorch, and only [`device`] inside it.

#![warn(missing_docs)]

pub mod device;

use burn::tensor::{DType, Distribution, FloatDType, Int, Tensor, activation, module};

/// Number format of matrix products. Whatever it is, parameters, layer norms, softmax and loss are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// bfloat16.
    Bf16,
}

impl Precision {
    fn dtype(self) -> FloatDType {
        match self {
            Precision::F32 => FloatDType::F32,
            Precision::Bf16 => FloatDType::BF16,
        }
    }
}

/// Converts a tensor to f32; free where it is f32 already.
pub fn to_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 {
        x
    } else {
        x.cast(FloatDType::F32)
    }
}

fn to_precision<const D: usize>(x: Tensor<D>, precision: Precision) -> Tensor<D> {
    if x.dtype() == DType::from(precision.dtype()) {
        x
    } else {
        x.cast(precision.dtype())
    }
}

/// `x · weight + bias`, in the given precision.
///
/// # Shapes
/// - x: `[batch, tokens, inputs]`, weight: `[inputs, outputs]`, bias: `[outputs]`
/// - output: `[batch, tokens, outputs]`
pub fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, precision: Precision) -> Tensor<3> {
    let [batch, tokens, inputs] = x.dims();
    let [_, outputs] = weight.dims();
    // One product of two matrices: with three dimensions Burn would multiply batch by batch.
    let x = to_precision(x, precision).reshape([batch * tokens, inputs]);
    let product = x.matmul(to_precision(weight, precision));
    (product + to_precision(bias, precision).unsqueeze()).reshape([batch, tokens, outputs])
}

/// Layer normalisation over the last dimension (Ba et al., 2016), in f32.
///
/// # Shapes
/// - x: `[batch, tokens, hidden]`, gamma and beta: `[hidden]`
pub fn layer_norm(x: Tensor<3>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<3> {
    module::layer_norm(to_f32(x), gamma, Some(beta), epsilon)
}

/// The non-linearity of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · Φ(x)` with the exact normal distribution function (Hendrycks & Gimpel, 2016).
    Gelu,
    /// The same through a hyperbolic tangent, as the first implementations had it.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// Applies an activation element by element.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Relu => activation::relu(x),
    }
}

/// Zeroes elements with `probability` and scales the others up, on a device that records gradients;
/// the identity on any other.
pub fn dropout<const D: usize>(x: Tensor<D>, probability: f64) -> Tensor<D> {
    if probability == 0.0 || !x.device().is_autodiff() {
        return x;
    }
    let keep = 1.0 - probability;
    let mask = x.random_like(Distribution::Bernoulli(keep));
    x * mask.mul_scalar(1.0 / keep)
}

/// Rows of `weight` by id.
///
/// # Shapes
/// - weight: `[vocabulary, hidden]`, ids: `[batch, tokens]`
/// - output: `[batch, tokens, hidden]`
pub fn embedding(weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    module::embedding(weight, ids)
}

/// What is added to the attention score or the logit of a padding token. Finite, so that a row of
/// nothing but padding gives numbers and not NaN.
pub const MASKED: f32 = -1e9;

/// Multi-head scaled dot-product attention (Vaswani et al., 2017). Matrix products run in the precision
/// of the inputs, the softmax in f32.
///
/// The mask is additive because Burn's libtorch backend hands a boolean one on with its meaning inverted.
///
/// # Shapes
/// - query, key, value: `[batch, tokens, hidden]`, hidden divisible by `heads`
/// - mask: `[batch, tokens]`, 0 for a token to attend to, [`MASKED`] for padding
/// - output: `[batch, tokens, hidden]`
pub fn attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    mask: Tensor<2>,
    heads: usize,
    dropout_probability: f64,
) -> Tensor<3> {
    let [batch, tokens, hidden] = query.dims();
    let size = hidden / heads;
    let dtype = query.dtype();
    let split =
        |x: Tensor<3>| -> Tensor<4> { x.reshape([batch, tokens, heads, size]).swap_dims(1, 2) };
    let scale = (size as f64).powf(-0.5);
    let scores = to_f32(
        split(query)
            .mul_scalar(scale)
            .matmul(split(key).swap_dims(2, 3)),
    );
    let weights = activation::softmax(scores + mask.reshape([batch, 1, 1, tokens]), 3);
    let mut weights = dropout(weights, dropout_probability);
    if weights.dtype() != dtype {
        weights = weights.cast(FloatDType::from(dtype));
    }
    weights
        .matmul(split(value))
        .swap_dims(1, 2)
        .reshape([batch, tokens, hidden])
}

/// Cross-entropy of one position per row against the softmax over the row's real tokens.
///
/// # Shapes
/// - logits: `[batch, tokens]`, f32
/// - mask: `[batch, tokens]`, 0 for real tokens, [`MASKED`] for padding, which then has no say: a row's
///   loss does not depend on what it is batched with
/// - targets: `[batch]`
/// - output: `[batch]`
pub fn position_cross_entropy(
    logits: Tensor<2>,
    mask: Tensor<2>,
    targets: Tensor<1, Int>,
) -> Tensor<1> {
    let log_probabilities = activation::log_softmax(logits + mask, 1);
    log_probabilities
        .gather(1, targets.unsqueeze_dim(1))
        .squeeze_dim::<1>(1)
        .neg()
}
