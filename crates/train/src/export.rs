//! The fine-tuned model as others expect it: a Hugging Face directory that transformers loads.

use anyhow::Result;
use serde_json::Value;
use spanwise_artifact::{Draft, Job, jsonl};
use spanwise_model::{EncoderConfig, SpanModel, weights};
use spanwise_training::stage::{self, Kept};

use crate::model_card;

/// Files of the checkpoint that are not copied: they describe the checkpoint, not the trained
/// model.
const REPLACED: [&str; 5] = [
    "config.json",
    "model.safetensors",
    "README.md",
    "origin.json",
    "training.jsonl",
];

/// Writes weights, configuration, tokenizer and model card. `kept`: which weights of a training they
/// are; `None` where they are the checkpoint's. `learned_no_answer`: whether questions that it was
/// trained on were unanswerable.
pub fn write(
    job: &Job,
    model: &SpanModel,
    config: &EncoderConfig,
    kept: Option<Kept>,
    learned_no_answer: bool,
    draft: &mut Draft,
) -> Result<()> {
    let checkpoint = job.input("checkpoint")?;
    weights::save(model, config, &draft.file("model.safetensors"))?;

    let mut document: Value = jsonl::read_document(&checkpoint.join("config.json"))?;
    document["architectures"] = serde_json::json!([config.family.span_class]);
    // What is saved, whatever the checkpoint was; older versions of transformers use the longer
    // name.
    let dtype = ["dtype", "torch_dtype"]
        .into_iter()
        .find(|key| document.get(key).is_some());
    document[dtype.unwrap_or("torch_dtype")] = "float32".into();
    jsonl::write_document(&draft.file("config.json"), &document)?;

    stage::copy_checkpoint(checkpoint, draft, &REPLACED)?;
    let card = model_card::text(job, kept, learned_no_answer)?;
    fs_err::write(draft.log_file("README.md"), card)?;
    Ok(())
}
