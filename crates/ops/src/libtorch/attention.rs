//! libtorch's own attention, which keeps no weights. On a GPU it is flash attention (Dao et al.,
//! 2022, arXiv:2205.14135) in 16-bit formats, on GPUs that it is written for, else memory-efficient
//! attention (Rabe & Staats, 2021, arXiv:2112.05682); both compute real tokens only. On a CPU,
//! where tests alone run it, it is one call a row.

use burn_tch::TchTensor;
use tch::{Kind, Tensor};

use super::extension::Kernel;
use super::kernels::flat;
use super::sys::{self, AttentionArguments};

/// See [`crate::attention`].
#[derive(Debug, Clone)]
pub(super) struct NativeAttention {
    /// Index of every row's first token, and the number of tokens, `[rows + 1]`, i32.
    pub(super) offsets: TchTensor,
    /// Tokens of the longest row.
    pub(super) longest: usize,
    pub(super) heads: usize,
    /// Of dropout.
    pub(super) probability: f64,
}

impl NativeAttention {
    fn arguments(&self, qkv: &Tensor) -> AttentionArguments<'_> {
        AttentionArguments {
            offsets: &self.offsets.tensor,
            longest: self.longest,
            heads: self.heads,
            probability: self.probability,
            flash: has_flash(qkv, self.heads),
        }
    }

    /// Attends row by row.
    fn attend_in_turns(&self, qkv: &Tensor) -> Tensor {
        let (rows, tokens, triple) = qkv.size3().expect("has three dimensions");
        let (heads, hidden) = (self.heads as i64, triple / 3);
        let parts = qkv.reshape([tokens, 3, heads, hidden / heads]);
        let offsets = Vec::<i64>::try_from(&self.offsets.tensor).expect("one dimension");
        let attended = offsets.windows(2).map(|row| {
            let row = parts
                .narrow(0, row[0], row[1] - row[0])
                .unsqueeze(0)
                .unbind(2);
            let [q, k, v] = [0, 1, 2].map(|part: usize| row[part].transpose(1, 2));
            let (mask, causal, scale, grouped) = (None::<Tensor>, false, None, false);
            let dropout = self.probability;
            Tensor::scaled_dot_product_attention(&q, &k, &v, mask, dropout, causal, scale, grouped)
                .transpose(1, 2)
        });
        let attended: Vec<_> = attended.collect();
        Tensor::cat(&attended, 1).reshape([rows, tokens, hidden])
    }
}

/// Widest head that flash attention's backward pass takes on every GPU that has it.
const WIDEST_FLASH: i64 = 192;

/// Whether flash attention takes such inputs: in a 16-bit format, with heads of a size that it is
/// written for, on a GPU from compute capability 8.0.
fn has_flash(qkv: &Tensor, heads: usize) -> bool {
    let size = qkv.size()[2] / 3 / heads as i64;
    let is_16_bit = matches!(qkv.kind(), Kind::Half | Kind::BFloat16);
    let tch::Device::Cuda(index) = qkv.device() else {
        return false;
    };
    is_16_bit
        && size % 8 == 0
        && size <= WIDEST_FLASH
        && super::capability_of(index).is_some_and(|capability| capability >= (8, 0))
}

impl Kernel<1> for NativeAttention {
    const KEEPS_RESULT: bool = true;

    fn kept(&self) -> [bool; 1] {
        // On a CPU, what libtorch has recorded shares memory with the input and with the result.
        [true]
    }

    fn forward(&self, [qkv]: [&Tensor; 1]) -> Vec<Tensor> {
        if qkv.device().is_cuda() {
            let [attended, logarithms, seed, offset] =
                sys::native_attention(&flat(qkv), self.arguments(qkv));
            let attended = attended.unsqueeze(0);
            return vec![attended, logarithms, seed, offset];
        }
        tch::with_grad(|| {
            let leaf = qkv.detach().set_requires_grad(true);
            let recorded = self.attend_in_turns(&leaf);
            vec![recorded.detach(), recorded, leaf]
        })
    }

    fn backward(
        &self,
        gradient: &Tensor,
        [qkv]: [Option<&Tensor>; 1],
        outputs: &[Tensor],
    ) -> [Option<Tensor>; 1] {
        if let [out, logarithms, seed, offset] = outputs {
            let qkv = qkv.expect("kept");
            let outputs = [out, logarithms, seed, offset];
            let d_qkv =
                sys::native_attention_backward(gradient, &flat(qkv), outputs, self.arguments(qkv));
            return [Some(d_qkv.reshape(qkv.size()))];
        }
        let [_, recorded, leaf] = outputs else {
            unreachable!("the forward pass saves three on a CPU, four on a GPU")
        };
        [Some(sys::recorded_backward(recorded, leaf, gradient))]
    }
}
