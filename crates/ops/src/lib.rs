//! The few heavy operations of the model, and the devices they run on.
//!
//! Each operation is defined by a composition of Burn's own operations, which runs on any device.
//! Where a device has something faster, an [`Implementation`] of its own, that takes the
//! composition's place without the model noticing.
//!
//! - [`device`]: opening devices, and what they can do
//! - `compose`: the compositions
//! - [`optimizer`]: AdamW on all parameters at once
//! - `libtorch`: libtorch's devices and the kernels that run on them; the only module that uses it

#![warn(missing_docs)]

mod compose;
pub mod device;
#[cfg(feature = "tch")]
mod libtorch;
#[cfg(not(feature = "tch"))]
#[path = "libtorch/absent.rs"]
mod libtorch;
pub mod optimizer;
mod precision;
mod rows;

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, activation, module};
pub use precision::Precision;
pub use rows::{PackedRows, Rows};
pub use spanwise_config::Activation;

use device::Implementation;
use libtorch::kernel;

/// Converts a tensor to f32, without a copy where it is f32 already.
pub fn to_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::F32 {
        x
    } else {
        x.cast(FloatDType::F32)
    }
}

fn to_precision<const D: usize>(x: Tensor<D>, precision: Precision) -> Tensor<D> {
    let format = match precision {
        Precision::Fp32 => FloatDType::F32,
        Precision::Bf16 => FloatDType::BF16,
        Precision::Fp16 => FloatDType::F16,
    };
    if x.dtype() == DType::from(format) {
        x
    } else {
        x.cast(format)
    }
}

/// Whether the tensor's device computes operations by itself, in place of compositions.
fn is_fused<const D: usize>(x: &Tensor<D>) -> bool {
    computes(&x.device(), x.dtype() == DType::F16)
}

/// Like [`is_fused`], for [`linear`] in this precision.
fn is_linear_fused<const D: usize>(x: &Tensor<D>, precision: Precision) -> bool {
    let is_fp16 = x.dtype() == DType::F16 || precision == Precision::Fp16;
    computes(&x.device(), is_fp16)
}

/// Whether a device computes operations by itself. Kernels for CPUs are made for f32 and bf16.
fn computes(device: &Device, is_fp16: bool) -> bool {
    match device::implementation(device) {
        Implementation::Compositions => false,
        Implementation::Kernels => !is_fp16,
        Implementation::Operators => true,
    }
}

/// `x · weight + bias`, in the given precision.
///
/// # Shapes
/// - x: `[batch, tokens, inputs]`, weight: `[inputs, outputs]`, bias: `[outputs]`
/// - output: `[batch, tokens, outputs]`
pub fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, precision: Precision) -> Tensor<3> {
    if is_linear_fused(&x, precision) {
        kernel!(kernel_linear(x, weight, bias; precision))
    } else {
        compose::linear(x, weight, bias, precision)
    }
}

/// An activation of `x · weight + bias`, shapes as in [`linear`].
pub fn linear_activated(
    x: Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
    activation: Activation,
) -> Tensor<3> {
    let recorded = x.device().is_autodiff();
    if activation == Activation::Gelu && !recorded && is_linear_fused(&x, precision) {
        kernel!(kernel_linear_gelu(x, weight, bias; precision))
    } else {
        activate(linear(x, weight, bias, precision), activation)
    }
}

/// Layer normalisation over the last dimension (Ba et al., 2016, arXiv:1607.06450), in f32.
///
/// # Shapes
/// - x and output: `[batch, tokens, hidden]`, f32; gamma and beta: `[hidden]`
pub fn layer_norm(x: Tensor<3>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<3> {
    if is_fused(&x) {
        kernel!(kernel_layer_norm(x, gamma, beta; epsilon))
    } else {
        compose::layer_norm(x, gamma, beta, epsilon)
    }
}

/// `layer_norm(residual + dropout(x))`, which follows every block of an encoder layer.
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
    if is_fused(&x) {
        kernel!(kernel_residual_layer_norm(x, residual, gamma, beta; epsilon, dropout_probability))
    } else {
        compose::residual_layer_norm(x, residual, gamma, beta, epsilon, dropout_probability)
    }
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
    if probability > 0.0 && is_fused(&x) {
        kernel!(kernel_dropout(x; probability))
    } else {
        compose::dropout(x, probability)
    }
}

/// Looks up the rows of `weight` that the ids name.
///
/// # Shapes
/// - weight: `[vocabulary, hidden]`, ids: `[batch, tokens]`
/// - output: `[batch, tokens, hidden]`
pub fn embedding(weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    module::embedding(weight, ids)
}

/// Added to the attention score or the logit of a padding token. Finite, so that a row of nothing
/// but padding yields numbers and not NaN.
pub const MASKED: f32 = -1e9;

/// Multi-head scaled dot-product attention (Vaswani et al., 2017, arXiv:1706.03762) within every
/// row. Matrix products run in the precision of the inputs, the softmax in f32.
///
/// # Shapes
/// - qkv: queries, keys and values side by side, `[batch, tokens, 3 · hidden]`, hidden divisible by
///   `heads`; of packed rows, `[1, tokens, 3 · hidden]`
/// - output: `[batch, tokens, hidden]`
pub fn attention(qkv: Tensor<3>, rows: &Rows, heads: usize, dropout_probability: f64) -> Tensor<3> {
    match rows {
        Rows::Padded(mask) => {
            compose::attention(qkv, Some(mask.clone()), heads, dropout_probability)
        }
        Rows::Packed(PackedRows { offsets, longest }) if is_fused(&qkv) => {
            kernel!(kernel_attention(qkv, offsets.clone(); *longest, heads, dropout_probability))
        }
        Rows::Packed(rows) => compose::packed_attention(qkv, rows, heads, dropout_probability),
    }
}

/// Cross-entropy of a target distribution per row against the softmax over the row's real tokens.
///
/// # Shapes
/// - logits: `[batch, tokens]`, f32
/// - mask: `[batch, tokens]`, 0 for real tokens, [`MASKED`] for padding, which is then ignored: a
///   row's loss does not depend on what it is batched with
/// - target: `[batch, tokens]`, probabilities that sum to 1 in every row
/// - output: `[batch]`
pub fn cross_entropy(logits: Tensor<2>, mask: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    compose::cross_entropy(logits, mask, target)
}
