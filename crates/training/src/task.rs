//! What is learned, as the loop sees it.

use anyhow::Result;
use burn::optim::GradientsAccumulator;
use burn::tensor::Tensor;
use rand::rngs::StdRng;
use spanwise_model::EncoderModel;
use spanwise_model::batch::Batch;

use crate::log::DevMetrics;

/// Runs a model forward and backward on a micro-batch: adds the gradients to those given and returns
/// the loss, one element.
pub type BackwardPass<'a, M> = dyn Fn(&M, &mut GradientsAccumulator<M>) -> Tensor<1> + 'a;

/// Something to learn: a model with a head, the items of an epoch, and the loss of a micro-batch.
///
/// Everything random is a pure function of the seed that is passed in, so that any step can be
/// repeated without those before it.
pub trait Task {
    /// Name of the stage, for progress and messages.
    const NAME: &'static str;

    /// The model that is trained.
    type Model: EncoderModel;

    /// What a batch consists of.
    type Item;

    /// What the loss needs to know of a micro-batch besides what the encoder writes.
    type Targets;

    /// Returns the number of items in an epoch.
    fn items(&self) -> usize;

    /// Returns what an epoch has, for people.
    fn described(&self) -> String;

    /// Returns the items of an epoch, sampled with `random`, in any order.
    fn sample(&self, random: &mut StdRng) -> Vec<Self::Item>;

    /// Returns how many rows of the model's input an item takes.
    fn rows(&self, item: &Self::Item) -> usize;

    /// Returns the length in tokens of an item's longest row.
    fn length(&self, item: &Self::Item) -> usize;

    /// Returns inputs and targets of a batch that is cut into `parts`.
    fn micro_batches(&self, parts: &[&[Self::Item]], seed: u64) -> Vec<MicroBatch<Self::Targets>>;

    /// Returns the sum of the losses of a micro-batch, one element.
    ///
    /// `hidden`: what the encoder writes, `[rows, tokens, hidden]`, f32.
    fn loss(&self, model: &Self::Model, hidden: Tensor<3>, targets: &Self::Targets) -> Tensor<1>;

    /// Adds a micro-batch's gradients to `gradients` and returns its loss, one element.
    ///
    /// `pass` does that for one forward and backward pass of a model. A task may call it with
    /// changed models too.
    fn backward(
        &self,
        pass: &BackwardPass<Self::Model>,
        model: &Self::Model,
        gradients: &mut GradientsAccumulator<Self::Model>,
    ) -> Tensor<1> {
        pass(model, gradients)
    }

    /// Fails where [`Task::evaluate`] would fail after an epoch.
    fn check(&self, _model: &Self::Model) -> Result<()> {
        Ok(())
    }

    /// Returns how good the model is on dev; `None` where the task has no dev.
    fn evaluate(&self, _model: &Self::Model) -> Result<Option<DevMetrics>> {
        Ok(None)
    }
}

/// What goes through the model at once.
pub struct MicroBatch<T> {
    /// Rows as the encoder reads them.
    pub input: Batch,
    /// What the loss compares with.
    pub targets: T,
    /// Number of losses that [`Task::loss`] sums.
    pub losses: usize,
    /// Number of real tokens, those of a repeated row once.
    pub tokens: usize,
}
