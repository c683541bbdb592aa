//! What a stage program with a model takes from its job: the device, the precision, the layout.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use spanwise_artifact::settings::Precision;
use spanwise_artifact::windows::{LAYOUT_FILE, Layout};
use spanwise_artifact::{Job, UserError, jsonl};
use spanwise_ops::device;

use crate::config::EncoderConfig;

/// Opens the job's device.
pub fn open_device(job: &Job) -> Result<Device> {
    let open = device::open(job.device.unwrap_or_default())?;
    tracing::info!("device: {}", open.name);
    Ok(open.device)
}

/// The precision to compute in: as set, but fp32 where bf16 would have to be emulated.
pub fn precision(setting: Precision, device: &Device) -> Precision {
    match setting {
        Precision::Fp32 => Precision::Fp32,
        Precision::Bf16 if device::has_bf16(device) => Precision::Bf16,
        Precision::Bf16 => {
            // Emulated products round more and take many times as long.
            tracing::warn!("this processor has no bf16 in hardware: computing in fp32");
            Precision::Fp32
        }
        Precision::Fp16 => {
            if device::is_cpu(device) {
                tracing::warn!(
                    "fp16 is far slower than fp32 on a CPU; bf16 is the fast format there"
                );
            }
            Precision::Fp16
        }
    }
}

/// Reads the windows' layout and checks that the model takes inputs that long.
pub fn read_layout(job: &Job, config: &EncoderConfig) -> Result<Layout> {
    let layout: Layout = jsonl::read_document(&job.input("windows")?.join(LAYOUT_FILE))?;
    ensure!(
        layout.max_length <= config.max_tokens(),
        UserError::new(format!(
            "windows.max_length is {}, but the checkpoint takes at most {} tokens",
            layout.max_length,
            config.max_tokens()
        ))
    );
    Ok(layout)
}
