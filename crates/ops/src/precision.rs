//! The number formats that products are computed in.

use std::fmt;

use spanwise_artifact::settings;

/// Number format of matrix products. Weights, layer norms, softmax, loss and optimizer stay in
/// 32-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats throughout.
    Fp32,
    /// bfloat16: the range of `Fp32` with 8 bits of precision.
    Bf16,
    /// 16-bit floats, in which small gradients vanish unless the loss is scaled up.
    Fp16,
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = match self {
            Self::Fp32 => settings::Precision::Fp32,
            Self::Bf16 => settings::Precision::Bf16,
            Self::Fp16 => settings::Precision::Fp16,
        };
        named.fmt(formatter)
    }
}
