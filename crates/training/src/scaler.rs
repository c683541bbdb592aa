//! Dynamic loss scaling, which keeps small gradients representable in 16-bit floats.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use spanwise_ops::Precision;

use crate::optimizer::scalar;

/// The factor on the loss before the backward pass. It doubles after many steps without overflow
/// and halves with each one that overflows, which is then not taken. It lives on the device, so that
/// no step waits to know how the one before went.
///
/// Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740. Reference, and source of the
/// constants: `torch.amp.GradScaler`.
#[derive(Debug, Clone)]
pub struct LossScaler {
    /// One element.
    scale: Tensor<1>,
    /// Steps without overflow since the factor changed, one element.
    steps_since_change: Tensor<1>,
}

/// A loss scale as it is saved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SavedScaler {
    scale: f64,
    steps_since_change: f64,
}

impl LossScaler {
    const FIRST_SCALE: f64 = 65536.0;
    const GROWTH_INTERVAL: f64 = 2000.0;
    /// Gradients that overflow unscaled are not a matter of the number format.
    pub const LEAST_SCALE: f64 = 1.0;

    /// The scale of a run's first step; `None` except in fp16: other formats have f32's range.
    /// `device` records no gradients.
    pub fn new(precision: Precision, device: &Device) -> Option<Self> {
        let first = SavedScaler {
            scale: Self::FIRST_SCALE,
            steps_since_change: 0.0,
        };
        (precision == Precision::Fp16).then(|| Self::restored(first, device))
    }

    /// Returns the scale that was saved.
    pub fn restored(saved: SavedScaler, device: &Device) -> Self {
        let element = |value: f64| Tensor::from_data([value as f32], device);
        Self {
            scale: element(saved.scale),
            steps_since_change: element(saved.steps_since_change),
        }
    }

    /// Returns what is to be saved. This waits for the device.
    pub fn saved(&self) -> Result<SavedScaler> {
        Ok(SavedScaler {
            scale: scalar(self.scale.clone())?,
            steps_since_change: scalar(self.steps_since_change.clone())?,
        })
    }

    /// Returns the factor of the next step, one element.
    pub fn scale(&self) -> &Tensor<1> {
        &self.scale
    }

    /// Adapts to how a step went. `overflowed`: 1 or 0, one element.
    pub fn update(&mut self, overflowed: Tensor<1>) {
        let went_well = overflowed.clone().neg() + 1.0;
        let steps = (self.steps_since_change.clone() + 1.0) * went_well;
        let grows = steps
            .clone()
            .greater_equal_elem(Self::GROWTH_INTERVAL)
            .float();
        let factor = (overflowed.div_scalar(2.0).neg() + 1.0) * (grows.clone() + 1.0);
        self.scale = (self.scale.clone() * factor).clamp_min(Self::LEAST_SCALE);
        self.steps_since_change = steps * (grows.neg() + 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaler(precision: Precision) -> Option<LossScaler> {
        LossScaler::new(precision, &Device::flex())
    }

    fn update(scaler: &mut LossScaler, overflowed: bool) -> f64 {
        let overflowed = f32::from(u8::from(overflowed));
        scaler.update(Tensor::from_data([overflowed], &Device::flex()));
        scaler.saved().unwrap().scale
    }

    #[test]
    fn the_scale_halves_at_once_and_doubles_after_many_good_steps() {
        let mut scaler = scaler(Precision::Fp16).unwrap();
        assert_eq!(scaler.saved().unwrap().scale, 65536.0);
        assert_eq!(update(&mut scaler, true), 32768.0);
        assert_eq!(update(&mut scaler, true), 16384.0);
        for _ in 0..1999 {
            assert_eq!(update(&mut scaler, false), 16384.0);
        }
        assert_eq!(update(&mut scaler, false), 32768.0);
        // An overflow starts the count anew.
        for _ in 0..1999 {
            assert_eq!(update(&mut scaler, false), 32768.0);
        }
        assert_eq!(update(&mut scaler, true), 16384.0);
        assert_eq!(update(&mut scaler, false), 16384.0);
    }

    #[test]
    fn the_scale_does_not_fall_below_one() {
        let mut scaler = scaler(Precision::Fp16).unwrap();
        for _ in 0..16 {
            update(&mut scaler, true);
        }
        assert_eq!(scaler.saved().unwrap().scale, LossScaler::LEAST_SCALE);
        assert_eq!(update(&mut scaler, true), LossScaler::LEAST_SCALE);
    }

    #[test]
    fn formats_with_the_range_of_f32_are_not_scaled() {
        assert!(scaler(Precision::Fp32).is_none() && scaler(Precision::Bf16).is_none());
    }

    #[test]
    fn the_state_survives_being_saved() {
        let mut scaler = scaler(Precision::Fp16).unwrap();
        update(&mut scaler, true);
        update(&mut scaler, false);
        let saved = serde_json::to_string(&scaler.saved().unwrap()).unwrap();
        let restored = serde_json::from_str(&saved).unwrap();
        let restored = LossScaler::restored(restored, &Device::flex());
        assert_eq!(restored.saved().unwrap(), scaler.saved().unwrap());
    }
}
