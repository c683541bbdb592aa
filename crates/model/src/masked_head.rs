//! The head that predicts masked tokens: what encoders are pre-trained with.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use spanwise_config::EncoderConfig;
use spanwise_ops::{Activation, Precision};

use crate::encoder::layer_norm::LayerNorm;
use crate::encoder::linear::Linear;
use crate::encoder::{Encoder, EncoderModel};

/// An encoder that predicts masked tokens. The word embeddings are its output matrix too.
///
/// Reference: transformers'
/// [`BertForMaskedLM`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/modeling_bert.py)
/// and its namesakes for the other families.
#[derive(Module, Debug)]
pub struct MaskedModel {
    /// Turns tokens into hidden states.
    pub encoder: Encoder,
    /// Projects hidden states to the width of the word embeddings, `[hidden, embedding]`.
    pub transform: Linear,
    /// Normalises the activated projection.
    pub norm: LayerNorm,
    /// Added to the logits, `[vocabulary]`.
    pub bias: Param<Tensor<1>>,
    /// Activation after the projection.
    #[module(skip)]
    activation: Activation,
}

impl EncoderModel for MaskedModel {
    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let width = config.embedding_size();
        Self {
            encoder: Encoder::new(config, device),
            transform: Linear::new(config.hidden_size, width, config, device),
            norm: LayerNorm::new(width, config, device),
            bias: Initializer::Zeros.init([config.vocab_size], device),
            activation: config.activation,
        }
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}

impl MaskedModel {
    /// Returns the logits of the whole vocabulary for some tokens.
    ///
    /// # Shapes
    /// - `hidden`: the tokens' hidden states, `[tokens, hidden]`, f32
    /// - output: `[tokens, vocabulary]`, f32
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let transformed =
            self.transform
                .forward_activated(hidden.unsqueeze(), Precision::Fp32, self.activation);
        let normed = self.norm.forward(transformed).squeeze_dim::<2>(0);
        let words = self.encoder.embeddings.word.weight.val();
        // Burn's product: masked tokens are few, and oneDNN has no fast one with the table
        // transposed.
        normed.matmul(words.transpose()) + self.bias.val().unsqueeze()
    }
}
