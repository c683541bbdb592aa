//! AdamW and the gradient norm on all parameters in one call, for any of libtorch's devices.

use burn::backend::LibTorch;
use burn::tensor::Tensor;
use burn_tch::TchTensor;

use super::sys;
use crate::optimizer::{AdamWStep, Slot, StepTensors};

/// See [`crate::optimizer::global_norm`]; `None` if a tensor is another backend's.
pub(crate) fn global_norm(gradients: &[Tensor<1>]) -> Option<Tensor<1>> {
    let norm = sys::global_norm(&handles(gradients.iter())?).reshape([1]);
    Some(Tensor::from_primitive::<LibTorch>(TchTensor::new(norm)))
}

/// See [`crate::optimizer::step`], in place; `false` if a tensor is another backend's, or on a GPU of
/// Apple's, and nothing was done.
pub(crate) fn step(slots: &[Slot], step: AdamWStep, tensors: &StepTensors) -> bool {
    let lists = || {
        Some((
            handles(slots.iter().map(|slot| &slot.parameter))?,
            handles(slots.iter().map(|slot| &slot.gradient))?,
            handles(slots.iter().map(|slot| &slot.first_moment))?,
            handles(slots.iter().map(|slot| &slot.second_moment))?,
            [
                handle(&tensors.number)?,
                handle(&tensors.divisor)?,
                handle(&tensors.skipped)?,
            ],
        ))
    };
    let Some((parameters, gradients, first, second, tensors)) = lists() else {
        return false;
    };
    // That of Apple's GPUs neither divides gradients nor skips a step.
    let is_whole = |parameter: &tch::Tensor| {
        let device = parameter.device();
        device == tch::Device::Cpu || device.is_cuda()
    };
    if !parameters.iter().all(is_whole) {
        return false;
    }
    sys::adamw(&parameters, &gradients, [&first, &second], step, &tensors);
    true
}

/// libtorch's handle of a tensor, which shares its storage; `None` for another backend's tensor.
fn handle(tensor: &Tensor<1>) -> Option<tch::Tensor> {
    let tensor = tensor.clone().try_into_primitive::<LibTorch>().ok()?;
    Some(tensor.tensor)
}

fn handles<'a>(tensors: impl Iterator<Item = &'a Tensor<1>>) -> Option<Vec<tch::Tensor>> {
    tensors.map(handle).collect()
}
