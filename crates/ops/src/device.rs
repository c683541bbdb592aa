//! The devices that models compute on: opening them by name, and what they can do.

use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use spanwise_artifact::{UserError, settings};

use crate::{Precision, libtorch};

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

/// How a device computes the operations of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Implementation {
    /// As compositions of Burn's operations: flex, Apple's GPUs.
    Compositions,
    /// With kernels of this project: libtorch's CPU.
    Kernels,
    /// With libtorch's own fused operators: GPUs of NVIDIA's.
    Operators,
}

/// How a device computes operations, with and without gradients.
///
/// Two variables of the environment change it, for tests and measurements: with `SPANWISE_NATIVE`
/// libtorch's CPU computes as a GPU does, with `SPANWISE_COMPOSED` every device composes.
pub fn implementation(device: &Device) -> Implementation {
    static COMPOSED: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("SPANWISE_COMPOSED").is_some());
    if *COMPOSED {
        Implementation::Compositions
    } else {
        libtorch::implementation(device)
    }
}

/// Whether the device is the processor that the program itself runs on.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex() || libtorch::is_cpu(device)
}

/// Whether the device multiplies bfloat16 in hardware, and so faster than f32; assumed of a GPU that
/// does not say what it can.
pub fn has_bf16(device: &Device) -> bool {
    if is_cpu(device) {
        return processor_has_bf16();
    }
    libtorch::compute_capability(device).is_none_or(|capability| capability >= BF16_CAPABILITY)
}

/// Compute capability of the first NVIDIA GPUs that multiply bfloat16 in hardware: Ampere.
const BF16_CAPABILITY: (u32, u32) = (8, 0);

/// Compute capability of the first NVIDIA GPUs with fast products in 16-bit floats: Volta.
const FP16_CAPABILITY: (u32, u32) = (7, 0);

/// The fastest number format that the device has in hardware.
pub fn fastest_precision(device: &Device) -> Precision {
    if implementation(device) == Implementation::Compositions {
        return Precision::Fp32;
    }
    if has_bf16(device) {
        return Precision::Bf16;
    }
    match libtorch::compute_capability(device) {
        Some(capability) if capability >= FP16_CAPABILITY => Precision::Fp16,
        _ => Precision::Fp32,
    }
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

/// The largest number of bytes that were in tensors of a GPU at once since the last call; 0 for any
/// other device.
pub fn peak_memory(device: &Device) -> u64 {
    libtorch::peak_memory(device)
}

/// Lets GPUs round what they multiply in f32 to 10 bits after the point, the format TF32.
pub fn allow_tf32() {
    libtorch::allow_tf32();
}

/// Runs `body`, and writes which of libtorch's operators and which kernels of a GPU ran meanwhile to
/// a file, as a Chrome trace.
pub fn trace<T>(device: &Device, path: &Path, body: impl FnOnce() -> T) -> Result<T, UserError> {
    libtorch::trace(device, path, body)
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
    fn flex_is_a_processor_that_composes() {
        let flex = Device::flex();
        assert!(is_cpu(&flex));
        assert_eq!(implementation(&flex), Implementation::Compositions);
    }
}
