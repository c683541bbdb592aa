//! One encoder layer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use spanwise_config::EncoderConfig;
use spanwise_ops::{self as ops, Activation, Precision, Rows};

use super::layer_norm::LayerNorm;
use super::linear::Linear;

/// Self-attention and a feed-forward block, each followed by dropout, a residual connection and a
/// layer norm (Vaswani et al., 2017; arXiv:1706.03762).
///
/// Reference: transformers'
/// [`BertLayer`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/modeling_bert.py)
/// and
/// [`AlbertLayer`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/albert/modeling_albert.py).
#[derive(Module, Debug)]
pub struct Layer {
    /// Projects hidden states to queries, `[hidden, hidden]`.
    pub query: Linear,
    /// Projects hidden states to keys, `[hidden, hidden]`.
    pub key: Linear,
    /// Projects hidden states to values, `[hidden, hidden]`.
    pub value: Linear,
    /// Projects the attended values of all heads back to hidden states, `[hidden, hidden]`.
    pub attention_output: Linear,
    /// Normalises the sum of the layer's input and the attention block's output.
    pub attention_norm: LayerNorm,
    /// Projects hidden states to the feed-forward block's inner width, `[hidden, intermediate]`.
    pub intermediate: Linear,
    /// Projects the feed-forward block's inner states back, `[intermediate, hidden]`.
    pub output: Linear,
    /// Normalises the sum of the feed-forward block's input and output.
    pub output_norm: LayerNorm,
    /// Number of attention heads.
    heads: usize,
    /// Dropout of attention weights.
    attention_dropout: f64,
    /// Dropout of the attention block's output.
    dropout: f64,
    /// Dropout of the feed-forward block's output.
    feed_forward_dropout: f64,
    /// Activation inside the feed-forward block.
    #[module(skip)]
    activation: Activation,
}

impl Layer {
    pub(crate) fn new(config: &EncoderConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let linear = |inputs, outputs| Linear::new(inputs, outputs, config, device);
        let norm = || LayerNorm::new(hidden, config, device);
        Self {
            query: linear(hidden, hidden),
            key: linear(hidden, hidden),
            value: linear(hidden, hidden),
            attention_output: linear(hidden, hidden),
            attention_norm: norm(),
            intermediate: linear(hidden, config.intermediate_size),
            output: linear(config.intermediate_size, hidden),
            output_norm: norm(),
            heads: config.num_attention_heads,
            attention_dropout: config.attention_probs_dropout_prob,
            dropout: config.hidden_dropout_prob,
            feed_forward_dropout: config.feed_forward_dropout(),
            activation: config.activation,
        }
    }

    /// Returns the layer's output. Dropout is active where `hidden` records gradients.
    ///
    /// # Shapes
    /// - `hidden` and output: `[batch, tokens, hidden]`, f32; `[1, tokens, hidden]` of packed rows
    pub fn forward(&self, hidden: Tensor<3>, rows: &Rows, precision: Precision) -> Tensor<3> {
        let attended = ops::attention(
            self.queries_keys_values(hidden.clone(), precision),
            rows,
            self.heads,
            self.attention_dropout,
        );
        let attended = self.attention_output.forward(attended, precision);
        let hidden = self
            .attention_norm
            .forward_residual(attended, hidden, self.dropout);

        let inner = self
            .intermediate
            .forward_activated(hidden.clone(), precision, self.activation);
        let output = self.output.forward(inner, precision);
        self.output_norm
            .forward_residual(output, hidden, self.feed_forward_dropout)
    }

    /// Returns queries, keys and values side by side, `[batch, tokens, 3 · hidden]`, through one
    /// product in place of three.
    fn queries_keys_values(&self, hidden: Tensor<3>, precision: Precision) -> Tensor<3> {
        let parts = [&self.query, &self.key, &self.value];
        let weights = parts.map(|part| part.weight.val());
        let biases = parts.map(|part| part.bias.val());
        ops::linear(
            hidden,
            Tensor::cat(weights.to_vec(), 1),
            Tensor::cat(biases.to_vec(), 0),
            precision,
        )
    }
}
