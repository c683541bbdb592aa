//! The fine-tuned model as others expect it: a Hugging Face directory that transformers loads.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use spanwise_artifact::manifest::Manifest;
use spanwise_artifact::{Draft, Job, jsonl};

use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::SpanModel;
use spanwise_model::weights;
use spanwise_training::checkpoint;
use spanwise_training::log::Evaluation;

/// Files of the checkpoint that describe it and not the fine-tuned model.
const REPLACED: [&str; 5] = [
    "config.json",
    "model.safetensors",
    "README.md",
    "origin.json",
    "training.jsonl",
];

/// Writes weights, configuration, tokenizer and model card.
pub fn write(
    job: &Job,
    model: &SpanModel,
    config: &EncoderConfig,
    evaluation: Option<&Evaluation>,
    draft: &mut Draft,
) -> Result<()> {
    let checkpoint = job.input("checkpoint")?;
    weights::save(model, config, &draft.file("model.safetensors"))?;

    let mut document: Value = jsonl::read_document(&checkpoint.join("config.json"))?;
    document["architectures"] = serde_json::json!([config.family.span_class]);
    // What was saved, whatever the checkpoint was; older versions of transformers have the longer name.
    let dtype = ["dtype", "torch_dtype"]
        .into_iter()
        .find(|key| document.get(key).is_some());
    document[dtype.unwrap_or("torch_dtype")] = "float32".into();
    jsonl::write_document(&draft.file("config.json"), &document)?;

    checkpoint::copy_files(checkpoint, draft, &REPLACED)?;
    let card = card(job, checkpoint, evaluation)?;
    fs_err::write(draft.log_file("README.md"), card)?;
    Ok(())
}

/// The model card: what it was made from, how, and how good it is.
fn card(job: &Job, checkpoint: &Path, evaluation: Option<&Evaluation>) -> Result<String> {
    let origin: Value = jsonl::read_document(&checkpoint.join("origin.json")).unwrap_or_default();
    let base = origin["source"].as_str().unwrap_or("unknown");
    let mut card = String::from("---\n");
    // The hub only takes its own names here.
    if origin["commit"].is_string() {
        writeln!(card, "base_model: {base}")?;
    }
    card.push_str(
        "library_name: transformers\npipeline_tag: question-answering\ntags:\n- spanwise\n---\n\n\
         # Extractive question answering\n\n",
    );
    write!(card, "Fine-tuned from `{base}`")?;
    if let Some(commit) = origin["commit"].as_str() {
        write!(card, " at commit `{commit}`")?;
    }
    card.push_str(
        " with spanwise.\n\n```python\nfrom transformers import pipeline\n\n\
         answer = pipeline(\"question-answering\", model=\"path/to/this/directory\")\n\
         answer(question=\"…\", context=\"…\")\n```\n",
    );
    if let Some(licence) = origin["licence"].as_str() {
        write!(
            card,
            "\nLicence of the weights it was made from: {licence}\n"
        )?;
    }
    if let Some(evaluation) = evaluation {
        write!(
            card,
            "\n## Results\n\nOn {} dev questions after {} steps: exact match {:.4}, loss {:.4}.\n",
            evaluation.dev_questions,
            evaluation.step,
            evaluation.dev_exact_match,
            evaluation.dev_loss
        )?;
    }
    let settings = serde_json::to_string_pretty(&job.settings)?;
    let seed = job.seed.unwrap_or(0);
    write!(
        card,
        "\n## Settings\n\nSeed {seed}.\n\n```json\n{settings}\n```\n"
    )?;
    if let Some(data) = Manifest::read(job.input("data")?)? {
        card.push_str("\n## Data\n\n| file | BLAKE3 |\n|---|---|\n");
        for (role, digest) in &data.inputs {
            let name = data_file(&data.settings, role).unwrap_or(role);
            writeln!(card, "| {name} | `{digest}` |")?;
        }
    }
    Ok(card)
}

/// The file name behind a role such as `train.0`.
fn data_file<'a>(settings: &'a Value, role: &str) -> Option<&'a str> {
    let (split, index) = role.split_once('.')?;
    let path = settings[split][index.parse::<usize>().ok()?].as_str()?;
    path.rsplit('/').next()
}
