//! The number formats that a pipeline file may name.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number format of matrix products. Weights, layer norms, softmax, loss and optimizer stay in
/// 32-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The fastest that the device has in hardware: `bf16`, else on an NVIDIA GPU `fp16`, else `fp32`.
    Auto,
    /// 32-bit floats throughout.
    Fp32,
    /// bfloat16 matrix products.
    Bf16,
    /// Matrix products in 16-bit floats. Small gradients vanish in it, so training scales the loss
    /// up. Fast on GPUs; far slower than `fp32` on CPUs.
    Fp16,
}

/// A name that no number format has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision {found:?}: must be auto, fp32, bf16 or fp16")]
pub struct UnknownPrecision {
    /// The name.
    pub found: String,
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        match name {
            "auto" => Ok(Self::Auto),
            "fp32" => Ok(Self::Fp32),
            "bf16" => Ok(Self::Bf16),
            "fp16" => Ok(Self::Fp16),
            _ => Err(UnknownPrecision {
                found: name.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses_and_what_files_hold() {
        for precision in [
            Precision::Auto,
            Precision::Fp32,
            Precision::Bf16,
            Precision::Fp16,
        ] {
            let name = precision.to_string();
            assert_eq!(name.parse(), Ok(precision));
            let json = serde_json::to_string(&precision).unwrap();
            assert_eq!(json, format!("{name:?}"));
        }
    }

    #[test]
    fn refuses_other_names() {
        for name in ["", "f32", "FP32", "bfloat16"] {
            assert_eq!(
                name.parse::<Precision>().unwrap_err().to_string(),
                format!("unknown precision {name:?}: must be auto, fp32, bf16 or fp16")
            );
        }
    }
}
