//! libtorch: its devices, and the kernels and the optimizer step that run on them. Nothing outside
//! this folder depends on it.
//!
//! - `extension`: the operations of the model, through Burn's backend extension
//! - `kernels`: on a CPU, kernels of this project
//! - `operators`, `attention`: on a GPU, libtorch's own operators
//! - `optimizer`: the gradient norm and AdamW
//! - `sys`: calls into C++, whose sources are in `cpp/`
//! - `allocator`: the C library's allocator, tuned for tensors

#![expect(
    deprecated,
    reason = "burn-tch is deprecated upstream but is today's fastest backend on CPU and CUDA"
)]

mod allocator;
mod attention;
pub(crate) mod extension;
mod kernels;
mod operators;
pub(crate) mod optimizer;
mod sys;

use std::ffi::CString;
use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::Device;
use spanwise_artifact::UserError;

use crate::device::{self, Implementation, OpenDevice};

/// `kernel!(name(tensors…; others…))`: the kernel's result as a tensor.
macro_rules! kernel {
    ($name:ident($($tensor:expr),+; $($other:expr),*)) => {
        burn::tensor::Tensor::from_dispatch(
            <burn::backend::Dispatch as crate::libtorch::extension::Kernels>::$name(
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
    // A libtorch with CUDA says that it has none where it reaches no device.
    let cuda = match *CUDA_DEVICES {
        0 => "no device that this libtorch reaches".to_owned(),
        count => (0..count).map(describe).collect::<Vec<_>>().join(", "),
    };
    vec![
        ("libtorch threads", tch::get_num_threads().to_string()),
        ("CUDA", cuda),
    ]
}

/// What a GPU of NVIDIA's can compute in hardware.
fn describe(index: usize) -> String {
    let Some((major, minor)) = capability_of(index) else {
        return format!("cuda:{index}");
    };
    let bf16 = if device::has_bf16(&Device::libtorch_cuda(index)) {
        "bf16"
    } else {
        "no bf16"
    };
    format!("cuda:{index} (compute capability {major}.{minor}, {bf16} in hardware)")
}

/// Whether the device is libtorch's CPU.
pub(crate) fn is_cpu(device: &Device) -> bool {
    // Compares what is computed on and not whether gradients are recorded.
    *device == Device::libtorch()
}

/// See [`crate::device::implementation`].
pub(crate) fn implementation(device: &Device) -> Implementation {
    match (is_cpu(device), cuda_index(device)) {
        (true, _) if *operators::EVERYWHERE => Implementation::Operators,
        (true, _) => Implementation::Kernels,
        (false, Some(_)) => Implementation::Operators,
        (false, None) => Implementation::Compositions,
    }
}

/// The number of a GPU that libtorch reaches through CUDA; `None` for any other device.
fn cuda_index(device: &Device) -> Option<usize> {
    (0..*CUDA_DEVICES).find(|&index| *device == Device::libtorch_cuda(index))
}

/// The compute capability of a GPU of NVIDIA's; `None` for any other device, and where the driver
/// cannot be asked.
pub(crate) fn compute_capability(device: &Device) -> Option<(u32, u32)> {
    cuda_index(device).and_then(capability_of)
}

/// The compute capability of a GPU by its number. Asked of the driver once.
fn capability_of(index: usize) -> Option<(u32, u32)> {
    static CAPABILITIES: LazyLock<Vec<Option<(u32, u32)>>> =
        LazyLock::new(|| (0..*CUDA_DEVICES).map(sys::compute_capability).collect());
    *CAPABILITIES.get(index)?
}

/// See [`crate::device::peak_memory`].
pub(crate) fn peak_memory(device: &Device) -> u64 {
    cuda_index(device).map_or(0, sys::peak_memory)
}

/// See [`crate::device::allow_tf32`].
pub(crate) fn allow_tf32() {
    sys::allow_tf32();
}

/// See [`crate::device::trace`].
pub(crate) fn trace<T>(
    device: &Device,
    path: &Path,
    body: impl FnOnce() -> T,
) -> Result<T, UserError> {
    let file = CString::new(path.as_os_str().as_encoded_bytes());
    let file = file.map_err(|_| UserError::new("a file name has no zero byte"))?;
    sys::trace_start(cuda_index(device).is_some());
    let result = body();
    sys::trace_stop(&file);
    Ok(result)
}
