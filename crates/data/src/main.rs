//! The data stage: input files → checked questions and paragraphs per split.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use spanwise_artifact::settings::DataSettings;
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl, program};
use spanwise_data::check::Checker;
use spanwise_data::layout;

fn main() -> ExitCode {
    program::main(Stage::Data, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: DataSettings = job.settings()?;
    let mut rejected = Vec::new();
    let mut counts = BTreeMap::new();
    for (split, names) in [
        (Split::Train, &settings.train),
        (Split::Dev, &settings.dev),
        (Split::Test, &settings.test),
    ] {
        if names.is_empty() {
            continue;
        }
        let mut checker = Checker::new(split, settings.on_bad_record);
        for (index, name) in names.iter().enumerate() {
            let bytes = read(name, job.input(&format!("{}.{index}", split.name()))?)?;
            checker.add(name, layout::parse(name, &bytes)?)?;
        }
        let (mut questions, left_out) = checker.finish()?;
        if let (Split::Train, Some(count)) = (split, settings.train_questions) {
            questions.keep_evenly(count);
        }
        tracing::info!(
            "{}: {} questions on {} paragraphs{}",
            split.name(),
            questions.questions.len(),
            questions.paragraphs.len(),
            if left_out.is_empty() {
                String::new()
            } else {
                format!(", {} records left out", left_out.len())
            },
        );
        questions.write(draft.path(), split)?;
        let count = serde_json::json!({
            "questions": questions.questions.len(),
            "paragraphs": questions.paragraphs.len(),
            "answered": questions.questions.iter().filter(|question| !question.answers.is_empty()).count(),
            "rejected": left_out.len(),
        });
        counts.insert(split, count);
        rejected.extend(left_out);
    }
    jsonl::write_document(&draft.file("counts.json"), &counts)?;
    jsonl::write(&draft.log_file("rejected.jsonl"), &rejected)
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| UserError::new(format!("cannot read {name}: {error}")).into())
}
