//! `train.fgm`: the fast gradient method, a step on the word embeddings that raises the loss, which
//! is then learned from too (Miyato et al., 2017, arXiv:1605.07725).

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use spanwise_model::SpanModel;
use spanwise_model::parameters;
use spanwise_training::BackwardPass;

/// Adds the gradients of `pass` with the model and with the attacked model; returns the loss of the
/// former.
pub fn backward(
    pass: &BackwardPass<SpanModel>,
    model: &SpanModel,
    length: f64,
    gradients: &mut GradientsAccumulator<SpanModel>,
) -> Tensor<1> {
    let mut clean = GradientsAccumulator::new();
    let loss = pass(model, &mut clean);
    let clean = clean.grads();
    if let Some(attacked) = attack(model, &clean, length) {
        pass(&attacked, gradients);
    }
    gradients.accumulate(model, clean);
    loss
}

/// Returns the model with its word embeddings moved along their gradient by a distance of `length`;
/// `None` where there is no gradient. Parameters keep their identity, so that both models'
/// gradients add up.
fn attack(model: &SpanModel, gradients: &GradientsParams, length: f64) -> Option<SpanModel> {
    let words = &model.encoder.embeddings.word;
    let gradient = gradients.get::<2>(words.weight.id)?;
    // Scaled by the largest first: squares of a scaled loss's gradients may not fit.
    let largest = gradient.clone().abs().max().clamp_min(f32::MIN_POSITIVE);
    let direction = gradient / largest.unsqueeze();
    let norm = direction.clone().square().sum().sqrt().clamp_min(1e-12);
    let step = direction.mul_scalar(length) / norm.unsqueeze();
    let mut attacked = model.clone();
    let step = step.flatten::<1>(0, 1);
    attacked.encoder.embeddings.word =
        parameters::map(words.clone(), |_, words| words + step.clone());
    Some(attacked)
}
