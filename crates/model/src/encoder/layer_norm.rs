//! Layer normalisation.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use spanwise_config::EncoderConfig;
use spanwise_ops as ops;

/// Normalises every vector to mean 0 and variance 1, then scales and shifts it (Ba et al., 2016;
/// arXiv:1607.06450).
///
/// Reference: [`torch.nn.LayerNorm`](https://docs.pytorch.org/docs/2.9/generated/torch.nn.LayerNorm.html).
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// The scale of every component, `[width]`.
    pub gamma: Param<Tensor<1>>,
    /// The shift of every component, `[width]`.
    pub beta: Param<Tensor<1>>,
    /// The constant added to the variance.
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn new(width: usize, config: &EncoderConfig, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([width], device),
            beta: Initializer::Zeros.init([width], device),
            epsilon: config.layer_norm_eps,
        }
    }

    /// Returns the normalised `x`.
    ///
    /// # Shapes
    /// - `x` and output: `[batch, tokens, width]`, f32
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }

    /// Returns the normalised sum of `residual` and `block`, dropout applied to `block`.
    ///
    /// # Shapes
    /// - `block`, `residual` and output: `[batch, tokens, width]`; `residual` and output are f32
    pub fn forward_residual(
        &self,
        block: Tensor<3>,
        residual: Tensor<3>,
        dropout: f64,
    ) -> Tensor<3> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        ops::residual_layer_norm(block, residual, gamma, beta, self.epsilon, dropout)
    }
}
