//! The encoder and its heads: BERT and its relatives, one encoder that a configuration shapes.
//!
//! Reference: transformers' `modeling_bert.BertForQuestionAnswering`, `BertForMaskedLM` and their namesakes
//! for ELECTRA, RoBERTa and ALBERT. Burn's layers serve as containers of parameters; what is computed with them is said here.

use burn::module::{Module, Param};
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::{Device, Int, Tensor};
use spanwise_ops::{self as ops, Activation, Precision};

use crate::batch::Batch;
use crate::config::EncoderConfig;

/// Token ids to one vector a token.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Ids to vectors.
    pub embeddings: Embeddings,
    /// From the embeddings' width to the layers', where they differ.
    pub projection: Option<Linear>,
    /// The layers with parameters of their own, first to last.
    pub layers: Vec<Layer>,
    /// How the layers are run through.
    #[module(skip)]
    sharing: Sharing,
}

/// An encoder that scores every token as the start and as the end of the answer.
#[derive(Module, Debug)]
pub struct SpanModel {
    /// Tokens to vectors.
    pub encoder: Encoder,
    /// Vector → (start logit, end logit).
    pub span_head: Linear,
}

/// An encoder that guesses masked tokens: what it is pre-trained as.
#[derive(Module, Debug)]
pub struct MaskedModel {
    /// Tokens to vectors.
    pub encoder: Encoder,
    /// Vector → vector that the word embeddings are compared with.
    pub transform: Linear,
    /// Over the transformed vector.
    pub norm: LayerNorm,
    /// Of every word of the vocabulary.
    pub bias: Param<Tensor<1>>,
    epsilon: f64,
    #[module(skip)]
    activation: Activation,
}

/// A model that is trained: an encoder, and a head on it.
pub trait Encodes: Module {
    /// A model with random parameters. They are drawn when first used, from the device's generator.
    fn new(config: &EncoderConfig, device: &Device) -> Self;

    /// The encoder.
    fn encoder(&self) -> &Encoder;
}

impl Encodes for SpanModel {
    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let maker = Maker::new(config, device);
        Self {
            encoder: maker.encoder(),
            span_head: maker.linear(config.hidden_size, 2),
        }
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}

impl Encodes for MaskedModel {
    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let maker = Maker::new(config, device);
        let width = config.embedding_size();
        Self {
            encoder: maker.encoder(),
            transform: maker.linear(config.hidden_size, width),
            norm: maker.norm(width),
            bias: Initializer::Zeros.init([config.vocab_size], device),
            epsilon: config.layer_norm_eps,
            activation: config.activation(),
        }
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}

/// Layers in groups: every group runs `passes` times in a row before the next one does. Unless layers
/// share parameters, a group is one layer and runs once.
#[derive(Debug, Clone, Copy)]
struct Sharing {
    layers_per_group: usize,
    passes: usize,
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
    /// Position of an input's first token.
    first_position: usize,
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
    attention_dropout: f64,
    dropout: f64,
    feed_forward_dropout: f64,
    #[module(skip)]
    activation: Activation,
}

/// Start and end logits, `[batch, tokens]` each, f32. Padding has logits too, and they mean nothing.
pub struct SpanLogits {
    /// Of an answer beginning with the token.
    pub start: Tensor<2>,
    /// Of an answer ending with the token.
    pub end: Tensor<2>,
}

/// Makes the parts of a model. Parameters are drawn when first used, from the device's generator.
struct Maker<'a> {
    initializer: Initializer,
    config: &'a EncoderConfig,
    device: &'a Device,
}

impl<'a> Maker<'a> {
    fn new(config: &'a EncoderConfig, device: &'a Device) -> Self {
        let initializer = Initializer::Normal {
            mean: 0.0,
            std: config.initializer_range,
        };
        Self {
            initializer,
            config,
            device,
        }
    }

    fn linear(&self, inputs: usize, outputs: usize) -> Linear {
        let mut layer = LinearConfig::new(inputs, outputs)
            .with_initializer(self.initializer.clone())
            .init(self.device);
        layer.bias = Some(Initializer::Zeros.init([outputs], self.device));
        layer
    }

    fn embedding(&self, rows: usize) -> Embedding {
        EmbeddingConfig::new(rows, self.config.embedding_size())
            .with_initializer(self.initializer.clone())
            .init(self.device)
    }

