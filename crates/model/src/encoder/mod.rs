//! The encoder of BERT and its relatives, one that a configuration shapes.
//!
//! Every block has a file with its struct, its constructor and its forward pass:
//! [`embeddings`], [`layer`], [`linear`], [`layer_norm`]. The heads are [`crate::span_head`] and
//! [`crate::masked_head`].

pub mod embeddings;
pub mod layer;
pub mod layer_norm;
pub mod linear;

use burn::module::Module;
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use spanwise_config::EncoderConfig;
use spanwise_ops::{self as ops, Precision};

use crate::batch::Batch;
use embeddings::Embeddings;
use layer::Layer;
use linear::Linear;

/// Token ids to one vector a token, the hidden states.
///
/// Reference: transformers'
/// [`BertModel`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/modeling_bert.py),
/// [`ElectraModel`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/electra/modeling_electra.py)
/// and
/// [`AlbertTransformer`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/albert/modeling_albert.py).
#[derive(Module, Debug)]
pub struct Encoder {
    /// Turns token ids into vectors.
    pub embeddings: Embeddings,
    /// Projects embeddings to hidden states, `[embedding, hidden]`, where their widths differ.
    pub projection: Option<Linear>,
    /// The layers with parameters of their own, first to last.
    pub layers: Vec<Layer>,
    /// Which layer each pass runs.
    #[module(skip)]
    sharing: Sharing,
}

/// How layers are repeated: every group runs `passes` times in a row before the next one does.
/// Unless layers share parameters, a group is one layer and runs once.
#[derive(Debug, Clone, Copy)]
struct Sharing {
    layers_per_group: usize,
    passes: usize,
}

impl Encoder {
    pub(crate) fn new(config: &EncoderConfig, device: &Device) -> Self {
        let layers_per_group = config.inner_group_num;
        let layers = config.groups() * layers_per_group;
        Self {
            embeddings: Embeddings::new(config, device),
            projection: config
                .projects_embeddings()
                .then(|| Linear::new(config.embedding_size(), config.hidden_size, config, device)),
            layers: (0..layers).map(|_| Layer::new(config, device)).collect(),
            sharing: Sharing {
                layers_per_group,
                passes: config.num_hidden_layers / config.groups(),
            },
        }
    }

    /// Returns the last layer's output. Dropout is active on a device that records gradients.
    ///
    /// # Shapes
    /// - output: `[batch, tokens, hidden]`, f32
    pub fn forward(&self, batch: &Batch, precision: Precision) -> Tensor<3> {
        self.forward_in_blocks(batch, precision, |_| {})
    }

    /// Like [`Encoder::forward`]; calls `before_block` before every block with its index: 0 for the
    /// embeddings, then 1 to [`Encoder::passes`] for the layers as they run.
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
            hidden = self.layer(pass).forward(hidden, &batch.rows, precision);
        }
        batch.unpack(hidden)
    }

    /// Returns the first layer's input, f32, packed where the batch is.
    pub fn embed(&self, batch: &Batch, precision: Precision) -> Tensor<3> {
        let embedded = self.embeddings.forward(batch);
        match &self.projection {
            Some(projection) => ops::to_f32(projection.forward(embedded, precision)),
            None => embedded,
        }
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.embeddings.word.weight.lazy_device()
    }

    /// Returns how many times a layer runs in one forward pass, a shared layer counted every time.
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

/// Returns the distribution of newly initialised weights.
pub(crate) fn initializer(config: &EncoderConfig) -> Initializer {
    Initializer::Normal {
        mean: 0.0,
        std: config.initializer_range,
    }
}

/// A model that is trained: an encoder with a head.
pub trait EncoderModel: Module {
    /// Returns a model with random parameters. They are sampled when first used, from the device's
    /// generator.
    fn new(config: &EncoderConfig, device: &Device) -> Self;

    /// The encoder.
    fn encoder(&self) -> &Encoder;
}
