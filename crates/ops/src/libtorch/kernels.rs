//! The operations as kernels of this project, forward and backward, on a CPU.

use burn_tch::TchTensor;
use tch::{Kind, Tensor};

use super::extension::Kernel;
use super::sys::{self, Dropout};
use crate::Precision;

/// `x · weight + bias`, the product in the given precision.
#[derive(Debug, Clone)]
pub(super) struct Linear(pub(super) Precision);

/// The format of a precision's numbers.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::Fp16 => Kind::Half,
    }
}

impl Linear {
    /// Returns `x · weight + bias`, or its GELU.
    pub(super) fn compute(&self, [x, weight, bias]: [&Tensor; 3], gelu: bool) -> Tensor {
        let [x2, weight2, bias2] =
            [&flat(x), weight, bias].map(|input| input.to_kind(kind(self.0)));
        let mut shape = x.size();
        *shape.last_mut().expect("has dimensions") = weight.size()[1];
        sys::linear(&x2, &weight2, &bias2, gelu).reshape(shape)
    }
}

/// `[batch, tokens, width]` as a matrix, `[batch · tokens, width]`.
pub(super) fn flat(x: &Tensor) -> Tensor {
    x.reshape([-1, x.size()[x.dim() - 1]])
}

impl Kernel<3> for Linear {
    fn kept(&self) -> [bool; 3] {
        [true, true, false]
    }

    fn forward(&self, inputs: [&Tensor; 3]) -> Vec<Tensor> {
        vec![self.compute(inputs, false)]
    }

    fn backward(
        &self,
        gradient: &Tensor,
        [x, weight, _]: [Option<&Tensor>; 3],
        _: &[Tensor],
    ) -> [Option<Tensor>; 3] {
        let (x, weight) = (x.expect("kept"), weight.expect("kept"));
        let gradient = flat(gradient).to_kind(kind(self.0));
        let [x2, weight2] = [&flat(x), weight].map(|input| input.to_kind(kind(self.0)));
        let [d_x, d_weight, d_bias] = sys::linear_backward(&gradient, &x2, &weight2);
        [
            Some(d_x.reshape(x.size()).to_kind(x.kind())),
            Some(d_weight.to_kind(Kind::Float)),
            Some(d_bias),
        ]
    }
}

/// See [`crate::layer_norm`].
#[derive(Debug, Clone)]
pub(super) struct LayerNorm {
    pub(super) epsilon: f64,
}

impl Kernel<3> for LayerNorm {
    fn kept(&self) -> [bool; 3] {
        [false, true, false]
    }

    fn forward(&self, [x, gamma, beta]: [&Tensor; 3]) -> Vec<Tensor> {
        sys::layer_norm(x, None, gamma, beta, self.epsilon, Dropout::NONE).into()
    }

    fn backward(
        &self,
        gradient: &Tensor,
        [_, gamma, _]: [Option<&Tensor>; 3],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 3] {
        let [sum, statistics] = outputs else {
            unreachable!("the forward pass saves two")
        };
        let (gamma, bfloat16, residual) = (gamma.expect("kept"), false, false);
        let [d_x, _, d_gamma, d_beta] = sys::layer_norm_backward(
            gradient,
            sum,
            statistics,
            gamma,
            bfloat16,
            residual,
            Dropout::NONE,
        );
        [d_x, d_gamma, d_beta]
    }
}

/// See [`crate::residual_layer_norm`].
#[derive(Debug, Clone)]
pub(super) struct ResidualLayerNorm {
    pub(super) epsilon: f64,
    pub(super) dropout: Dropout,
    /// Whether x is bfloat16, and so its gradient.
    pub(super) bfloat16: bool,
}

impl Kernel<4> for ResidualLayerNorm {
    fn kept(&self) -> [bool; 4] {
        [false, false, true, false]
    }

    fn forward(&self, [x, residual, gamma, beta]: [&Tensor; 4]) -> Vec<Tensor> {
        sys::layer_norm(x, Some(residual), gamma, beta, self.epsilon, self.dropout).into()
    }

    fn backward(
        &self,
        gradient: &Tensor,
        [_, _, gamma, _]: [Option<&Tensor>; 4],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 4] {
        let [sum, statistics] = outputs else {
            unreachable!("the forward pass saves two")
        };
        let (gamma, residual) = (gamma.expect("kept"), true);
        sys::layer_norm_backward(
            gradient,
            sum,
            statistics,
            gamma,
            self.bfloat16,
            residual,
            self.dropout,
        )
    }
}

/// See [`crate::dropout`].
#[derive(Debug, Clone)]
pub(super) struct DropElements(pub(super) Dropout);

impl Kernel<1> for DropElements {
    fn kept(&self) -> [bool; 1] {
        [false]
    }

    fn forward(&self, [x]: [&Tensor; 1]) -> Vec<Tensor> {
        vec![sys::dropout(x, self.0)]
    }

    fn backward(
        &self,
        gradient: &Tensor,
        _: [Option<&Tensor>; 1],
        _: &[Tensor],
    ) -> [Option<Tensor>; 1] {
        [Some(sys::dropout(gradient, self.0))]
    }
}

/// See [`crate::attention`].
#[derive(Debug, Clone)]
pub(super) struct Attention {
    /// Index of every row's first token, and the number of tokens, `[rows + 1]`, i32.
    pub(super) offsets: TchTensor,
    pub(super) heads: usize,
    pub(super) dropout: Dropout,
}

impl Kernel<1> for Attention {
    const KEEPS_RESULT: bool = true;

    fn kept(&self) -> [bool; 1] {
        [true]
    }

    fn forward(&self, [qkv]: [&Tensor; 1]) -> Vec<Tensor> {
        let offsets = &self.offsets.tensor;
        let [out, statistics] = sys::attention(&flat(qkv), offsets, self.heads, self.dropout);
        vec![out.unsqueeze(0), statistics]
    }

    fn backward(
        &self,
        gradient: &Tensor,
        [qkv]: [Option<&Tensor>; 1],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 1] {
        let qkv = qkv.expect("kept");
        let [out, statistics] = outputs else {
            unreachable!("the forward pass saves two")
        };
        let d_qkv = sys::attention_backward(
            &flat(gradient),
            [&flat(qkv), &self.offsets.tensor],
            [&flat(out), statistics],
            self.heads,
            self.dropout,
        );
        [Some(d_qkv.reshape(qkv.size()))]
    }
}
