//! From a batch to its gradients: micro-batches one after the other, each with all activations kept
//! or with those of one layer at a time.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Tensor};
use spanwise_model::batch::{Batch, split_into_passes, width};
use spanwise_model::{Encoder, EncoderModel};
use spanwise_ops::Precision;

use crate::hyperparameters::Hyperparameters;
use crate::seed::derive_seed;
use crate::task::Task;

/// What a batch teaches.
pub struct BatchGradients {
    /// Mean of the batch's losses times the loss scale, one element.
    pub loss: Tensor<1>,
    /// Gradients of that mean times the loss scale.
    pub gradients: GradientsParams,
    /// Number of real tokens in the batch.
    pub tokens: usize,
}

/// Runs a batch forward and backward in micro-batches. Every loss counts the same, so how the batch
/// is cut changes nothing but rounding. `seed` decides masks and dropout. Nothing waits for the
/// device.
pub fn batch<T: Task>(
    task: &T,
    hyperparameters: &Hyperparameters,
    model: &T::Model,
    items: &[T::Item],
    seed: u64,
    loss_scale: Option<&Tensor<1>>,
) -> BatchGradients {
    let max_length = hyperparameters.max_length;
    let size = |item: &T::Item| (task.rows(item), width(task.length(item), max_length));
    let parts = split_into_passes(items, size, hyperparameters.tokens_per_pass());
    let micro_batches = task.micro_batches(&parts, seed);
    let losses: usize = micro_batches.iter().map(|part| part.losses).sum();
    let mut gradients = GradientsAccumulator::new();
    let mut sums = Vec::with_capacity(micro_batches.len());
    for (index, micro_batch) in micro_batches.iter().enumerate() {
        let pass = |model: &T::Model, gradients: &mut GradientsAccumulator<T::Model>| {
            let pass = Pass {
                model,
                input: &micro_batch.input,
                precision: hyperparameters.precision,
                seed: derive_seed(seed, index as u64),
                gradient_checkpointing: hyperparameters.gradient_checkpointing,
            };
            let loss = |hidden| {
                let loss = task.loss(model, hidden, &micro_batch.targets);
                let loss = loss.div_scalar(losses as f64);
                match loss_scale {
                    Some(scale) => loss * Tensor::from_inner(scale.clone()),
                    None => loss,
                }
            };
            pass.run(loss, gradients)
        };
        sums.push(task.backward(&pass, model, &mut gradients));
    }
    BatchGradients {
        loss: Tensor::cat(sums, 0).sum(),
        gradients: gradients.grads(),
        tokens: micro_batches.iter().map(|part| part.tokens).sum(),
    }
}

/// One pass of one input, forward and backward.
pub struct Pass<'a, M> {
    /// The model, on a device that records gradients.
    pub model: &'a M,
    /// The model's input.
    pub input: &'a Batch,
    /// Number format of matrix products.
    pub precision: Precision,
    /// Decides what dropout drops. Every block derives a seed of its own from it, so that it drops
    /// the same when it is computed again.
    pub seed: u64,
    /// Whether only what stands between layers is kept, and each layer is computed again for its
    /// gradients: Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
    pub gradient_checkpointing: bool,
}

impl<M: EncoderModel> Pass<'_, M> {
    /// Adds the gradients of a loss to `gradients` and returns the loss, one element. `loss` is
    /// called with what the encoder writes, `[batch, tokens, hidden]`.
    pub fn run(
        &self,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Tensor<1> {
        if self.gradient_checkpointing {
            self.recomputing_activations(loss, gradients)
        } else {
            self.keeping_activations(loss, gradients)
        }
    }

    fn keeping_activations(
        &self,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Tensor<1> {
        let encoder = self.model.encoder();
        let seed_block = |block| self.seed_block(block);
        let hidden = encoder.forward_in_blocks(self.input, self.precision, seed_block);
        self.seed_block(encoder.passes() + 1);
        let loss = loss(hidden);
        self.add(loss.backward(), gradients);
        loss.inner()
    }

    fn recomputing_activations(
        &self,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Tensor<1> {
        // With no parameter to learn, nothing is recorded, but dropout is still active.
        let encoder = self.model.encoder();
        let frozen = encoder.clone().no_grad();
        let passes = frozen.passes();
        let mut between = vec![self.embed(&frozen)];
        for pass in 0..passes {
            between.push(self.layer(&frozen, pass, between[pass].clone()));
        }
        drop(frozen);

        let mut input = || between.pop().expect("one a layer").require_grad();
        let last = input();
        self.seed_block(passes + 1);
        let loss = loss(self.input.unpack(last.clone()));
        let mut found = loss.backward();
        let mut gradient = take(&last, &mut found);
        self.add(found, gradients);
        for pass in (0..passes).rev() {
            let input = input();
            let output = self.layer(encoder, pass, input.clone());
            let mut found = backward_from(output, gradient);
            gradient = take(&input, &mut found);
            self.add(found, gradients);
        }
        self.add(backward_from(self.embed(encoder), gradient), gradients);
        loss.inner()
    }

    fn embed(&self, encoder: &Encoder) -> Tensor<3> {
        self.seed_block(0);
        encoder.embed(self.input, self.precision)
    }

    fn layer(&self, encoder: &Encoder, pass: usize, hidden: Tensor<3>) -> Tensor<3> {
        self.seed_block(pass + 1);
        encoder
            .layer(pass)
            .forward(hidden, &self.input.rows, self.precision)
    }

    fn seed_block(&self, block: usize) {
        let device = self.input.mask.device();
        device.seed(derive_seed(self.seed, block as u64));
    }

    fn add(&self, found: Gradients, gradients: &mut GradientsAccumulator<M>) {
        let found = GradientsParams::from_grads(found, self.model);
        gradients.accumulate(self.model, found);
    }
}

/// Returns the gradients of everything that `output` was computed from, given its own gradient.
fn backward_from(output: Tensor<3>, gradient: Tensor<3>) -> Gradients {
    // The gradient of this sum with respect to `output` is `gradient`.
    (output * Tensor::from_inner(gradient)).sum().backward()
}

fn take(tensor: &Tensor<3>, gradients: &mut Gradients) -> Tensor<3> {
    tensor
        .grad_remove(gradients)
        .expect("the loss depends on every layer")
}
