//! The devices that a pipeline file may name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where models compute: a string in a pipeline file and in a job, this type in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// A CUDA GPU where there is one, else libtorch on the CPU where it is set up, else `Flex`.
    #[default]
    Auto,
    /// Burn's own CPU backend, which needs nothing installed.
    Flex,
    /// libtorch on the CPU.
    Cpu,
    /// libtorch on an NVIDIA GPU, counted from 0.
    Cuda(usize),
    /// libtorch on an Apple GPU.
    Mps,
}

impl Device {
    /// What a user may type, for messages and help.
    pub const EXPECTED: &str = "auto, cpu, cuda, cuda:N, mps or flex";

    /// Whether it computes with libtorch whatever the machine has, so that libtorch must be set up.
    pub fn needs_libtorch(self) -> bool {
        match self {
            Self::Auto | Self::Flex => false,
            Self::Cpu | Self::Cuda(_) | Self::Mps => true,
        }
    }
}

/// A name that no device has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {found:?}: must be {}", Device::EXPECTED)]
pub struct UnknownDevice {
    /// The name.
    pub found: String,
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice {
            found: name.to_owned(),
        };
        match name {
            "auto" => Ok(Self::Auto),
            "flex" => Ok(Self::Flex),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "mps" => Ok(Self::Mps),
            _ => {
                let index = name.strip_prefix("cuda:").ok_or_else(unknown)?;
                // `parse` alone would take a sign as well.
                if !index.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(unknown());
                }
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.pad("auto"),
            Self::Flex => formatter.pad("flex"),
            Self::Cpu => formatter.pad("cpu"),
            Self::Cuda(index) => write!(formatter, "cuda:{index}"),
            Self::Mps => formatter.pad("mps"),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownDevice;

    fn try_from(name: String) -> Result<Self, UnknownDevice> {
        name.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `name`; what is found prints as `expected` and needs libtorch or not.
    fn check(name: &str, device: Device, expected: &str, needs_libtorch: bool) {
        assert_eq!(name.parse(), Ok(device), "{name}");
        assert_eq!(device.to_string(), expected);
        assert_eq!(expected.parse(), Ok(device), "prints what it parses");
        assert_eq!(device.needs_libtorch(), needs_libtorch, "{name}");
        let json = serde_json::to_string(&device).unwrap();
        assert_eq!(json, format!("{expected:?}"));
        assert_eq!(serde_json::from_str::<Device>(&json).unwrap(), device);
    }

    #[test]
    fn parses_and_prints_every_device() {
        check("auto", Device::Auto, "auto", false);
        check("flex", Device::Flex, "flex", false);
        check("cpu", Device::Cpu, "cpu", true);
        check("mps", Device::Mps, "mps", true);
        check("cuda", Device::Cuda(0), "cuda:0", true);
        check("cuda:0", Device::Cuda(0), "cuda:0", true);
        check("cuda:12", Device::Cuda(12), "cuda:12", true);
    }

    #[test]
    fn refuses_other_names() {
        for name in [
            "",
            "gpu",
            "CPU",
            "cpu ",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:+1",
            "cuda0",
            "mps:0",
            "cuda:99999999999999999999999",
        ] {
            let error = name.parse::<Device>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("unknown device {name:?}: must be auto, cpu, cuda, cuda:N, mps or flex")
            );
            let json = serde_json::to_string(name).unwrap();
            let error = serde_json::from_str::<Device>(&json).unwrap_err();
            assert!(error.to_string().contains("must be auto"), "{error}");
        }
    }
}
