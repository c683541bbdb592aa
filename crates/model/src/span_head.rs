//! The head that answers questions: a start and an end logit for every token.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use spanwise_config::EncoderConfig;
use spanwise_ops::Precision;

use crate::batch::Batch;
use crate::encoder::linear::Linear;
use crate::encoder::{Encoder, EncoderModel};

/// An encoder that scores every token as the start and as the end of the answer.
///
/// Reference: transformers'
/// [`BertForQuestionAnswering`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/modeling_bert.py)
/// and its namesakes for the other families.
#[derive(Module, Debug)]
pub struct SpanModel {
    /// Turns tokens into hidden states.
    pub encoder: Encoder,
    /// Projects hidden states to a start and an end logit, `[hidden, 2]`.
    pub span_head: Linear,
}

/// Start and end logits of a batch. Padding has logits too, and they mean nothing.
pub struct SpanLogits {
    /// Logits of an answer starting with the token, `[batch, tokens]`, f32.
    pub start: Tensor<2>,
    /// Logits of an answer ending with the token, `[batch, tokens]`, f32.
    pub end: Tensor<2>,
}

impl EncoderModel for SpanModel {
    fn new(config: &EncoderConfig, device: &Device) -> Self {
        Self {
            encoder: Encoder::new(config, device),
            span_head: Linear::new(config.hidden_size, 2, config, device),
        }
    }

    fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}

impl SpanModel {
    /// Returns the logits of a batch. Dropout is active on a device that records gradients.
    pub fn forward(&self, batch: &Batch, precision: Precision) -> SpanLogits {
        self.logits(self.encoder.forward(batch, precision))
    }

    /// Returns the logits of hidden states.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, tokens, hidden]`, f32
    pub fn logits(&self, hidden: Tensor<3>) -> SpanLogits {
        let [rows, tokens, _] = hidden.dims();
        // The head is tiny and its output is what is compared: always fp32.
        let logits = self.span_head.forward(hidden, Precision::Fp32);
        let logit = |index| logits.clone().narrow(2, index, 1).reshape([rows, tokens]);
        SpanLogits {
            start: logit(0),
            end: logit(1),
        }
    }
}
