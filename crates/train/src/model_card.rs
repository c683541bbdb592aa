//! The model card: `README.md` of the trained model's directory.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;
use spanwise_artifact::manifest::Manifest;
use spanwise_artifact::{Job, jsonl};
use spanwise_training::stage::Kept;

/// Answers a question in Python, with transformers 4.57 and 5. The README of the project has the same
/// lines.
const SNIPPET: &str = include_str!("model_card.py");

/// Returns the model card: what the model was fine-tuned from, how, and how good it is. `kept`: as
/// in [`export::write`](crate::export::write). `learned_no_answer`: whether questions that it was
/// trained on were unanswerable.
pub(crate) fn text(job: &Job, kept: Option<Kept>, learned_no_answer: bool) -> Result<String> {
    let origin = job.input("checkpoint")?.join("origin.json");
    let origin: Value = jsonl::read_document(&origin).unwrap_or_default();
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
    let is_trained = kept.is_some();
    let (from, how, licence_of) = if is_trained {
        (
            "Fine-tuned from",
            "with spanwise",
            "the weights it was fine-tuned from",
        )
    } else {
        ("The weights of", "as they are", "these weights")
    };
    write!(card, "{from} `{base}`")?;
    if let Some(commit) = origin["commit"].as_str() {
        write!(card, " at commit `{commit}`")?;
    }
    write!(card, " {how}.\n\n```python\n{SNIPPET}```\n")?;
    if learned_no_answer {
        card.push_str(
            "\nIt was also trained on questions that their paragraph does not answer: there is no \
             answer where `scores[:, 0, 0].min() > scores[window, start, end]`.\n",
        );
    }
    if let Some(licence) = origin["licence"].as_str() {
        write!(card, "\nLicence of {licence_of}: {licence}\n")?;
    }
    if let Some(Kept {
        steps,
        evaluation: Some(evaluation),
        is_best,
    }) = kept
    {
        let (of_steps, chosen) = if is_best {
            (
                format!(" of {steps}"),
                " The best evaluation of the training, chosen on these questions: on others it is \
                 a little worse.",
            )
        } else {
            (String::new(), "")
        };
        write!(
            card,
            "\n## Results\n\nOn {} dev questions after {}{of_steps} steps: task exact match {:.4}, \
             loss {:.4}.{chosen}\n",
            evaluation.dev_questions,
            evaluation.step,
            evaluation.dev_exact_match,
            evaluation.dev_loss
        )?;
    }
    if !is_trained {
        return Ok(card);
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

/// Returns the file name behind a role such as `train.0`.
fn data_file<'a>(settings: &'a Value, role: &str) -> Option<&'a str> {
    let (split, index) = role.split_once('.')?;
    let path = settings[split][index.parse::<usize>().ok()?].as_str()?;
    path.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use serde_json::json;
    use spanwise_artifact::Stage;
    use spanwise_artifact::job::Input;
    use spanwise_training::log::Evaluation;

    use super::*;

    fn job(inputs: &[(&str, PathBuf)]) -> Job {
        let input = |path: &PathBuf| Input {
            path: path.clone(),
            files: None,
        };
        Job {
            stage: Stage::Train,
            settings: json!({"epochs": 2}),
            inputs: inputs
                .iter()
                .map(|(role, path)| ((*role).to_owned(), input(path)))
                .collect(),
            contents: BTreeMap::new(),
            output: PathBuf::from("artifacts/train/0"),
            seed: Some(7),
            device: None,
            save_minutes: None,
            longest_window: None,
            code: BTreeMap::new(),
            log: None,
        }
    }

    #[test]
    fn the_card_names_base_results_settings_and_data() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let [checkpoint, data] = ["checkpoint", "data"].map(|name| directory.path().join(name));
        fs_err::create_dir(&checkpoint)?;
        fs_err::create_dir(&data)?;
        let origin = json!({"source": "google/bert", "commit": "c0ffee", "licence": "apache-2.0"});
        jsonl::write_document(&checkpoint.join("origin.json"), &origin)?;
        let manifest = json!({
            "name": "0", "stage": "data", "format": 1, "settings": {"train": ["data/drcd/train.json"]},
            "seed": null, "inputs": {"train.0": "abc"}, "code": {}, "files": {}, "device": null,
            "created": "", "wall_seconds": 1.0, "tool_version": "0.1.0",
        });
        jsonl::write_sealed(&data.join(Manifest::FILE), &manifest)?;
        let evaluation = Evaluation {
            step: 80,
            epoch: 2,
            dev_loss: 1.5,
            dev_exact_match: 0.75,
            dev_questions: 128,
            seconds: 2.5,
        };
        let job = job(&[("checkpoint", checkpoint), ("data", data)]);
        let kept = |is_best| Kept {
            steps: 80,
            evaluation: Some(&evaluation),
            is_best,
        };
        let card = text(&job, Some(kept(false)), false)?;
        let expected = format!(
            r#"---
base_model: google/bert
library_name: transformers
pipeline_tag: question-answering
tags:
- spanwise
---

# Extractive question answering

Fine-tuned from `google/bert` at commit `c0ffee` with spanwise.

```python
{SNIPPET}```

Licence of the weights it was fine-tuned from: apache-2.0

## Results

On 128 dev questions after 80 steps: task exact match 0.7500, loss 1.5000.

## Settings

Seed 7.

```json
{{
  "epochs": 2
}}
```

## Data

| file | BLAKE3 |
|---|---|
| train.json | `abc` |
"#
        );
        assert_eq!(card, expected);
        let card = text(&job, Some(kept(false)), true)?;
        assert!(
            card.contains("there is no answer where `scores[:, 0, 0]"),
            "{card}"
        );
        let card = text(&job, Some(kept(true)), false)?;
        assert!(
            card.contains(
                "On 128 dev questions after 80 of 80 steps: task exact match 0.7500, loss 1.5000. \
                 The best evaluation of the training, chosen on these questions: on others it is a \
                 little worse.\n"
            ),
            "{card}"
        );
        Ok(())
    }

    #[test]
    fn the_card_of_a_local_checkpoint_names_no_hub_model() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let inputs = ["checkpoint", "data"].map(|role| (role, directory.path().to_owned()));
        let origin = json!({"source": "models/mine"});
        jsonl::write_document(&directory.path().join("origin.json"), &origin)?;
        let kept = Kept {
            steps: 80,
            evaluation: None,
            is_best: false,
        };
        let card = text(&job(&inputs), Some(kept), false)?;
        assert!(
            card.starts_with("---\nlibrary_name: transformers\n"),
            "{card}"
        );
        assert!(
            card.contains("Fine-tuned from `models/mine` with spanwise."),
            "{card}"
        );
        assert!(!card.contains("## Results"), "{card}");
        // Without training, there is nothing to tell of one, and no data to read.
        let card = text(&job(&inputs[..1]), None, false)?;
        assert!(
            card.contains("The weights of `models/mine` as they are."),
            "{card}"
        );
        assert!(!card.contains("## Settings"), "{card}");
        Ok(())
    }
}
