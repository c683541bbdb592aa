//! The devices that models compute on: opening them by name, and what they can do.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use spanwise_artifact::{UserError, settings};

use crate::libtorch;

/// Whether this program was built with libtorch.
pub const HAS_LIBTORCH: bool = cfg!(feature = "tch");

/// A device in use.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// For tensors.
    pub device: Device,
    /// What it is, for messages and records: `flex`, `libtorch cpu`, `libtorch cuda:0`.
    pub name: String,
}

/// Opens a device.
///
/// # Errors
/// If this build or this machine lacks the device; the hint names another.
pub fn open(device: settings::Device) -> Result<OpenDevice, UserError> {
    match device {
        settings::Device::Auto => Ok(libtorch::best().unwrap_or_else(flex)),
        settings::Device::Flex => Ok(flex()),
        settings::Device::Cpu => libtorch::cpu(),
        settings::Device::Cuda(index) => libtorch::cuda(index),
        settings::Device::Mps => libtorch::mps(),
    }
}

/// Whether kernels take the place of compositions here, with and without gradients.
pub fn has_kernels(device: &Device) -> bool {
    libtorch::is_cpu(device)
}

/// Whether the device is an NVIDIA GPU. Attention has a kernel there.
pub fn is_cuda(device: &Device) -> bool {
    libtorch::is_cuda(device)
}

/// Whether the device is the processor that the program itself runs on.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex() || libtorch::is_cpu(device)
}

/// Whether the device multiplies bfloat16 in hardware, and so faster than f32; assumed of a GPU.
pub fn has_bf16(device: &Device) -> bool {
    !is_cpu(device) || processor_has_bf16()
}

/// What this machine computes with: pairs of a label and a finding, for people to read.
pub fn facts() -> Vec<(&'static str, String)> {
    let bf16 = if processor_has_bf16() {
        "in hardware"
    } else {
        "not in this processor; fp32 is computed in its place"
    };
    let mut facts = vec![("bf16 on CPU", bf16.to_owned())];
    facts.extend(libtorch::facts());
    let auto = open(settings::Device::Auto);
    facts.push((
        "device = \"auto\"",
        auto.map_or_else(|error| error.message, |open| open.name),
    ));
    facts
}

/// Waits for the random generator that all threads of a process share, and holds it. Tests run in
/// several threads; one that samples holds the generator, so that no other test's samples fall in
/// between.
pub fn hold_generator() -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    // A test that failed leaves the generator as usable as it was.
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn processor_has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("bf16");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn flex() -> OpenDevice {
    OpenDevice {
        device: Device::flex(),
        name: "flex".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_this_build_has() {
        let name = |device| open(device).map(|open| open.name);
        assert_eq!(name(settings::Device::Flex), Ok("flex".to_owned()));
        assert_eq!(
            name(settings::Device::Auto) == Ok("flex".to_owned()),
            !HAS_LIBTORCH
        );
        assert_eq!(name(settings::Device::Cpu).is_ok(), HAS_LIBTORCH);
    }

    /// No machine has this many GPUs.
    #[test]
    fn refuses_a_missing_gpu_with_a_remedy() {
        let error = open(settings::Device::Cuda(1000)).unwrap_err();
        assert!(error.hint.is_some(), "{error}");
    }

    #[test]
    fn flex_is_a_processor_without_kernels() {
        let flex = Device::flex();
        assert!(is_cpu(&flex) && !is_cuda(&flex) && !has_kernels(&flex));
    }
}
