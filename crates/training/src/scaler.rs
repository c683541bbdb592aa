//! Dynamic loss scaling, which keeps small gradients representable in 16-bit floats.

use serde::{Deserialize, Serialize};
use spanwise_ops::Precision;

/// The factor on the loss before the backward pass. It doubles after many steps without overflow
/// and halves with each one that overflows, which is then not taken.
///
/// Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740. Reference, and source of the
/// constants: `torch.amp.GradScaler`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossScaler {
    scale: f64,
    steps_since_change: usize,
    dynamic: bool,
}

impl LossScaler {
    const FIRST_SCALE: f64 = 65536.0;
    const GROWTH_INTERVAL: usize = 2000;
    /// Gradients that overflow unscaled are not a matter of the number format.
    const LEAST_SCALE: f64 = 1.0;

    /// The scale of a run's first step; 1 for good except in fp16: other formats have f32's range.
    pub fn new(precision: Precision) -> Self {
        let dynamic = precision == Precision::Fp16;
        Self {
            scale: if dynamic { Self::FIRST_SCALE } else { 1.0 },
            steps_since_change: 0,
            dynamic,
        }
    }

    /// Returns the factor of the next step.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns whether the factor ever changes.
    pub fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// Adapts to how a step went; returns false where no smaller scale could avoid an overflow.
    #[must_use]
    pub fn update(&mut self, overflowed: bool) -> bool {
        if !self.dynamic {
            return !overflowed;
        }
        self.steps_since_change += 1;
        if overflowed {
            if self.scale <= Self::LEAST_SCALE {
                return false;
            }
            self.scale /= 2.0;
            self.steps_since_change = 0;
        } else if self.steps_since_change == Self::GROWTH_INTERVAL {
            self.scale *= 2.0;
            self.steps_since_change = 0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_halves_at_once_and_doubles_after_many_good_steps() {
        let mut scaler = LossScaler::new(Precision::Fp16);
        assert!(scaler.update(true) && scaler.update(true));
        assert_eq!(scaler.scale(), 16384.0);
        for _ in 0..LossScaler::GROWTH_INTERVAL - 1 {
            assert!(scaler.update(false));
        }
        assert_eq!(scaler.scale(), 16384.0);
        assert!(scaler.update(false));
        assert_eq!(scaler.scale(), 32768.0);
        // An overflow starts the count anew.
        for _ in 0..LossScaler::GROWTH_INTERVAL - 1 {
            assert!(scaler.update(false));
        }
        assert!(scaler.update(true));
        assert!(scaler.update(false));
        assert_eq!(scaler.scale(), 16384.0);
    }

    #[test]
    fn overflow_without_scaling_is_final() {
        let mut scaler = LossScaler::new(Precision::Fp16);
        for _ in 0..16 {
            assert!(scaler.update(true));
        }
        assert_eq!(scaler.scale(), 1.0);
        assert!(!scaler.update(true));
    }

    #[test]
    fn formats_with_the_range_of_f32_are_not_scaled() {
        for precision in [Precision::Fp32, Precision::Bf16] {
            let mut scaler = LossScaler::new(precision);
            assert!((0..3000).all(|_| scaler.update(false)));
            assert_eq!(scaler.scale(), 1.0);
            assert!(!scaler.update(true));
        }
    }

    #[test]
    fn the_state_survives_being_saved() {
        let mut scaler = LossScaler::new(Precision::Fp16);
        assert!(scaler.update(true) && scaler.update(false));
        let saved = serde_json::to_string(&scaler).unwrap();
        assert_eq!(serde_json::from_str::<LossScaler>(&saved).unwrap(), scaler);
    }
}
