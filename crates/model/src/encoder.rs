//! BERT with a span head (Devlin et al., 2019), on the operations of the `ops` crate.
//!
//! Reference: `transformers.models.bert.modeling_bert.BertForQuestionAnswering`. Burn's layers serve as
//! containers of parameters; what is computed with them is said here.

use burn::module::Module;
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::{Device, Int, Tensor};
use spanwise_ops::{self as ops, Precision};

use crate::batch::Batch;
use crate::config::BertConfig;

/// A BERT encoder that scores every token as the start and as the end of the answer.
#[derive(Module, Debug)]
pub struct SpanModel {
    /// Ids to vectors.
    pub embeddings: Embeddings,
    /// The encoder's layers, first to last.
    pub layers: Vec<Layer>,
    /// Vector → (start logit, end logit).
    pub span_head: Linear,
}

/// Token, position and token-type embeddings, summed and normalised.
#[derive(Module, Debug)]
pub struct Embeddings {
    /// By vocabulary id.
    pub word: Embedding,
    /// By place in the input.
    pub position: Embedding,
    /// By token type: question or paragraph.
    pub token_type: Embedding,
    /// Over their sum.
    pub norm: LayerNorm,
    epsilon: f64,
    dropout: f64,
}

/// One encoder layer: attention and a feed-forward block, each with a residual connection and a layer
/// norm after it.
#[derive(Module, Debug)]
pub struct Layer {
    /// Projections into attention.
    pub query: Linear,
    /// Of the attended tokens.
    pub key: Linear,
    /// What is averaged.
    pub value: Linear,
    /// Out of attention.
    pub attention_output: Linear,
    /// After attention's residual connection.
    pub attention_norm: LayerNorm,
    /// Into the feed-forward block.
    pub intermediate: Linear,
    /// Out of it.
    pub output: Linear,
    /// After its residual connection.
    pub output_norm: LayerNorm,
    heads: usize,
    epsilon: f64,
    dropout: f64,
    attention_dropout: f64,
}

/// Start and end logits, `[batch, tokens]` each, f32. Padding has logits too, and they mean nothing.
pub struct SpanLogits {
    /// Of an answer beginning with the token.
    pub start: Tensor<2>,
    /// Of an answer ending with the token.
    pub end: Tensor<2>,
}

impl SpanModel {
    /// A model with random parameters. They are drawn when first used, from the device's generator.
    pub fn new(config: &BertConfig, device: &Device) -> Self {
        let initializer = Initializer::Normal {
            mean: 0.0,
            std: config.initializer_range,
        };
        let linear = |inputs, outputs| {
            let mut layer = LinearConfig::new(inputs, outputs)
                .with_initializer(initializer.clone())
                .init(device);
            layer.bias = Some(Initializer::Zeros.init([outputs], device));
            layer
        };
        let embedding = |rows| {
            EmbeddingConfig::new(rows, config.hidden_size)
                .with_initializer(initializer.clone())
                .init(device)
        };
        let norm = || {
            LayerNormConfig::new(config.hidden_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device)
        };
        let hidden = config.hidden_size;
        let layer = |_| Layer {
            query: linear(hidden, hidden),
            key: linear(hidden, hidden),
            value: linear(hidden, hidden),
            attention_output: linear(hidden, hidden),
            attention_norm: norm(),
            intermediate: linear(hidden, config.intermediate_size),
            output: linear(config.intermediate_size, hidden),
            output_norm: norm(),
            heads: config.num_attention_heads,
            epsilon: config.layer_norm_eps,
            dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
        };
        Self {
            embeddings: Embeddings {
                word: embedding(config.vocab_size),
                position: embedding(config.max_position_embeddings),
                token_type: embedding(config.type_vocab_size),
                norm: norm(),
                epsilon: config.layer_norm_eps,
                dropout: config.hidden_dropout_prob,
            },
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            span_head: linear(hidden, 2),
        }
    }

    /// Start and end logits of a batch. Dropout is active on a device that records gradients.
    pub fn forward(&self, batch: &Batch, precision: Precision) -> SpanLogits {
        let mut hidden = self.embeddings.forward(&batch.ids, &batch.token_types);
        for layer in &self.layers {
            hidden = layer.forward(hidden, &batch.mask, precision);
        }
        let [rows, tokens, _] = hidden.dims();
        // The head is tiny and its output is what is compared: always f32.
        let logits = linear(&self.span_head, hidden, Precision::F32);
        let logit = |index| logits.clone().narrow(2, index, 1).reshape([rows, tokens]);
        SpanLogits {
            start: logit(0),
            end: logit(1),
        }
    }
}

impl Embeddings {
    /// `ids` and `token_types`: `[batch, tokens]`; output: `[batch, tokens, hidden]`.
    fn forward(&self, ids: &Tensor<2, Int>, token_types: &Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let positions = Tensor::arange(0..tokens as i64, &ids.device()).unsqueeze();
        let sum = ops::embedding(self.word.weight.val(), ids.clone())
            + ops::embedding(self.token_type.weight.val(), token_types.clone())
            + ops::embedding(self.position.weight.val(), positions);
        ops::dropout(norm(&self.norm, sum, self.epsilon), self.dropout)
    }
}

impl Layer {
    /// `hidden`: `[batch, tokens, hidden]`, f32, as is the output; `mask`: `[batch, tokens]`.
    fn forward(&self, hidden: Tensor<3>, mask: &Tensor<2>, precision: Precision) -> Tensor<3> {
        let attended = ops::attention(
            linear(&self.query, hidden.clone(), precision),
            linear(&self.key, hidden.clone(), precision),
            linear(&self.value, hidden.clone(), precision),
            mask.clone(),
            self.heads,
            self.attention_dropout,
        );
        let attended = ops::to_f32(linear(&self.attention_output, attended, precision));
        let hidden = norm(
            &self.attention_norm,
            hidden + ops::dropout(attended, self.dropout),
            self.epsilon,
        );

        let inner = ops::gelu(linear(&self.intermediate, hidden.clone(), precision));
        let inner = ops::to_f32(linear(&self.output, inner, precision));
        norm(
            &self.output_norm,
            hidden + ops::dropout(inner, self.dropout),
            self.epsilon,
        )
    }
}

fn linear(layer: &Linear, x: Tensor<3>, precision: Precision) -> Tensor<3> {
    let bias = layer
        .bias
        .as_ref()
        .expect("every linear layer of BERT has a bias");
    ops::linear(x, layer.weight.val(), bias.val(), precision)
}

fn norm(layer: &LayerNorm, x: Tensor<3>, epsilon: f64) -> Tensor<3> {
    let beta = layer
        .beta
        .as_ref()
        .expect("every layer norm of BERT has a bias");
    ops::layer_norm(x, layer.gamma.val(), beta.val(), epsilon)
}
