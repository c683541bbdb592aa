//! The checkpoint stage: a source → a directory in Hugging Face layout.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use spanwise_artifact::settings::CheckpointTable;
use spanwise_artifact::{Draft, Job, Stage, jsonl};
use spanwise_checkpoint::hub::Hub;
use spanwise_checkpoint::package::{self, Vocabulary};
use spanwise_checkpoint::{Origin, agreement, directory, layers, tokenizer, tokenizer_config};
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Checkpoint, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: CheckpointTable = job.settings()?;
    let source = &settings.source;
    let check_window = |directory: &Path| match job.longest_window {
        Some(length) => agreement::check_window(directory, length),
        None => Ok(()),
    };
    let check = |directory: &Path| {
        agreement::check_small_files(source, directory, settings.split_characters)?;
        check_window(directory)
    };
    let origin = if job.inputs.contains_key("directory") {
        let directory = job.input("directory")?;
        check(directory)?;
        directory::import(source, directory, draft.path())?
    } else if source.starts_with(package::PREFIX) {
        let vocabulary = if settings.subwords {
            Vocabulary::Pieces
        } else {
            Vocabulary::Characters
        };
        package::import(source, vocabulary, draft.path())?
    } else {
        let snapshot = Hub::from_environment()?.fetch(source, &settings.revision, check)?;
        let origin = directory::import(source, &snapshot.directory, draft.path())?;
        Origin {
            commit: Some(snapshot.commit),
            ..origin
        }
    };
    if settings.split_characters {
        tokenizer::split_characters(draft.path())?;
    }
    tokenizer_config::write(source, draft.path())?;
    if let Some(count) = settings.keep_layers {
        layers::keep_first(draft.path(), count)?;
    }
    check_window(draft.path())?;
    agreement::check(source, draft.path())?;
    jsonl::write_document(&draft.log_file("origin.json"), &origin)
}
