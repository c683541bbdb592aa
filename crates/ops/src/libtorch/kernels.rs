//! The operations as libtorch's own kernels, forward and backward, through Burn's backend
//! extension.
//!
//! A [`Kernel`] describes what is computed; [`run`] and [`run_recorded`] carry it through Burn,
//! without and with gradients.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, LibTorch, TensorMetadata, backend_extension};
use burn::tensor::DType;
use burn_tch::TchTensor;
use tch::{Kind, Tensor};

use super::cuda::ScaledDotProduct;
use super::sys::{self, Dropout};
use crate::Precision;

/// An operation on `N` tensors.
pub(super) trait Kernel<const N: usize>: Debug + Clone + Send + 'static {
    /// Inputs that the backward pass reads.
    const KEPT: [bool; N];

    /// Whether the backward pass reads the result.
    const KEEPS_RESULT: bool = false;

    /// Returns the result first, then whatever else the backward pass reads.
    fn forward(&self, inputs: [&Tensor; N]) -> Vec<Tensor>;

    /// Returns the gradients of the inputs. `outputs` are the forward pass's, without the result if
    /// that is not kept.
    fn backward(
        &self,
        gradient: &Tensor,
        inputs: [Option<&Tensor>; N],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; N];
}

/// What a backward pass needs of its forward pass. Held as Burn's tensors: Burn counts those to
/// know whether it may write into their storage.
#[derive(Debug, Clone)]
struct Saved<K, const N: usize> {
    kernel: K,
    inputs: [Option<TchTensor>; N],
    outputs: Vec<TchTensor>,
}

/// The backward pass of a kernel, as Burn's graph of gradients holds it.
#[derive(Debug)]
struct BackwardPass<K>(std::marker::PhantomData<K>);

impl<K: Kernel<N>, const N: usize> Backward<LibTorch, N> for BackwardPass<K> {
    type State = Saved<K, N>;

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<LibTorch>(&ops.node);
        let Saved {
            kernel,
            inputs,
            outputs,
        } = ops.state;
        let inputs = inputs
            .each_ref()
            .map(|input| input.as_ref().map(|input| &input.tensor));
        let outputs: Vec<Tensor> = outputs
            .iter()
            .map(|output| output.tensor.shallow_clone())
            .collect();
        let found = kernel.backward(&gradient.tensor, inputs, &outputs);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<LibTorch>(parent.id, TchTensor::new(gradient));
            }
        }
    }
}

/// Runs a kernel without gradients.
fn run<K: Kernel<N>, const N: usize>(kernel: &K, inputs: [TchTensor; N]) -> TchTensor {
    let mut outputs = kernel.forward(inputs.each_ref().map(|input| &input.tensor));
    TchTensor::new(outputs.swap_remove(0))
}

