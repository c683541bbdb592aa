//! What a stage program with a model takes from its job: the device, the precision, the layout.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use spanwise_artifact::settings;
use spanwise_artifact::windows::{LAYOUT_FILE, Layout, Template, WindowFile};
use spanwise_artifact::{Draft, Job, Split, UserError, jsonl};
use spanwise_config::EncoderConfig;
use spanwise_ops::{Precision, device};

/// Opens the job's device, and notes it in the draft.
pub fn open_device(job: &Job, draft: &mut Draft) -> Result<Device> {
    let open = device::open(job.device.unwrap_or_default())?;
    tracing::info!("device: {}", open.name);
    draft.computing().device = Some(open.name);
    Ok(open.device)
}

/// Returns the precision to compute in, and notes it in the draft: as set, but fp32 where bf16 would
/// have to be emulated.
pub fn precision(setting: settings::Precision, device: &Device, draft: &mut Draft) -> Precision {
    let precision = supported(setting, device);
    draft.computing().precision = Some(precision.to_string());
    precision
}

/// The same without a draft.
pub fn supported(setting: settings::Precision, device: &Device) -> Precision {
    match setting {
        settings::Precision::Auto => {
            let fastest = device::fastest_precision(device);
            tracing::info!("precision: {fastest}, the fastest in hardware");
            fastest
        }
        settings::Precision::Fp32 => Precision::Fp32,
        settings::Precision::Bf16 if device::has_bf16(device) => Precision::Bf16,
        settings::Precision::Bf16 => {
            // Emulated products round more and take many times as long.
            if device::is_cpu(device) {
                tracing::warn!("this processor has no bf16 in hardware: computing in fp32");
            } else {
                tracing::warn!(
                    "this GPU has no bf16 in hardware: computing in fp32; precision = \"auto\" \
                     takes the fastest format that it has"
                );
            }
            Precision::Fp32
        }
        settings::Precision::Fp16 => {
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
    let layout: Layout = jsonl::read_document(&job.artifact("windows")?.join(LAYOUT_FILE))?;
    config.check_window(layout.max_length)?;
    let Template {
        before,
        between,
        after,
        question_type,
        paragraph_type,
        padding_id,
        mask_id,
    } = &layout.template;
    let specials = [before, between, after].into_iter().flatten();
    let ids = specials.clone().map(|special| special.id);
    let ids = ids.chain([*padding_id]).chain(*mask_id);
    check_ids(ids.max().unwrap_or(0), config)?;
    let types = specials.map(|special| special.token_type);
    let types = types.chain([*question_type, *paragraph_type]);
    let largest = types.max().unwrap_or(0);
    ensure!(
        (largest as usize) < config.type_vocab_size,
        UserError::new(format!(
            "the windows have token type {largest}, the model's embedding of types {} rows",
            config.type_vocab_size
        ))
        .hint("windows and model come from different checkpoints")
    );
    ensure!(
        layout.template.specials() < layout.max_length,
        UserError::new(format!(
            "windows.max_length is {}, of which special tokens take {}",
            layout.max_length,
            layout.template.specials()
        ))
    );
    Ok(layout)
}

/// Opens the windows of a split and checks that the model has a row for every token; `None` where
/// there are no such windows.
pub fn open_windows(job: &Job, split: Split, config: &EncoderConfig) -> Result<Option<WindowFile>> {
    let file = WindowFile::open(job.input("windows")?, split)?;
    if let Some(file) = &file {
        check_ids(file.largest_id(), config)?;
    }
    Ok(file)
}

fn check_ids(largest: u32, config: &EncoderConfig) -> Result<()> {
    ensure!(
        (largest as usize) < config.vocab_size,
        UserError::new(format!(
            "the windows have token {largest}, the model's embedding {} rows",
            config.vocab_size
        ))
        .hint("windows and model come from different checkpoints, or their tokenizers differ")
    );
    Ok(())
}
