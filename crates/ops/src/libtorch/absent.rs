//! Stands in for libtorch in a build without it: no devices, no kernels.

use std::path::Path;

use burn::tensor::Device;
use spanwise_artifact::{UserError, settings};

use crate::device::{Implementation, OpenDevice};

/// Takes the place of a kernel; never reached, since no device here has any.
macro_rules! kernel {
    ($name:ident($($tensor:expr),+; $($other:expr),*)) => {
        unreachable!(concat!(stringify!($name), " is built with libtorch only"))
    };
}
pub(crate) use kernel;

/// The fastest of libtorch's devices; there is none.
pub(crate) fn best() -> Option<OpenDevice> {
    None
}

/// The CPU: refused.
pub(crate) fn cpu() -> Result<OpenDevice, UserError> {
    Err(missing(settings::Device::Cpu))
}

/// A GPU of NVIDIA's: refused.
pub(crate) fn cuda(index: usize) -> Result<OpenDevice, UserError> {
    Err(missing(settings::Device::Cuda(index)))
}

/// A GPU of Apple's: refused.
pub(crate) fn mps() -> Result<OpenDevice, UserError> {
    Err(missing(settings::Device::Mps))
}

fn missing(device: settings::Device) -> UserError {
    UserError::new(format!(
        "the device {device} needs libtorch, and this program was built without it"
    ))
    .hint("run `cargo xtask setup`, or use device = \"flex\"")
}

/// Reports that libtorch is missing.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    vec![("libtorch", "not in this build".to_owned())]
}

/// Whether the device is libtorch's CPU; none is.
pub(crate) fn is_cpu(_: &Device) -> bool {
    false
}

/// See [`crate::device::implementation`].
pub(crate) fn implementation(_: &Device) -> Implementation {
    Implementation::Compositions
}

/// The compute capability of a GPU of NVIDIA's; there is none.
pub(crate) fn compute_capability(_: &Device) -> Option<(u32, u32)> {
    None
}

/// See [`crate::device::peak_memory`].
pub(crate) fn peak_memory(_: &Device) -> u64 {
    0
}

/// See [`crate::device::allow_tf32`].
pub(crate) fn allow_tf32() {}

/// See [`crate::device::trace`]: refused.
pub(crate) fn trace<T>(_: &Device, _: &Path, _: impl FnOnce() -> T) -> Result<T, UserError> {
    Err(UserError::new(
        "a trace needs libtorch, and this program was built without it",
    ))
}

/// The optimizer's operations in libtorch, which computes none of them here.
pub(crate) mod optimizer {
    use burn::tensor::Tensor;

    use crate::optimizer::{AdamWStep, Slot, StepTensors};

    /// `None`: composed instead.
    pub(crate) fn global_norm(_: &[Tensor<1>]) -> Option<Tensor<1>> {
        None
    }

    /// `false`: composed instead.
    pub(crate) fn step(_: &[Slot], _: AdamWStep, _: &StepTensors) -> bool {
        false
    }
}
