//! libtorch: its devices, and the kernels and the optimizer step that run on them. Nothing outside
//! this folder depends on it.
//!
//! - `kernels`: the operations of the model, through Burn's backend extension
//! - `cuda`: attention on GPUs
//! - `optimizer`: the gradient norm and AdamW
//! - `sys`: calls into C++, whose sources are in `cpp/`
//! - `allocator`: the C library's allocator, tuned for tensors

#![expect(
    deprecated,
    reason = "burn-tch is deprecated upstream but is today's fastest backend on CPU and CUDA"
)]

mod allocator;
mod cuda;
pub(crate) mod kernels;
pub(crate) mod optimizer;
mod sys;

use std::sync::LazyLock;

use burn::tensor::Device;
use spanwise_artifact::UserError;

use crate::device::OpenDevice;

/// `kernel!(name(tensors…; others…))`: the kernel's result as a tensor.
macro_rules! kernel {
    ($name:ident($($tensor:expr),+; $($other:expr),*)) => {
        burn::tensor::Tensor::from_dispatch(
            <burn::backend::Dispatch as crate::libtorch::kernels::Kernels>::$name(
                $($tensor.into_dispatch(),)+ $($other),*
            ),
        )
    };
}
pub(crate) use kernel;

/// CUDA devices of this machine. Counted once: the question reaches the driver, and every attention
/// asks for its device.
static CUDA_DEVICES: LazyLock<usize> =
    LazyLock::new(|| usize::try_from(tch::Cuda::device_count()).unwrap_or(0));

/// The fastest of libtorch's devices: a GPU where there is one, else the CPU.
pub(crate) fn best() -> Option<OpenDevice> {
    let device = if tch::Cuda::is_available() {
        cuda(0)
    } else {
        cpu()
    };
    device.ok()
}

/// The CPU.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a build without libtorch has no such device"
)]
pub(crate) fn cpu() -> Result<OpenDevice, UserError> {
    allocator::keep_freed_memory();
    Ok(OpenDevice {
        device: Device::libtorch(),
        name: "libtorch cpu".to_owned(),
    })
}

/// A GPU of NVIDIA's, counted from 0.
pub(crate) fn cuda(index: usize) -> Result<OpenDevice, UserError> {
    let count = *CUDA_DEVICES;
    if !tch::Cuda::is_available() {
        let error = UserError::new("libtorch sees no CUDA device on this machine");
        return Err(error.hint(
            "use device = \"cpu\" or \"auto\"; with a GPU, check nvidia-smi and run \
             `cargo xtask setup` again",
        ));
    }
    if index >= count {
        return Err(UserError::new(format!(
            "there is no cuda:{index}: this machine has {count} CUDA device(s), counted from 0"
        ))
        .hint("name an existing one"));
    }
    Ok(OpenDevice {
        device: Device::libtorch_cuda(index),
        name: format!("libtorch cuda:{index}"),
    })
}

/// A GPU of Apple's.
pub(crate) fn mps() -> Result<OpenDevice, UserError> {
    if !tch::utils::has_mps() {
        let error = UserError::new("this machine has no MPS device");
        return Err(error.hint("use device = \"cpu\""));
    }
    Ok(OpenDevice {
        device: Device::libtorch_mps(),
        name: "libtorch mps".to_owned(),
    })
}

/// What this libtorch computes with: pairs of a label and a finding, for people to read.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cuda = match (tch::utils::has_cuda(), *CUDA_DEVICES) {
        (false, _) => "not in this libtorch".to_owned(),
        (true, 0) => "no device".to_owned(),
        (true, count) => format!("{count} device(s)"),
    };
    vec![
        ("libtorch threads", tch::get_num_threads().to_string()),
        ("CUDA", cuda),
    ]
}

/// Whether the device is libtorch's CPU.
pub(crate) fn is_cpu(device: &Device) -> bool {
    // Compares what is computed on and not whether gradients are recorded.
    *device == Device::libtorch()
}

/// Whether the device is a GPU that libtorch reaches through CUDA.
pub(crate) fn is_cuda(device: &Device) -> bool {
    (0..*CUDA_DEVICES).any(|index| *device == Device::libtorch_cuda(index))
}
