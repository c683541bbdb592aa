//! A step that the device may still be computing.

use std::time::Instant;

use anyhow::{Result, anyhow};
use burn::tensor::Tensor;

use crate::log::Step;

/// A step whose numbers are still on the device. Reading them waits for it, so that is done when
/// the next step is on its way.
pub(crate) struct PendingStep {
    /// What is known without the device.
    pub(crate) known: KnownStep,
    /// The loss, times the loss scale, one element.
    pub(crate) loss: Tensor<1>,
    /// The global norm of the gradients, one element.
    pub(crate) gradient_norm: Tensor<1>,
    /// The loss scale, one element; `None` where the loss is not scaled.
    pub(crate) loss_scale: Option<Tensor<1>>,
}

/// What is known of a step as soon as it is on its way.
pub(crate) struct KnownStep {
    /// As [`Step::step`].
    pub(crate) step: usize,
    /// As [`Step::epoch`].
    pub(crate) epoch: usize,
    /// As [`Step::learning_rate`].
    pub(crate) learning_rate: f64,
    /// Real tokens that are trained on.
    pub(crate) tokens: usize,
    /// Seconds until the step was on its way: on a CPU, until it was done.
    pub(crate) seconds: f64,
}

impl PendingStep {
    /// Waits for the device, from `start` on.
    pub(crate) fn read(self, start: Instant) -> Result<Step> {
        let numbers = [Some(self.loss), Some(self.gradient_norm), self.loss_scale];
        // One copy from the device.
        let numbers = Tensor::cat(numbers.into_iter().flatten().collect(), 0);
        let numbers = numbers.into_data().try_into_vec::<f32>();
        let numbers = numbers.map_err(|error| anyhow!("{error:?}"))?;
        let loss_scale = numbers.get(2).copied().map(f64::from);
        let KnownStep {
            step,
            epoch,
            learning_rate,
            tokens,
            seconds,
        } = self.known;
        // The next step was put on its way while this one was computed.
        let seconds = seconds + start.elapsed().as_secs_f64();
        Ok(Step {
            step,
            epoch,
            loss: f64::from(numbers[0]) / loss_scale.unwrap_or(1.0),
            learning_rate,
            gradient_norm: f64::from(numbers[1]),
            loss_scale,
            tokens_per_second: tokens as f64 / seconds,
        })
    }
}
