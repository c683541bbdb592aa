//! AdamW (Loshchilov & Hutter, 2019) and the global gradient norm, on all parameters at once.
//!
//! Tensors are flat and do not record gradients.

use burn::tensor::Tensor;

/// A parameter, its gradient, and the running means that AdamW keeps of the gradient and of its square.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The parameter.
    pub parameter: Tensor<1>,
    /// Its gradient.
    pub gradient: Tensor<1>,
    /// Mean of the gradient.
    pub first: Tensor<1>,
    /// Mean of the gradient's square.
    pub second: Tensor<1>,
}

/// How far a step goes. Betas and epsilon are PyTorch's.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Steps done, this one included.
    pub step: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The L2 norm of all gradients together, one element, so that nothing waits for the device.
pub fn global_norm(gradients: &[Tensor<1>]) -> Tensor<1> {
    #[cfg(feature = "tch")]
    if let Some(norm) = libtorch::global_norm(gradients) {
        return norm;
    }
    let squares = gradients
        .iter()
        .map(|gradient| gradient.clone().square().sum());
    Tensor::cat(squares.collect(), 0).sum().sqrt()
}

/// One step on all slots, their gradients divided by `divisor`, one element, first.
///
/// On libtorch the parameters and moments are written in place: every clone of them changes too.
pub fn step(slots: Vec<Slot>, settings: AdamW, divisor: &Tensor<1>) -> Vec<Slot> {
    #[cfg(feature = "tch")]
    if libtorch::step(&slots, settings, divisor) {
        return slots;
    }
    let AdamW {
        step,
        learning_rate,
        weight_decay,
    } = settings;
    let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(step).unwrap_or(i32::MAX));
    let update = |slot: Slot| {
        let gradient = slot.gradient.clone() / divisor.clone();
        let first = slot.first * BETA_1 + gradient.clone() * (1.0 - BETA_1);
        let second = slot.second * BETA_2 + gradient.square() * (1.0 - BETA_2);
        let scale = (second.clone() / correction(BETA_2)).sqrt() + EPSILON;
        let direction = first.clone() / correction(BETA_1) / scale;
        let decayed = slot.parameter * (1.0 - learning_rate * weight_decay);
        Slot {
            parameter: decayed - direction * learning_rate,
            gradient: slot.gradient,
            first,
            second,
        }
    };
    slots.into_iter().map(update).collect()
}

#[cfg(feature = "tch")]
mod libtorch {
    #![expect(
        deprecated,
        reason = "burn-tch is deprecated upstream but is today's fastest backend on CPU and CUDA"
    )]

    use burn::backend::LibTorch;
    use burn::tensor::Tensor;
    use burn_tch::TchTensor;

    use super::{AdamW, BETA_1, BETA_2, EPSILON, Slot};
    use crate::kernels::sys;

    /// libtorch's handle of a tensor, which shares its storage; `None` for a tensor of another backend.
    fn raw(tensor: &Tensor<1>) -> Option<tch::Tensor> {
        let tensor = tensor.clone().try_into_primitive::<LibTorch>().ok()?;
        Some(tensor.tensor)
    }

    fn all<'a>(tensors: impl Iterator<Item = &'a Tensor<1>>) -> Option<Vec<tch::Tensor>> {
        tensors.map(raw).collect()
    }

    pub fn global_norm(gradients: &[Tensor<1>]) -> Option<Tensor<1>> {
        let norm = sys::norm_of_all(&all(gradients.iter())?).reshape([1]);
        Some(Tensor::from_primitive::<LibTorch>(TchTensor::new(norm)))
    }

    /// Whether the slots are libtorch's and the step is done.
    pub fn step(slots: &[Slot], settings: AdamW, divisor: &Tensor<1>) -> bool {
        let lists = (|| {
            Some((
                all(slots.iter().map(|slot| &slot.parameter))?,
                all(slots.iter().map(|slot| &slot.gradient))?,
                all(slots.iter().map(|slot| &slot.first))?,
                all(slots.iter().map(|slot| &slot.second))?,
                raw(divisor)?,
            ))
        })();
        let Some((parameters, gradients, first, second, divisor)) = lists else {
            return false;
        };
        let settings = sys::AdamW {
            step: settings.step,
            learning_rate: settings.learning_rate,
            betas: (BETA_1, BETA_2),
            weight_decay: settings.weight_decay,
            epsilon: EPSILON,
        };
        sys::adamw(
            &parameters,
            &gradients,
            [&first, &second],
            settings,
            &divisor,
        );
        true
    }
}
