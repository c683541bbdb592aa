//! The few heavy operations of the model, and the devices they run on.
//!
//! What each computes is said by a composition of Burn's own operations, which runs on any device. On
//! libtorch's CPU, kernels take their place without the model noticing, and on CUDA one does in attention.
//! Only this crate knows libtorch.
//!
//! - [`device`]: devices by name
//! - `compose`: the compositions
//! - `kernels`: the kernels
//! - [`optimizer`]: AdamW on all parameters at once

#![warn(missing_docs)]

mod compose;
pub mod device;
#[cfg(feature = "tch")]
mod kernels;
pub mod optimizer;

use burn::tensor::{DType, FloatDType, Int, Tensor, activation, module};

/// Number format of matrix products. Whatever it is, parameters, layer norms, softmax and loss are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// bfloat16.
    Bf16,
    /// 16-bit floats. Small gradients vanish in it, so that the loss has to be scaled up. Fast on GPUs; far
    /// slower than f32 on CPUs.
    F16,
}

impl Precision {
    fn dtype(self) -> FloatDType {
        match self {
            Precision::F32 => FloatDType::F32,
            Precision::Bf16 => FloatDType::BF16,
            Precision::F16 => FloatDType::F16,
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

/// Whether kernels take the place of compositions for this tensor. They know f32 and bf16.
fn has_kernels<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() != DType::F16 && device::has_kernels(&x.device())
}

/// Whether kernels multiply in this precision.
fn has_product<const D: usize>(x: &Tensor<D>, precision: Precision) -> bool {
    precision != Precision::F16 && has_kernels(x)
}

/// `kernel!(name(tensors…; others…))`: the kernel's result as a tensor.
#[cfg(feature = "tch")]
macro_rules! kernel {
    ($name:ident($($tensor:expr),+; $($other:expr),*)) => {
        Tensor::from_dispatch(<burn::backend::Dispatch as kernels::Kernels>::$name(
            $($tensor.into_dispatch(),)+ $($other),*
        ))
    };
}

/// Without libtorch there are no kernels, and [`has_kernels`] says so.
#[cfg(not(feature = "tch"))]
macro_rules! kernel {
    ($name:ident($($tensor:expr),+; $($other:expr),*)) => {
        unreachable!(concat!(stringify!($name), " is built with libtorch only"))
    };
}

/// `x · weight + bias`, in the given precision.
///
/// # Shapes
/// - x: `[batch, tokens, inputs]`, weight: `[inputs, outputs]`, bias: `[outputs]`
/// - output: `[batch, tokens, outputs]`
pub fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, precision: Precision) -> Tensor<3> {
    if has_product(&x, precision) {
        kernel!(kernel_linear(x, weight, bias; precision))
    } else {
        compose::linear(x, weight, bias, precision)
    }
}

/// An activation of `x · weight + bias`: shapes as in [`linear`].
pub fn linear_activated(
    x: Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
    activation: Activation,
) -> Tensor<3> {
    let recorded = x.device().is_autodiff();
    if activation == Activation::Gelu && !recorded && has_product(&x, precision) {
        kernel!(kernel_linear_gelu(x, weight, bias; precision))
    } else {
        activate(linear(x, weight, bias, precision), activation)
    }
}

/// Layer normalisation over the last dimension (Ba et al., 2016), in f32.
///
/// # Shapes
/// - x: `[batch, tokens, hidden]`, f32; gamma and beta: `[hidden]`
pub fn layer_norm(x: Tensor<3>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<3> {
    if has_kernels(&x) {
        kernel!(kernel_layer_norm(x, gamma, beta; epsilon))
    } else {
        compose::layer_norm(x, gamma, beta, epsilon)
    }
}

/// `layer_norm(residual + dropout(x))`: what stands after every block of an encoder layer.
///
/// # Shapes
/// - x: `[batch, tokens, hidden]`, in any precision; residual and output: the same, f32
/// - gamma and beta: `[hidden]`
pub fn residual_layer_norm(
    x: Tensor<3>,
    residual: Tensor<3>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    dropout_probability: f64,
) -> Tensor<3> {
    if has_kernels(&x) {
        kernel!(kernel_residual_layer_norm(x, residual, gamma, beta; epsilon, dropout_probability))
    } else {
        compose::residual_layer_norm(x, residual, gamma, beta, epsilon, dropout_probability)
    }
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
    if probability > 0.0 && has_kernels(&x) {
        kernel!(kernel_dropout(x; probability))
    } else {
        compose::dropout(x, probability)
    }
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
/// - qkv: queries, keys and values side by side, `[batch, tokens, 3 · hidden]`, hidden divisible by `heads`
/// - mask: `[batch, tokens]`, 0 for a token to attend to, [`MASKED`] for padding
/// - output: `[batch, tokens, hidden]`
pub fn attention(
    qkv: Tensor<3>,
    mask: Tensor<2>,
    heads: usize,
    dropout_probability: f64,
) -> Tensor<3> {
    if has_kernels(&qkv) || device::is_cuda(&qkv.device()) {
        kernel!(kernel_attention(qkv, mask; heads, dropout_probability))
    } else {
        compose::attention(qkv, mask, heads, dropout_probability)
    }
}

/// Cross-entropy of a distribution per row against the softmax over the row's real tokens.
///
/// # Shapes
/// - logits: `[batch, tokens]`, f32
/// - mask: `[batch, tokens]`, 0 for real tokens, [`MASKED`] for padding, which then has no say: a row's
///   loss does not depend on what it is batched with
/// - target: `[batch, tokens]`, the share of every token, 1 together
/// - output: `[batch]`
pub fn cross_entropy(logits: Tensor<2>, mask: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    compose::cross_entropy(logits, mask, target)
}
