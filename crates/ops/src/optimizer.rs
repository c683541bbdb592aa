//! AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101) and the global gradient norm, on all
//! parameters at once.
//!
//! Tensors are flat and do not record gradients.

use burn::tensor::Tensor;

use crate::libtorch;

/// A parameter, its gradient, and the running means that AdamW keeps of the gradient and of its
/// square, all of one length.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The parameter.
    pub parameter: Tensor<1>,
    /// Its gradient.
    pub gradient: Tensor<1>,
    /// Running mean of the gradient.
    pub first_moment: Tensor<1>,
    /// Running mean of the gradient's square.
    pub second_moment: Tensor<1>,
}

/// What differs from one step of AdamW to the next. Betas and epsilon are PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
    /// Which step this is, counted from 1.
    pub number: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Weight decay, decoupled from the gradient: a parameter shrinks by `learning_rate` times
    /// this.
    pub weight_decay: f64,
}

/// Decay of the first moment.
pub(crate) const BETA_1: f64 = 0.9;
/// Decay of the second moment.
pub(crate) const BETA_2: f64 = 0.999;
/// Added to the denominator.
pub(crate) const EPSILON: f64 = 1e-8;

/// The L2 norm of all gradients together, one element: a tensor, so that nothing waits for the
/// device.
pub fn global_norm(gradients: &[Tensor<1>]) -> Tensor<1> {
    if let Some(norm) = libtorch::optimizer::global_norm(gradients) {
        return norm;
    }
    let squares = gradients
        .iter()
        .map(|gradient| gradient.clone().square().sum());
    Tensor::cat(squares.collect(), 0).sum().sqrt()
}

/// One step on all slots. Gradients are divided by `divisor`, one element, first.
///
/// On libtorch the parameters and moments are written in place: every clone of them changes too.
pub fn step(slots: Vec<Slot>, step: AdamWStep, divisor: &Tensor<1>) -> Vec<Slot> {
    if libtorch::optimizer::step(&slots, step, divisor) {
        return slots;
    }
    let AdamWStep {
        number,
        learning_rate,
        weight_decay,
    } = step;
    let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(number).unwrap_or(i32::MAX));
    let update = |slot: Slot| {
        let gradient = slot.gradient.clone() / divisor.clone();
        let first = slot.first_moment * BETA_1 + gradient.clone() * (1.0 - BETA_1);
        let second = slot.second_moment * BETA_2 + gradient.square() * (1.0 - BETA_2);
        let scale = (second.clone() / correction(BETA_2)).sqrt() + EPSILON;
        let direction = first.clone() / correction(BETA_1) / scale;
        let decayed = slot.parameter * (1.0 - learning_rate * weight_decay);
        Slot {
            parameter: decayed - direction * learning_rate,
            gradient: slot.gradient,
            first_moment: first,
            second_moment: second,
        }
    };
    slots.into_iter().map(update).collect()
}
