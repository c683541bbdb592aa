//! How much memory training takes, computed from the configuration, so that what fits is known beforehand.
//!
//! Counted is what lives at the backward pass's beginning, where kernels compute: the sum is checked against
//! measured peaks by `spanwise-bench`. Compositions keep more, first of all the attention weights.

use spanwise_ops::Precision;

use crate::config::EncoderConfig;

/// Bytes of an f32.
const F32: u64 = 4;

/// Memory of a training step, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingMemory {
    /// Parameters, their gradients, and AdamW's two moments.
    pub state: u64,
    /// Activations kept for the backward pass.
    pub activations: u64,
}

impl TrainingMemory {
    /// Of a forward and backward pass over `rows` rows of `tokens` tokens. `recomputes`: with
    /// `train.gradient_checkpointing`.
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

    /// Everything together.
    pub fn total(self) -> u64 {
        self.state + self.activations
    }

    /// For people, in GiB. `has_kernels`: whether they compute, so that the sum is exact.
    pub fn describe(self, has_kernels: bool) -> String {
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        format!(
            "{} {:.1} GiB: {:.1} for parameters, gradients and optimizer, {:.1} for activations",
            if has_kernels { "about" } else { "more than" },
            gib(self.total()),
            gib(self.state),
            gib(self.activations),
        )
    }
}

/// What one layer keeps of a forward pass.
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
    // Of every token: the layer's input, what each layer norm normalised, what the second block read.
    let full = 4 * hidden * F32;
    // Queries, keys, values and the attended values; what went into the activation and what came out.
    let products = (4 * hidden + 2 * inner) * product;
    // Largest score and sum of every softmax, mean and deviation of every layer norm.
    let statistics = 2 * (heads + 2) * F32;
    // The three projections side by side.
    let projections = 3 * (hidden * hidden + hidden) * F32;
    tokens * (full + products + statistics) + projections
}

/// Number of parameters.
fn parameters(config: &EncoderConfig) -> u64 {
    let [hidden, inner, width] = [
        config.hidden_size,
        config.intermediate_size,
        config.embedding_size(),
    ]
    .map(|size| size as u64);
    let rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size;
    let linear = |inputs: u64, outputs: u64| (inputs + 1) * outputs;
    let layer =
        4 * linear(hidden, hidden) + linear(hidden, inner) + linear(inner, hidden) + 4 * hidden;
    let layers = (config.groups() * config.inner_group_num) as u64;
    let projection = if config.projects_embeddings() {
        linear(width, hidden)
    } else {
        0
    };
    (rows as u64 + 2) * width + projection + layers * layer + linear(hidden, 2)
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::Device;

    use super::*;
    use crate::encoder::{Encodes, SpanModel};

    #[test]
    fn parameters_are_those_of_the_model() {
        let device = Device::flex();
        for kind in ["bert", "electra", "roberta", "xlm-roberta", "albert"] {
            let path = format!(
                "{}/tests/fixtures/tiny-{kind}/config.json",
                env!("CARGO_MANIFEST_DIR")
            );
            let config = EncoderConfig::read(path.as_ref()).unwrap();
            let model = SpanModel::new(&config, &device);
            assert_eq!(parameters(&config), model.num_params() as u64, "{kind}");
        }
    }

    #[test]
    fn recomputing_saves_memory() {
        let path = format!(
            "{}/tests/fixtures/tiny-bert/config.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let config = EncoderConfig::read(path.as_ref()).unwrap();
        let memory = |recomputes| TrainingMemory::of(&config, 8, 128, Precision::Fp32, recomputes);
        assert_eq!(memory(true).state, memory(false).state);
        assert!(memory(true).activations < memory(false).activations);
    }
}
