//! The operations that libtorch computes, through Burn's backend extension.
//!
//! A [`Kernel`] describes what is computed; [`run`] and [`run_recorded`] carry it through Burn,
//! without and with gradients. On a CPU it is one of [`kernels`], on a GPU one of [`operators`].
//!
//! [`kernels`]: super::kernels
//! [`operators`]: super::operators

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, LibTorch, TensorMetadata, backend_extension};
use burn::tensor::DType;
use burn_tch::TchTensor;
use tch::Tensor;

use super::attention::NativeAttention;
use super::sys::Dropout;
use super::{kernels, operators};
use crate::Precision;

/// An operation on `N` tensors.
pub(super) trait Kernel<const N: usize>: Debug + Clone + Send + 'static {
    /// Whether the backward pass reads the result.
    const KEEPS_RESULT: bool = false;

    /// Inputs that the backward pass reads, itself or in an output that shares their memory.
    fn kept(&self) -> [bool; N];

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
            let mut kept = kernel.kept().into_iter();
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

    /// See [`crate::attention`]. offsets: where rows begin and end, i32; longest: tokens of the
    /// longest.
    fn kernel_attention(
        qkv: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        longest: usize,
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
        if operators::compute_on(&x.tensor) {
            let kernel = operators::Linear::new(&x.tensor, precision);
            return run(&kernel, [x, weight, bias]);
        }
        run(&kernels::Linear(precision), [x, weight, bias])
    }

    fn kernel_linear_gelu(
        x: TchTensor,
        weight: TchTensor,
        bias: TchTensor,
        precision: Precision,
    ) -> TchTensor {
        if operators::compute_on(&x.tensor) {
            let mut result = Self::kernel_linear(x, weight, bias, precision);
            let _ = result.tensor.gelu_("none");
            return result;
        }
        let inputs = [&x.tensor, &weight.tensor, &bias.tensor];
        TchTensor::new(kernels::Linear(precision).compute(inputs, true))
    }

    fn kernel_layer_norm(
        x: TchTensor,
        gamma: TchTensor,
        beta: TchTensor,
        epsilon: f64,
    ) -> TchTensor {
        if operators::compute_on(&x.tensor) {
            let kernel = operators::LayerNorm::new(&x.tensor, epsilon, 0.0);
            return run::<_, 3>(&kernel, [x, gamma, beta]);
        }
        run(&kernels::LayerNorm { epsilon }, [x, gamma, beta])
    }

    fn kernel_residual_layer_norm(
        x: TchTensor,
        residual: TchTensor,
        gamma: TchTensor,
        beta: TchTensor,
        epsilon: f64,
        _probability: f64,
    ) -> TchTensor {
        if operators::compute_on(&x.tensor) {
            let kernel = operators::LayerNorm::new(&x.tensor, epsilon, 0.0);
            return run::<_, 4>(&kernel, [x, residual, gamma, beta]);
        }
        let kernel = kernels::ResidualLayerNorm {
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
        offsets: TchTensor,
        longest: usize,
        heads: usize,
        _probability: f64,
    ) -> TchTensor {
        if operators::compute_on(&qkv.tensor) {
            let kernel = NativeAttention {
                offsets,
                longest,
                heads,
                probability: 0.0,
            };
            return run(&kernel, [qkv]);
        }
        let kernel = kernels::Attention {
            offsets,
            heads,
            dropout: Dropout::NONE,
        };
        run(&kernel, [qkv])
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<LibTorch, C> {
    fn kernel_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let of = &x.primitive().tensor;
        if operators::compute_on(of) {
            let kernel = operators::Linear::new(of, precision);
            return run_recorded::<_, C, 3>(kernel, [x, weight, bias]);
        }
        run_recorded::<_, C, 3>(kernels::Linear(precision), [x, weight, bias])
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
        let of = &x.primitive().tensor;
        if operators::compute_on(of) {
            let kernel = operators::LayerNorm::new(of, epsilon, 0.0);
            return run_recorded::<_, C, 3>(kernel, [x, gamma, beta]);
        }
        run_recorded::<_, C, 3>(kernels::LayerNorm { epsilon }, [x, gamma, beta])
    }

    fn kernel_residual_layer_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        probability: f64,
    ) -> FloatTensor<Self> {
        let of = &x.primitive().tensor;
        if operators::compute_on(of) {
            let kernel = operators::LayerNorm::new(of, epsilon, probability);
            return run_recorded::<_, C, 4>(kernel, [x, residual, gamma, beta]);
        }
        let kernel = kernels::ResidualLayerNorm {
            epsilon,
            dropout: Dropout::sample(probability),
            bfloat16: x.dtype() == DType::BF16,
        };
        run_recorded::<_, C, 4>(kernel, [x, residual, gamma, beta])
    }

    fn kernel_dropout(x: FloatTensor<Self>, probability: f64) -> FloatTensor<Self> {
        if operators::compute_on(&x.primitive().tensor) {
            return run_recorded::<_, C, 1>(operators::Dropout { probability }, [x]);
        }
        let kernel = kernels::DropElements(Dropout::sample(probability));
        run_recorded::<_, C, 1>(kernel, [x])
    }

    fn kernel_attention(
        qkv: FloatTensor<Self>,
        offsets: IntTensor<Self>,
        longest: usize,
        heads: usize,
        probability: f64,
    ) -> FloatTensor<Self> {
        if operators::compute_on(&qkv.primitive().tensor) {
            let kernel = NativeAttention {
                offsets,
                longest,
                heads,
                probability,
            };
            return run_recorded::<_, C, 1>(kernel, [qkv]);
        }
        let kernel = kernels::Attention {
            offsets,
            heads,
            dropout: Dropout::sample(probability),
        };
        run_recorded::<_, C, 1>(kernel, [qkv])
    }
}
