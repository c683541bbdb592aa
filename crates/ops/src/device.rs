//! Devices by name. Everything specific to libtorch stands here, so that another backend can take its place.

use burn::tensor::Device;

/// Why a device cannot be used, as a sentence fragment, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeviceError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A device in use.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// For tensors.
    pub device: Device,
    /// What it is, for messages and records: `flex`, `libtorch cpu`, `libtorch cuda:0`.
    pub name: String,
}

/// Whether this program was built with libtorch.
pub const HAS_LIBTORCH: bool = cfg!(feature = "tch");

/// Opens `auto`, `flex`, `cpu`, `cuda`, `cuda:N` or `mps`. All but `flex` are libtorch's; `auto` is CUDA
/// where there is a GPU, else libtorch's CPU where it is set up, else `flex`.
pub fn open(name: &str) -> Result<OpenDevice, DeviceError> {
    match name {
        "flex" => Ok(flex()),
        "auto" => Ok(libtorch::best().unwrap_or_else(flex)),
        _ => libtorch::open(name),
    }
}

/// Whether operations on this device run as kernels: on libtorch's CPU, with and without gradients.
pub fn has_kernels(device: &Device) -> bool {
    libtorch::is_cpu(device)
}

/// Whether it is a GPU that libtorch reaches through CUDA.
pub fn is_cuda(device: &Device) -> bool {
    libtorch::is_cuda(device)
}

/// Whether it is a processor's cores that compute.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex() || libtorch::is_cpu(device)
}

/// Whether the device multiplies bfloat16 itself, and so faster than f32; taken for granted on a GPU.
pub fn has_bf16(device: &Device) -> bool {
    !is_cpu(device) || processor_has_bf16()
}

