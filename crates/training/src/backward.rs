//! From one micro-batch to its gradients, with all activations kept or with those of one layer at a time.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Tensor};
use spanwise_ops::Precision;

use crate::seed::mix;
use spanwise_model::batch::Batch;
use spanwise_model::encoder::{Encoder, Encodes};

/// One pass forward and back.
pub struct Backward<'a, M> {
    /// On a device that records gradients.
    pub model: &'a M,
    /// Its input.
    pub batch: &'a Batch,
    /// Of matrix products.
    pub precision: Precision,
    /// Decides what dropout drops. Every block draws from a seed of its own, so that it drops the same when
    /// it is computed again, and training is the same with and without.
    pub seed: u64,
}

impl<M: Encodes> Backward<'_, M> {
    /// Adds to `gradients` and gives the loss, one element. `loss` gets what the encoder wrote, `[batch, tokens,
    /// hidden]`.
    pub fn run(
        &self,
        recomputes: bool,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Tensor<1> {
        if recomputes {
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
        let hidden = encoder.forward_in_blocks(self.batch, self.precision, seed_block);
        self.seed_block(encoder.passes() + 1);
        let loss = loss(hidden);
        self.add(loss.backward(), gradients);
        loss.inner()
    }

    /// Keeps what stands between layers, and computes each layer again for its gradients (Chen et al., 2016).
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
        let loss = loss(last.clone());
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
        encoder.embed(self.batch, self.precision)
    }

    fn layer(&self, encoder: &Encoder, pass: usize, hidden: Tensor<3>) -> Tensor<3> {
        self.seed_block(pass + 1);
        encoder
            .layer(pass)
            .forward(hidden, &self.batch.mask, self.precision)
    }

    fn seed_block(&self, block: usize) {
        self.batch.mask.device().seed(mix(self.seed, block as u64));
    }

    fn add(&self, found: Gradients, gradients: &mut GradientsAccumulator<M>) {
        let found = GradientsParams::from_grads(found, self.model);
        gradients.accumulate(self.model, found);
    }
}

/// Gradients of everything that `output` was computed from, given the gradient of `output`.
fn backward_from(output: Tensor<3>, gradient: Tensor<3>) -> Gradients {
    // The gradient of this sum with respect to `output` is `gradient`.
    (output * Tensor::from_inner(gradient)).sum().backward()
}

fn take(tensor: &Tensor<3>, gradients: &mut Gradients) -> Tensor<3> {
    tensor
        .grad_remove(gradients)
        .expect("the loss depends on every layer")
}
