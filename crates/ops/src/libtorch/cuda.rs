//! Attention on GPUs, where libtorch has kernels of its own that keep no weights: flash (Dao et
//! al., 2022, arXiv:2205.14135) and memory-efficient attention (Rabe & Staats, 2021,
//! arXiv:2112.05682), of which it picks one by shape and format.

use tch::Tensor;

use super::extension::Kernel;
use super::sys;

/// Added to the score of padding in place of [`crate::MASKED`]: 16-bit floats do not reach that,
/// and the logarithm of a softmax's denominator, which these kernels keep, would vanish beside it
/// in a row of nothing but padding.
const LOWEST: f64 = -3e4;

/// libtorch's `scaled_dot_product_attention`. libtorch records the backward pass itself, from this
/// operation's input to its output.
#[derive(Debug, Clone)]
pub(super) struct ScaledDotProduct {
    pub(super) heads: usize,
    pub(super) probability: f64,
}

impl ScaledDotProduct {
    /// The attended values, `[batch, tokens, hidden]`, without a backward pass.
    pub(super) fn compute(&self, qkv: &Tensor, mask: &Tensor) -> Tensor {
        let (batch, tokens, triple) = qkv.size3().expect("has three dimensions");
        let (heads, hidden) = (self.heads as i64, triple / 3);
        let parts = qkv.reshape([batch, tokens, 3, heads, hidden / heads]);
        // Its backward pass is one stack; those of three selections would fill three gradients of
        // all of qkv with zeros and add them up.
        let parts = parts.unbind(2);
        let [q, k, v] = [0, 1, 2].map(|part: usize| parts[part].transpose(1, 2));
        let mask = mask.clamp_min(LOWEST).to_kind(qkv.kind());
        let mask = mask.reshape([batch, 1, 1, tokens]);
        let (dropout, causal, scale, grouped) = (self.probability, false, None, false);
        Tensor::scaled_dot_product_attention(
            &q,
            &k,
            &v,
            Some(mask),
            dropout,
            causal,
            scale,
            grouped,
        )
        .transpose(1, 2)
        .reshape([batch, tokens, hidden])
    }
}

impl Kernel<2> for ScaledDotProduct {
    const KEEPS_RESULT: bool = true;

    fn kept(&self) -> [bool; 2] {
        // What libtorch has recorded shares memory with the input and with the result.
        [true, false]
    }

    fn forward(&self, [qkv, mask]: [&Tensor; 2]) -> Vec<Tensor> {
        tch::with_grad(|| {
            let leaf = qkv.detach().set_requires_grad(true);
            let recorded = self.compute(&leaf, mask);
            vec![recorded.detach(), recorded, leaf]
        })
    }

    fn backward(
        &self,
        gradient: &Tensor,
        _: [Option<&Tensor>; 2],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 2] {
        let [_, recorded, leaf] = outputs else {
            unreachable!("the forward pass saves three")
        };
        [Some(sys::recorded_backward(recorded, leaf, gradient)), None]
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::ScaledDotProduct;
    use crate::libtorch::extension::Kernel;
    use crate::libtorch::kernels::Attention;
    use crate::libtorch::sys::Dropout;

    const HEADS: usize = 4;
    const SHAPE: [i64; 3] = [3, 13, 20];

    fn inputs(kind: Kind) -> [Tensor; 3] {
        tch::manual_seed(3);
        let [batch, tokens, hidden] = SHAPE;
        let random = |width| Tensor::randn([batch, tokens, width], (Kind::Float, Device::Cpu));
        let mask = Tensor::zeros([batch, tokens], (Kind::Float, Device::Cpu));
        let _ = mask.narrow(0, 1, 1).narrow(1, 9, 4).fill_(-1e9);
        [
            random(3 * hidden).to_kind(kind),
            mask,
            random(hidden).to_kind(kind),
        ]
    }

    fn run<K: Kernel<2>>(kernel: &K, [qkv, mask, gradient]: &[Tensor; 3]) -> [Tensor; 2] {
        let outputs = kernel.forward([qkv, mask]);
        let result = outputs[0].shallow_clone();
        assert!(!result.requires_grad());
        let saved = if K::KEEPS_RESULT {
            &outputs[..]
        } else {
            &outputs[1..]
        };
        let [found, None] = kernel.backward(gradient, [Some(qkv), Some(mask)], saved) else {
            panic!("a mask has no gradient")
        };
        [result, found.expect("qkv has a gradient")]
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// Training never runs this operation on a CPU, but it works there.
    #[test]
    fn equals_the_kernel_for_cpus() {
        let ours = Attention {
            heads: HEADS,
            dropout: Dropout::NONE,
        };
        let theirs = ScaledDotProduct {
            heads: HEADS,
            probability: 0.0,
        };
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.1)] {
            let inputs = inputs(kind);
            let [result, gradient] = run(&theirs, &inputs);
            let [expected, expected_gradient] = run(&ours, &inputs);
            assert_eq!((result.kind(), gradient.kind()), (kind, kind));
            assert!(
                largest_difference(&result, &expected) < tolerance,
                "{kind:?}"
            );
            assert!(
                largest_difference(&gradient, &expected_gradient) < tolerance,
                "{kind:?}"
            );
        }
    }
}