/// What computing here comes down to, by name, for people to read.
pub fn facts() -> Vec<(&'static str, String)> {
    let mut facts = vec![(
        "bf16 on CPU",
        if processor_has_bf16() {
            "in hardware"
        } else {
            "not in this processor; fp32 is computed in its place"
        }
        .to_owned(),
    )];
    facts.extend(libtorch::facts());
    facts.push((
        "device = \"auto\"",
        open("auto").map_or_else(|error| error.message, |open| open.name),
    ));
    facts
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

fn unknown(name: &str) -> DeviceError {
    DeviceError {
        message: format!("there is no device {name:?}"),
        hint: "use auto, cpu, cuda, cuda:N, mps or flex".to_owned(),
    }
}

/// `cuda` and `cuda:N`.
fn cuda_index(name: &str) -> Option<usize> {
    match name.strip_prefix("cuda")? {
        "" => Some(0),
        index => index.strip_prefix(':')?.parse().ok(),
    }
}

#[cfg(feature = "tch")]
mod libtorch {
    #![expect(
        deprecated,
        reason = "burn-tch is deprecated upstream but is today's fastest backend on CPU and CUDA"
    )]

    use burn::tensor::Device;

    use super::{DeviceError, OpenDevice, cuda_index, unknown};

    pub(super) fn best() -> Option<OpenDevice> {
        Some(if tch::Cuda::is_available() {
            cuda(0)
        } else {
            cpu()
        })
    }

    pub(super) fn open(name: &str) -> Result<OpenDevice, DeviceError> {
        let unavailable = |message: String, hint: &str| {
            Err(DeviceError {
                message,
                hint: hint.to_owned(),
            })
        };
        match (name, cuda_index(name)) {
            ("cpu", _) => Ok(cpu()),
            ("mps", _) if tch::utils::has_mps() => Ok(OpenDevice {
                device: Device::libtorch_mps(),
                name: "libtorch mps".to_owned(),
            }),
            ("mps", _) => unavailable(
                "this machine has no MPS device".to_owned(),
                "use device = \"cpu\"",
            ),
            (_, Some(index)) => {
                let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
                match (tch::Cuda::is_available(), index < count) {
                    (true, true) => Ok(cuda(index)),
                    (true, false) => unavailable(
                        format!(
                            "there is no {name}: this machine has {count} CUDA device(s), counted from 0"
                        ),
                        "name an existing one",
                    ),
                    (false, _) => unavailable(
                        "libtorch sees no CUDA device on this machine".to_owned(),
                        "use device = \"cpu\" or \"auto\"; with a GPU, check nvidia-smi and run `cargo xtask setup` again",
                    ),
                }
            }
            _ => Err(unknown(name)),
        }
    }

    pub(super) fn facts() -> Vec<(&'static str, String)> {
        let cuda = match (tch::utils::has_cuda(), tch::Cuda::device_count()) {
            (false, _) => "not in this libtorch".to_owned(),
            (true, 0) => "no device".to_owned(),
            (true, count) => format!("{count} device(s)"),
        };
        vec![
            ("libtorch threads", tch::get_num_threads().to_string()),
            ("CUDA", cuda),
        ]
    }

    pub(super) fn is_cpu(device: &Device) -> bool {
        // Compares what is computed on and not whether gradients are recorded.
        *device == Device::libtorch()
    }

    pub(super) fn is_cuda(device: &Device) -> bool {
        let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        (0..count).any(|index| *device == Device::libtorch_cuda(index))
    }

    fn cuda(index: usize) -> OpenDevice {
        OpenDevice {
            device: Device::libtorch_cuda(index),
            name: format!("libtorch cuda:{index}"),
        }
    }

    fn cpu() -> OpenDevice {
        keep_freed_memory();
        OpenDevice {
            device: Device::libtorch(),
            name: "libtorch cpu".to_owned(),
        }
    }

    /// Keeps the C allocator from giving freed memory back to the kernel. Every step allocates the same
    /// large tensors again; fetching them from the kernel each time costs page faults and zeroing. Settings
    /// of the user's own (`MALLOC_…`) are left alone.
    fn keep_freed_memory() {
        let is_set = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("MALLOC_");
        if std::env::vars_os().any(|(name, _)| is_set(&name)) {
            return;
        }
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            const TOP_PAD_BYTES: libc::c_int = 256 << 20;
            #[expect(
                unsafe_code,
                reason = "mallopt only sets parameters of the allocator, under its own lock"
            )]
            // SAFETY: no pointers are involved and any value is valid.
            unsafe {
                libc::mallopt(libc::M_MMAP_MAX, 0);
                libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
                libc::mallopt(libc::M_TOP_PAD, TOP_PAD_BYTES);
            }
        }
    }
}

#[cfg(not(feature = "tch"))]
mod libtorch {
    use super::{DeviceError, OpenDevice, cuda_index, unknown};

    use burn::tensor::Device;

    pub(super) fn is_cpu(_: &Device) -> bool {
        false
    }

    pub(super) fn is_cuda(_: &Device) -> bool {
        false
    }

    pub(super) fn facts() -> Vec<(&'static str, String)> {
        vec![("libtorch", "not in this build".to_owned())]
    }

    pub(super) fn best() -> Option<OpenDevice> {
        None
    }

    pub(super) fn open(name: &str) -> Result<OpenDevice, DeviceError> {
        if name != "cpu" && name != "mps" && cuda_index(name).is_none() {
            return Err(unknown(name));
        }
        Err(DeviceError {
            message: format!(
                "the device {name:?} needs libtorch, and this program was built without it"
            ),
            hint: "run `cargo xtask setup`, or use device = \"flex\"".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_by_name() {
        assert_eq!(open("flex").unwrap().name, "flex");
        assert_eq!(open("auto").unwrap().name == "flex", !HAS_LIBTORCH);
        assert_eq!(open("cpu").is_ok(), HAS_LIBTORCH);
        for wrong in ["gpu", "cuda:", "cuda:x", "cudax", ""] {
            assert_eq!(
                open(wrong).unwrap_err().message,
                format!("there is no device {wrong:?}")
            );
        }
    }
}
