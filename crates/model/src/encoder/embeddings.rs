//! Token ids to vectors.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use spanwise_config::EncoderConfig;
use spanwise_ops as ops;

use crate::batch::Batch;
use crate::encoder::initializer;

use super::layer_norm::LayerNorm;

/// The sum of a token's word, position, token-type and task-type embeddings, normalised.
///
/// Reference: transformers'
/// [`BertEmbeddings`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/modeling_bert.py),
/// [`RobertaEmbeddings`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/roberta/modeling_roberta.py)
/// and
/// [`ErnieEmbeddings`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/ernie/modeling_ernie.py).
#[derive(Module, Debug)]
pub struct Embeddings {
    /// The vectors of vocabulary ids.
    pub word: EmbeddingTable,
    /// The vectors of positions in the input.
    pub position: EmbeddingTable,
    /// The vectors of token types: the question's and the paragraph's.
    pub token_type: EmbeddingTable,
    /// The vectors of task types, where the encoder has some (ERNIE). Every token has type 0.
    pub task_type: Option<EmbeddingTable>,
    /// Normalises the sum.
    pub norm: LayerNorm,
    /// Position of an input's first token.
    first_position: usize,
    /// Dropout of the normalised sum.
    dropout: f64,
}

impl Embeddings {
    pub(crate) fn new(config: &EncoderConfig, device: &Device) -> Self {
        let table = |rows| EmbeddingTable::new(rows, config, device);
        Self {
            word: table(config.vocab_size),
            position: table(config.max_position_embeddings),
            token_type: table(config.type_vocab_size),
            task_type: config.task_types().map(table),
            norm: LayerNorm::new(config.embedding_size(), config, device),
            first_position: config.first_position(),
            dropout: config.hidden_dropout_prob,
        }
    }

    /// Returns the vectors of tokens, `[batch, tokens, embedding]`, f32, packed where the batch is.
    pub fn forward(&self, batch: &Batch) -> Tensor<3> {
        let ids = &batch.ids;
        let positions = batch
            .positions
            .clone()
            .add_scalar(self.first_position as i64);
        let token_types = match self.token_type.weight.dims() {
            // An encoder with one token type, whatever the tokenizer's pair template says.
            [1, _] => batch.token_types.zeros_like(),
            _ => batch.token_types.clone(),
        };
        let sum = self.word.forward(ids.clone())
            + self.token_type.forward(token_types)
            + self.position.forward(positions);
        let sum = match &self.task_type {
            Some(task_type) => sum + task_type.forward(ids.zeros_like()),
            None => sum,
        };
        ops::dropout(self.norm.forward(sum), self.dropout)
    }
}

/// A table with one vector a row.
#[derive(Module, Debug)]
pub struct EmbeddingTable {
    /// The rows, `[rows, embedding]`.
    pub weight: Param<Tensor<2>>,
}

impl EmbeddingTable {
    fn new(rows: usize, config: &EncoderConfig, device: &Device) -> Self {
        let shape = [rows, config.embedding_size()];
        Self {
            weight: initializer(config).init(shape, device),
        }
    }

    /// Returns the rows that `indices` name.
    ///
    /// # Shapes
    /// - `indices`: `[batch, tokens]`
    /// - output: `[batch, tokens, embedding]`
    pub fn forward(&self, indices: Tensor<2, Int>) -> Tensor<3> {
        ops::embedding(self.weight.val(), indices)
    }
}