/// Runs a kernel and records its backward pass.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods' type has no short name"
)]
fn run_recorded<K: Kernel<N>, C: CheckpointStrategy, const N: usize>(
    kernel: K,
    inputs: [FloatTensor<Autodiff<LibTorch, C>>; N],
) -> FloatTensor<Autodiff<LibTorch, C>> {
    let prepared = BackwardPass::<K>(std::marker::PhantomData)
        .prepare::<C>(inputs.each_ref().map(|input| input.node()))
        .compute_bound()
        .stateful();
    let inputs = inputs.map(|input| input.into_primitive());
    let mut outputs: Vec<TchTensor> = kernel
        .forward(inputs.each_ref().map(|input| &input.tensor))
        .into_iter()
        .map(TchTensor::new)
        .collect();
    match prepared {
        OpsKind::Tracked(prepared) => {
            let mut kept = K::KEPT.into_iter();
            let inputs = inputs.map(|input| kept.next().unwrap_or(false).then_some(input));
            let output = if K::KEEPS_RESULT {
                outputs[0].clone()
            } else {
                outputs.remove(0)
            };
            let saved = Saved {
                kernel,
                inputs,
                outputs,
            };
            prepared.finish(saved, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(outputs.swap_remove(0)),
    }
}

/// The operations that have kernels.
#[backend_extension(LibTorch, Autodiff)]
pub(crate) trait Kernels: Backend {
    /// See [`crate::linear`].
    fn kernel_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// GELU of [`crate::linear`], without gradients.
    fn kernel_linear_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// See [`crate::layer_norm`].
    fn kernel_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// See [`crate::residual_layer_norm`].
    fn kernel_residual_layer_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        probability: f64,
    ) -> FloatTensor<Self>;

    /// See [`crate::dropout`].
    fn kernel_dropout(x: FloatTensor<Self>, probability: f64) -> FloatTensor<Self>;

    /// See [`crate::attention`].
    fn kernel_attention(
        qkv: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        heads: usize,
        probability: f64,
    ) -> FloatTensor<Self>;
}

impl Kernels for LibTorch {
    fn kernel_linear(
        x: TchTensor,
        weight: TchTensor,
        bias: TchTensor,
        precision: Precision,
    ) -> TchTensor {
        run(&Linear(precision), [x, weight, bias])
    }

    fn kernel_linear_gelu(
        x: TchTensor,
        weight: TchTensor,
        bias: TchTensor,
        precision: Precision,
    ) -> TchTensor {
        let gelu = true;
        TchTensor::new(Linear(precision).compute([&x.tensor, &weight.tensor, &bias.tensor], gelu))
    }

    fn kernel_layer_norm(
        x: TchTensor,
        gamma: TchTensor,
        beta: TchTensor,
        epsilon: f64,
    ) -> TchTensor {
        run(&LayerNorm { epsilon }, [x, gamma, beta])
    }

    fn kernel_residual_layer_norm(
        x: TchTensor,
        residual: TchTensor,
        gamma: TchTensor,
        beta: TchTensor,
        epsilon: f64,
        _probability: f64,
    ) -> TchTensor {
        let kernel = ResidualLayerNorm {
            epsilon,
            dropout: Dropout::NONE,
            bfloat16: x.dtype() == DType::BF16,
        };
        run(&kernel, [x, residual, gamma, beta])
    }

    fn kernel_dropout(x: TchTensor, _probability: f64) -> TchTensor {
        x
    }

    fn kernel_attention(
        qkv: TchTensor,
        mask: TchTensor,
        heads: usize,
        _probability: f64,
    ) -> TchTensor {
        if qkv.tensor.device().is_cuda() {
            let attention = ScaledDotProduct {
                heads,
                probability: 0.0,
            };
            return TchTensor::new(attention.compute(&qkv.tensor, &mask.tensor));
        }
        let dropout = Dropout::NONE;
        run(&Attention { heads, dropout }, [qkv, mask])
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<LibTorch, C> {
    fn kernel_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        run_recorded::<_, C, 3>(Linear(precision), [x, weight, bias])
    }

    fn kernel_linear_gelu(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Precision,
    ) -> FloatTensor<Self> {
        unreachable!("gradients need the input of GELU")
    }

    fn kernel_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        run_recorded::<_, C, 3>(LayerNorm { epsilon }, [x, gamma, beta])
    }

    fn kernel_residual_layer_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        probability: f64,
    ) -> FloatTensor<Self> {
        let kernel = ResidualLayerNorm {
            epsilon,
            dropout: Dropout::sample(probability),
            bfloat16: x.dtype() == DType::BF16,
        };
        run_recorded::<_, C, 4>(kernel, [x, residual, gamma, beta])
    }

    fn kernel_dropout(x: FloatTensor<Self>, probability: f64) -> FloatTensor<Self> {
        run_recorded::<_, C, 1>(DropElements(Dropout::sample(probability)), [x])
    }

    fn kernel_attention(
        qkv: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        heads: usize,
        probability: f64,
    ) -> FloatTensor<Self> {
        if qkv.primitive().tensor.device().is_cuda() {
            return run_recorded::<_, C, 2>(ScaledDotProduct { heads, probability }, [qkv, mask]);
        }
        let dropout = Dropout::sample(probability);
        run_recorded::<_, C, 2>(Attention { heads, dropout }, [qkv, mask])
    }
}

/// `x · weight + bias`, the product in the given precision.
#[derive(Debug, Clone)]
struct Linear(Precision);

impl Linear {
    fn kind(&self) -> Kind {
        match self.0 {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::Fp16 => Kind::Half,
        }
    }

    fn compute(&self, [x, weight, bias]: [&Tensor; 3], gelu: bool) -> Tensor {
        let [x2, weight2, bias2] = [&flat(x), weight, bias].map(|input| input.to_kind(self.kind()));
        let mut shape = x.size();
        *shape.last_mut().expect("has dimensions") = weight.size()[1];
        sys::linear(&x2, &weight2, &bias2, gelu).reshape(shape)
    }
}

/// `[batch, tokens, width]` as a matrix, `[batch · tokens, width]`.
fn flat(x: &Tensor) -> Tensor {
    x.reshape([-1, x.size()[x.dim() - 1]])
}

impl Kernel<3> for Linear {
    const KEPT: [bool; 3] = [true, true, false];

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
        let gradient = flat(gradient).to_kind(self.kind());
        let [x2, weight2] = [&flat(x), weight].map(|input| input.to_kind(self.kind()));
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
struct LayerNorm {
    epsilon: f64,
}

impl Kernel<3> for LayerNorm {
    const KEPT: [bool; 3] = [false, true, false];

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
struct ResidualLayerNorm {
    epsilon: f64,
    dropout: Dropout,
    /// Whether x is bfloat16, and so its gradient.
    bfloat16: bool,
}

impl Kernel<4> for ResidualLayerNorm {
    const KEPT: [bool; 4] = [false, false, true, false];

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
struct DropElements(Dropout);

impl Kernel<1> for DropElements {
    const KEPT: [bool; 1] = [false];

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

/// See [`crate::attention`], on a CPU.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    pub(super) heads: usize,
    pub(super) dropout: Dropout,
}

impl Kernel<2> for Attention {
    const KEPT: [bool; 2] = [true; 2];
    const KEEPS_RESULT: bool = true;

    fn forward(&self, [qkv, mask]: [&Tensor; 2]) -> Vec<Tensor> {
        sys::attention(qkv, mask, self.heads, self.dropout).into()
    }

    fn backward(
        &self,
        gradient: &Tensor,
        inputs: [Option<&Tensor>; 2],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 2] {
        let inputs = inputs.map(|input| input.expect("kept"));
        let [out, statistics] = outputs else {
            unreachable!("the forward pass saves two")
        };
        let outputs = [out, statistics];
        let d_qkv = sys::attention_backward(gradient, inputs, outputs, self.heads, self.dropout);
        [Some(d_qkv), None]
    }
}
