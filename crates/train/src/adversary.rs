//! The fast gradient method: a step on the word embeddings that raises the loss (Miyato et al., 2017).

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use spanwise_model::encoder::SpanModel;

/// The model with its word embeddings moved along their gradient by a distance of `length`; `None` where they have
/// no direction to go. Parameters keep their identity, so that both models' gradients add up.
pub fn attack(model: &SpanModel, gradients: &GradientsParams, length: f64) -> Option<SpanModel> {
    let words = &model.encoder.embeddings.word.weight;
    let gradient = gradients.get::<2>(words.id)?;
    // Scaled by the largest first: squares of a scaled loss's gradients may not fit.
    let largest = gradient.clone().abs().max().clamp_min(f32::MIN_POSITIVE);
    let direction = gradient / largest.unsqueeze();
    let norm = direction.clone().square().sum().sqrt().clamp_min(1e-12);
    let step = direction.mul_scalar(length) / norm.unsqueeze();
    let mut attacked = model.clone();
    attacked.encoder.embeddings.word = attacked.encoder.embeddings.word.map(&mut Move(step));
    Some(attacked)
}

struct Move(Tensor<2>);

impl ModuleMapper for Move {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let step = self.0.clone();
        param.map(|words| {
            let step = step.reshape(words.dims());
            Tensor::from_inner(words.inner() + step).require_grad()
        })
    }
}