    fn norm(&self, width: usize) -> LayerNorm {
        LayerNormConfig::new(width)
            .with_epsilon(self.config.layer_norm_eps)
            .init(self.device)
    }

    fn layer(&self) -> Layer {
        let config = self.config;
        let hidden = config.hidden_size;
        Layer {
            query: self.linear(hidden, hidden),
            key: self.linear(hidden, hidden),
            value: self.linear(hidden, hidden),
            attention_output: self.linear(hidden, hidden),
            attention_norm: self.norm(hidden),
            intermediate: self.linear(hidden, config.intermediate_size),
            output: self.linear(config.intermediate_size, hidden),
            output_norm: self.norm(hidden),
            heads: config.num_attention_heads,
            epsilon: config.layer_norm_eps,
            attention_dropout: config.attention_probs_dropout_prob,
            dropout: config.hidden_dropout_prob,
            feed_forward_dropout: config.feed_forward_dropout(),
            activation: config.activation(),
        }
    }

    fn encoder(&self) -> Encoder {
        let config = self.config;
        let layers_per_group = config.inner_group_num;
        let layers = config.groups() * layers_per_group;
        Encoder {
            embeddings: Embeddings {
                word: self.embedding(config.vocab_size),
                position: self.embedding(config.max_position_embeddings),
                token_type: self.embedding(config.type_vocab_size),
                norm: self.norm(config.embedding_size()),
                first_position: config.first_position(),
                epsilon: config.layer_norm_eps,
                dropout: config.hidden_dropout_prob,
            },
            projection: config
                .projects_embeddings()
                .then(|| self.linear(config.embedding_size(), config.hidden_size)),
            layers: (0..layers).map(|_| self.layer()).collect(),
            sharing: Sharing {
                layers_per_group,
                passes: config.num_hidden_layers / config.groups(),
            },
        }
    }
}

impl Encoder {
    /// Returns what the last layer writes, `[batch, tokens, hidden]`, f32. Dropout is active on a
    /// device that records gradients.
    pub fn forward(&self, batch: &Batch, precision: Precision) -> Tensor<3> {
        self.forward_in_blocks(batch, precision, |_| ())
    }

    /// As [`Encoder::forward`]; `before_block` is called with the index of every block before it is
    /// computed: 0 for the embeddings, then 1 to [`Encoder::passes`] for the layers as they run.
    pub fn forward_in_blocks(
        &self,
        batch: &Batch,
        precision: Precision,
        mut before_block: impl FnMut(usize),
    ) -> Tensor<3> {
        before_block(0);
        let mut hidden = self.embed(batch, precision);
        for pass in 0..self.passes() {
            before_block(pass + 1);
            hidden = self.layer(pass).forward(hidden, &batch.mask, precision);
        }
        hidden
    }

    /// What the first layer reads, `[batch, tokens, hidden]`, f32.
    pub fn embed(&self, batch: &Batch, precision: Precision) -> Tensor<3> {
        let embedded = self.embeddings.forward(&batch.ids, &batch.token_types);
        match &self.projection {
            Some(projection) => ops::to_f32(linear(projection, embedded, precision)),
            None => embedded,
        }
    }

    /// Returns how many times a layer runs: a shared one as often as it does.
    pub fn passes(&self) -> usize {
        self.layers.len() * self.sharing.passes
    }

    /// Returns the layer that runs as number `pass`, counted from 0.
    pub fn layer(&self, pass: usize) -> &Layer {
        let Sharing {
            layers_per_group,
            passes,
        } = self.sharing;
        let group = pass / (layers_per_group * passes);
        &self.layers[group * layers_per_group + pass % layers_per_group]
    }
}

impl SpanModel {
    /// Start and end logits of a batch. Dropout is active on a device that records gradients.
    pub fn forward(&self, batch: &Batch, precision: Precision) -> SpanLogits {
        self.logits(self.encoder.forward(batch, precision))
    }

    /// Start and end logits of what the encoder wrote, `[batch, tokens, hidden]`, f32.
    pub fn logits(&self, hidden: Tensor<3>) -> SpanLogits {
        let [rows, tokens, _] = hidden.dims();
        // The head is tiny and its output is what is compared: always f32.
        let logits = linear(&self.span_head, hidden, Precision::Fp32);
        let logit = |index| logits.clone().narrow(2, index, 1).reshape([rows, tokens]);
        SpanLogits {
            start: logit(0),
            end: logit(1),
        }
    }
}

