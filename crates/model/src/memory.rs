//! The memory formula: how much memory training takes, computed from the configuration, so that
//! what fits is known beforehand.
//!
//! It counts what is in memory when the backward pass starts on a CPU with kernels; `spanwise-bench`
//! compares it with measured peaks. A GPU keeps dropout's masks as well, one byte an element, and
//! weights in 16 bits. Compositions keep more, first of all the attention weights.

use burn::module::Module;
use burn::tensor::Device;
use spanwise_config::EncoderConfig;
use spanwise_ops::Precision;

use crate::encoder::EncoderModel;
use crate::span_head::SpanModel;

/// Bytes of an f32.
const F32: u64 = 4;

/// Memory of a training step, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingMemory {
    /// Memory of parameters, their gradients, and AdamW's two moments.
    pub state: u64,
    /// Memory of the activations kept for the backward pass.
    pub activations: u64,
}

impl TrainingMemory {
    /// Returns the memory of a forward and backward pass over `rows` rows of `tokens` tokens.
    /// `recomputes` is `train.gradient_checkpointing`: activations are computed again in the
    /// backward pass.
    pub fn of(
        config: &EncoderConfig,
        rows: usize,
        tokens: usize,
        precision: Precision,
        recomputes: bool,
    ) -> Self {
        let tokens = (rows * tokens) as u64;
        let layers = config.num_hidden_layers as u64;
        let layer = layer_activations(config, tokens, precision);
        let between = tokens * config.hidden_size as u64 * F32;
        Self {
            state: 4 * F32 * parameters(config),
            activations: if recomputes {
                // Every layer's input, and what the one being differentiated keeps besides.
                layers * between + layer
            } else {
                layers * layer + between
            },
        }
    }

    /// Returns the sum.
    pub fn total(self) -> u64 {
        self.state + self.activations
    }

    /// Returns the figures in GiB, for people. `is_fused`: whether the device computes operations by
    /// itself, without which the sum is a lower bound.
    pub fn describe(self, is_fused: bool) -> String {
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        format!(
            "{} {:.1} GiB: {:.1} for parameters, gradients and optimizer, {:.1} for activations",
            if is_fused { "about" } else { "more than" },
            gib(self.total()),
            gib(self.state),
            gib(self.activations),
        )
    }
}

/// Returns the number of parameters. They are not sampled, so this takes no memory.
fn parameters(config: &EncoderConfig) -> u64 {
    SpanModel::new(config, &Device::flex()).num_params() as u64
}

/// Returns what one layer keeps of a forward pass, in bytes.
fn layer_activations(config: &EncoderConfig, tokens: u64, precision: Precision) -> u64 {
    let product = match precision {
        Precision::Fp32 => F32,
        Precision::Bf16 | Precision::Fp16 => 2,
    };
    let [hidden, inner, heads] = [
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
    ]
    .map(|size| size as u64);
    // Of every token: the layer's input, what each layer norm normalised, what the second block
    // read.
    let full = 4 * hidden * F32;
    // Queries, keys, values and the attended values; what went into the activation and what came
    // out.
    let products = (4 * hidden + 2 * inner) * product;
    // Largest score and sum of every softmax, mean and deviation of every layer norm.
    let statistics = 2 * (heads + 2) * F32;
    // The three projections side by side.
    let projections = 3 * (hidden * hidden + hidden) * F32;
    tokens * (full + products + statistics) + projections
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;
    use spanwise_artifact::columns;

    use super::*;
    use crate::families::FAMILIES;

    /// A file of the tiny encoder of a family.
    fn fixture(model_type: &str, file: &str) -> std::path::PathBuf {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        format!("{fixtures}/tiny-{model_type}/{file}").into()
    }

    #[test]
    fn parameters_are_those_of_the_checkpoint() {
        for family in FAMILIES {
            let kind = family.model_type;
            let config = EncoderConfig::read(&fixture(kind, "config.json")).unwrap();
            let map = columns::map(&fixture(kind, "model.safetensors")).unwrap();
            let tensors = SafeTensors::deserialize(&map).unwrap();
            let sizes = tensors
                .iter()
                .map(|(_, view)| view.data().len() as u64 / F32);
            assert_eq!(parameters(&config), sizes.sum::<u64>(), "{kind}");
        }
    }

    #[test]
    fn recomputing_saves_memory() {
        let config = EncoderConfig::read(&fixture("bert", "config.json")).unwrap();
        let memory = |recomputes| TrainingMemory::of(&config, 8, 128, Precision::Fp32, recomputes);
        assert_eq!(memory(true).state, memory(false).state);
        assert!(memory(true).activations < memory(false).activations);
    }
}
