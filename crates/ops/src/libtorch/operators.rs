//! The operations through libtorch's own operators, forward and backward: for GPUs, where libtorch
//! has fused kernels for them. They work on a CPU as well, where tests compare them with the
//! compositions.

use std::sync::LazyLock;

use tch::{Kind, Tensor};

use super::extension::Kernel;
use super::kernels::kind;
use super::sys;
use crate::Precision;

/// Whether libtorch's operators compute on a tensor's device: on a GPU, and on a CPU where
/// `SPANWISE_NATIVE` is set, for tests.
pub(super) fn compute_on(tensor: &Tensor) -> bool {
    tensor.device().is_cuda() || *EVERYWHERE
}

/// Whether `SPANWISE_NATIVE` is set.
pub(super) static EVERYWHERE: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("SPANWISE_NATIVE").is_some());

/// See [`crate::linear`]. The bias is added by the product's own kernel.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    /// Of the product.
    pub(super) precision: Precision,
    /// Format of x, and so of its gradient.
    pub(super) kind: Kind,
}

impl Linear {
    /// A linear layer of `x`.
    pub(super) fn new(x: &Tensor, precision: Precision) -> Self {
        let kind = x.kind();
        Self { precision, kind }
    }
}

impl Kernel<3> for Linear {
    fn kept(&self) -> [bool; 3] {
        // What the backward pass reads is among the outputs, x and the weight as they are
        // multiplied; where they need no conversion, it shares memory with them.
        let precision = kind(self.precision);
        [self.kind == precision, precision == Kind::Float, false]
    }

    fn forward(&self, [x, weight, bias]: [&Tensor; 3]) -> Vec<Tensor> {
        let precision = kind(self.precision);
        let mut shape = x.size();
        let inputs = shape.pop().expect("has dimensions");
        shape.push(weight.size()[1]);
        let [rows, weight, bias] =
            [&x.reshape([-1, inputs]), weight, bias].map(|x| x.to_kind(precision));
        vec![bias.addmm(&rows, &weight).reshape(shape), rows, weight]
    }

    fn backward(
        &self,
        gradient: &Tensor,
        _: [Option<&Tensor>; 3],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 3] {
        let [rows, weight] = outputs else {
            unreachable!("the forward pass saves two")
        };
        let mut shape = gradient.size();
        let width = shape.pop().expect("has dimensions");
        shape.push(weight.size()[0]);
        let gradient = gradient.reshape([-1, width]).to_kind(weight.kind());
        let d_x = gradient.mm(&weight.tr()).reshape(shape);
        [
            Some(d_x.to_kind(self.kind)),
            Some(rows.tr().mm(&gradient).to_kind(Kind::Float)),
            // In f32: it is a long sum over all tokens.
            Some(gradient.sum_dim_intlist([0i64].as_slice(), false, Kind::Float)),
        ]
    }
}

/// See [`crate::residual_layer_norm`], and without a residual [`crate::layer_norm`].
#[derive(Debug, Clone)]
pub(super) struct LayerNorm {
    pub(super) epsilon: f64,
    /// Of dropout.
    pub(super) probability: f64,
    /// Format of x, and so of its gradient.
    pub(super) kind: Kind,
}

impl LayerNorm {
    /// The norm of `x` with dropout.
    pub(super) fn new(x: &Tensor, epsilon: f64, probability: f64) -> Self {
        Self {
            epsilon,
            probability,
            kind: x.kind(),
        }
    }

    /// Returns the result, what was normalised, means, inverse deviations and, where something is
    /// dropped, the mask.
    fn normalise(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        gamma: &Tensor,
        beta: &Tensor,
    ) -> Vec<Tensor> {
        let (dropped, mask) = if self.probability > 0.0 {
            let (dropped, mask) = x.native_dropout(self.probability, true);
            (dropped, Some(mask))
        } else {
            (x.shallow_clone(), None)
        };
        let sum = match residual {
            Some(residual) => residual + dropped,
            None => dropped.to_kind(Kind::Float),
        };
        let width = *sum.size().last().expect("has dimensions");
        let (result, mean, deviation) =
            sum.native_layer_norm([width], Some(gamma), Some(beta), self.epsilon);
        [result, sum, mean, deviation]
            .into_iter()
            .chain(mask)
            .collect()
    }

    /// Returns the gradients of x, the residual, gamma and beta.
    fn backward(&self, gradient: &Tensor, gamma: &Tensor, outputs: &[Tensor]) -> [Tensor; 4] {
        let [sum, mean, deviation, mask @ ..] = outputs else {
            unreachable!("the forward pass saves three or four")
        };
        let [d_sum, d_gamma, d_beta] =
            sys::native_layer_norm_backward(gradient, sum, mean, deviation, gamma);
        let d_x = match mask {
            [mask] => {
                let scale = 1.0 / (1.0 - self.probability);
                Tensor::native_dropout_backward(&d_sum.to_kind(self.kind), mask, scale)
            }
            _ if self.kind != d_sum.kind() => d_sum.to_kind(self.kind),
            // Burn adds up gradients in place, each on its own.
            _ => d_sum.copy(),
        };
        [d_x, d_sum, d_gamma, d_beta]
    }
}

impl Kernel<3> for LayerNorm {
    fn kept(&self) -> [bool; 3] {
        // What is normalised may be x itself.
        [true, true, false]
    }

    fn forward(&self, [x, gamma, beta]: [&Tensor; 3]) -> Vec<Tensor> {
        self.normalise(x, None, gamma, beta)
    }

    fn backward(
        &self,
        gradient: &Tensor,
        [_, gamma, _]: [Option<&Tensor>; 3],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 3] {
        let [sum, mean, deviation] = outputs else {
            unreachable!("the forward pass saves three")
        };
        let gamma = gamma.expect("kept");
        let [d_x, d_gamma, d_beta] =
            sys::native_layer_norm_backward(gradient, sum, mean, deviation, gamma);
        [Some(d_x.to_kind(self.kind)), Some(d_gamma), Some(d_beta)]
    }
}

impl Kernel<4> for LayerNorm {
    fn kept(&self) -> [bool; 4] {
        [false, false, true, false]
    }

    fn forward(&self, [x, residual, gamma, beta]: [&Tensor; 4]) -> Vec<Tensor> {
        self.normalise(x, Some(residual), gamma, beta)
    }

    fn backward(
        &self,
        gradient: &Tensor,
        [_, _, gamma, _]: [Option<&Tensor>; 4],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 4] {
        LayerNorm::backward(self, gradient, gamma.expect("kept"), outputs).map(Some)
    }
}

/// See [`crate::dropout`]. The mask is kept, one byte an element.
#[derive(Debug, Clone)]
pub(super) struct Dropout {
    pub(super) probability: f64,
}

impl Kernel<1> for Dropout {
    fn kept(&self) -> [bool; 1] {
        [false]
    }

    fn forward(&self, [x]: [&Tensor; 1]) -> Vec<Tensor> {
        let (dropped, mask) = x.native_dropout(self.probability, true);
        vec![dropped, mask]
    }

    fn backward(
        &self,
        gradient: &Tensor,
        _: [Option<&Tensor>; 1],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 1] {
        let [mask] = outputs else {
            unreachable!("the forward pass saves the mask")
        };
        let scale = 1.0 / (1.0 - self.probability);
        [Some(Tensor::native_dropout_backward(gradient, mask, scale))]
    }
}