impl MaskedModel {
    /// The vocabulary's logits, `[tokens, vocabulary]`, f32, of what the encoder wrote for some tokens,
    /// `[tokens, hidden]`. The word embeddings are the output matrix too.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let (weight, bias) = matrix(&self.transform);
        let transformed = ops::linear_activated(
            hidden.unsqueeze(),
            weight,
            bias,
            Precision::Fp32,
            self.activation,
        );
        let normed = norm(&self.norm, transformed, self.epsilon).squeeze_dim::<2>(0);
        let words = self.encoder.embeddings.word.weight.val();
        // Burn's product: few tokens are guessed, and oneDNN has no fast one with the table transposed.
        normed.matmul(words.transpose()) + self.bias.val().unsqueeze()
    }
}

impl Embeddings {
    /// `ids` and `token_types`: `[batch, tokens]`; output: `[batch, tokens, hidden]`.
    fn forward(&self, ids: &Tensor<2, Int>, token_types: &Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let first = self.first_position as i64;
        // Padding gets positions too; nothing attends to it.
        let positions = Tensor::arange(first..first + tokens as i64, &ids.device()).unsqueeze();
        let token_types = match self.token_type.weight.dims() {
            // An encoder with one token type, whatever the tokenizer's pair template says.
            [1, _] => token_types.zeros_like(),
            _ => token_types.clone(),
        };
        let sum = ops::embedding(self.word.weight.val(), ids.clone())
            + ops::embedding(self.token_type.weight.val(), token_types)
            + ops::embedding(self.position.weight.val(), positions);
        ops::dropout(norm(&self.norm, sum, self.epsilon), self.dropout)
    }
}

impl Layer {
    /// `hidden`: `[batch, tokens, hidden]`, f32, as is the output; `mask`: `[batch, tokens]`.
    pub fn forward(&self, hidden: Tensor<3>, mask: &Tensor<2>, precision: Precision) -> Tensor<3> {
        let attended = ops::attention(
            self.project(hidden.clone(), precision),
            mask.clone(),
            self.heads,
            self.attention_dropout,
        );
        let attended = linear(&self.attention_output, attended, precision);
        let hidden = self.add(&self.attention_norm, hidden, attended, self.dropout);

        let (weight, bias) = matrix(&self.intermediate);
        let inner = ops::linear_activated(hidden.clone(), weight, bias, precision, self.activation);
        let inner = linear(&self.output, inner, precision);
        self.add(&self.output_norm, hidden, inner, self.feed_forward_dropout)
    }

    /// Queries, keys and values side by side, through one product in place of three.
    fn project(&self, hidden: Tensor<3>, precision: Precision) -> Tensor<3> {
        let parts = [&self.query, &self.key, &self.value].map(matrix);
        let (weights, biases): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        ops::linear(
            hidden,
            Tensor::cat(weights, 1),
            Tensor::cat(biases, 0),
            precision,
        )
    }

    /// What follows each block: dropout, the residual connection, layer norm.
    fn add(
        &self,
        norm: &LayerNorm,
        hidden: Tensor<3>,
        block: Tensor<3>,
        dropout: f64,
    ) -> Tensor<3> {
        let (gamma, beta) = parameters(norm);
        ops::residual_layer_norm(block, hidden, gamma, beta, self.epsilon, dropout)
    }
}

fn linear(layer: &Linear, x: Tensor<3>, precision: Precision) -> Tensor<3> {
    let (weight, bias) = matrix(layer);
    ops::linear(x, weight, bias, precision)
}

fn matrix(layer: &Linear) -> (Tensor<2>, Tensor<1>) {
    let bias = layer.bias.as_ref().expect("every linear layer has a bias");
    (layer.weight.val(), bias.val())
}

fn norm(layer: &LayerNorm, x: Tensor<3>, epsilon: f64) -> Tensor<3> {
    let (gamma, beta) = parameters(layer);
    ops::layer_norm(x, gamma, beta, epsilon)
}

fn parameters(norm: &LayerNorm) -> (Tensor<1>, Tensor<1>) {
    let beta = norm.beta.as_ref().expect("every layer norm has a bias");
    (norm.gamma.val(), beta.val())
}
