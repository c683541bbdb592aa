//! The checkpoint stage: a source → a directory in Hugging Face layout.

use std::process::ExitCode;

use anyhow::{Result, bail};
use spanwise_artifact::settings::CheckpointSettings;
use spanwise_artifact::{Draft, Job, Stage, UserError, jsonl, program};
use spanwise_checkpoint::{directory, layers, package};

fn main() -> ExitCode {
    program::main(Stage::Checkpoint, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: CheckpointSettings = job.settings()?;
    let source = &settings.source;
    let origin = if job.inputs.contains_key("directory") {
        directory::import(source, job.input("directory")?, draft.path())?
    } else if source.starts_with(package::PREFIX) {
        package::import(source, draft.path())?
    } else {
        let error = UserError::new(format!(
            "{source} names a checkpoint on a hub, which cannot be fetched yet"
        ));
        bail!(error.hint("download it by other means and name its directory as checkpoint.source"));
    };
    if let Some(count) = settings.keep_layers {
        layers::keep_first(draft.path(), count)?;
    }
    jsonl::write_document(&draft.log_file("origin.json"), &origin)
}
