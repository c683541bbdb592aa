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

/// What is on the device of a step of AdamW, the same for all parameters; one element each.
#[derive(Debug, Clone)]
pub struct StepTensors {
    /// Which step this is, counted from 1.
    pub number: Tensor<1>,
    /// What gradients are divided by first.
    pub divisor: Tensor<1>,
    /// 1 to leave everything as it is, since gradients have overflowed, else 0.
    pub skipped: Tensor<1>,
}

/// How far a step of AdamW goes. Betas and epsilon are PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
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

/// One step on all slots.
///
/// On libtorch the parameters and moments are written in place: every clone of them changes too.
/// Nothing waits for the device there.
pub fn step(slots: Vec<Slot>, step: AdamWStep, tensors: &StepTensors) -> Vec<Slot> {
    if libtorch::optimizer::step(&slots, step, tensors) {
        return slots;
    }
    let value = |tensor: &Tensor<1>| tensor.clone().into_scalar::<f32>();
    if value(&tensors.skipped) != 0.0 {
        return slots;
    }
    let AdamWStep {
        learning_rate,
        weight_decay,
    } = step;
    let number = value(&tensors.number) as i32;
    let correction = |beta: f64| 1.0 - beta.powi(number);
    let divisor = &tensors.divisor;
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
