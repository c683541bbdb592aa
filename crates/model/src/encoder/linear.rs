//! A linear layer with a bias.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use spanwise_config::EncoderConfig;
use spanwise_ops::{self as ops, Activation, Precision};

use crate::encoder::initializer;

/// Multiplies by a matrix and adds a bias.
///
/// Reference: [`torch.nn.Linear`](https://docs.pytorch.org/docs/2.9/generated/torch.nn.Linear.html),
/// which keeps the matrix transposed.
#[derive(Module, Debug)]
pub struct Linear {
    /// The matrix, `[inputs, outputs]`.
    pub weight: Param<Tensor<2>>,
    /// The bias, `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    pub(crate) fn new(
        inputs: usize,
        outputs: usize,
        config: &EncoderConfig,
        device: &Device,
    ) -> Self {
        Self {
            weight: initializer(config).init([inputs, outputs], device),
            bias: Initializer::Zeros.init([outputs], device),
        }
    }

    /// Computes `x · weight + bias` in `precision`.
    ///
    /// # Shapes
    /// - `x`: `[batch, tokens, inputs]`
    /// - output: `[batch, tokens, outputs]`
    pub fn forward(&self, x: Tensor<3>, precision: Precision) -> Tensor<3> {
        ops::linear(x, self.weight.val(), self.bias.val(), precision)
    }

    /// Computes `activation(x · weight + bias)`, the product in `precision`.
    ///
    /// # Shapes
    /// - `x`: `[batch, tokens, inputs]`
    /// - output: `[batch, tokens, outputs]`
    pub fn forward_activated(
        &self,
        x: Tensor<3>,
        precision: Precision,
        activation: Activation,
    ) -> Tensor<3> {
        ops::linear_activated(x, self.weight.val(), self.bias.val(), precision, activation)
    }
}
