//! The checkpoint stage: a source → a directory in Hugging Face layout.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use spanwise_artifact::settings::{CheckpointJob, CheckpointTable};
use spanwise_artifact::{Draft, Job, Stage, jsonl};
use spanwise_checkpoint::hub::Hub;
use spanwise_checkpoint::package::{self, Vocabulary};
use spanwise_checkpoint::{Origin, agreement, directory, layers, tokenizer, tokenizer_config};
use spanwise_program as program;

fn main() -> ExitCode {
    program::main_with_check(Stage::Checkpoint, check, run)
}

/// Says what is wrong with a checkpoint as far as its small files tell: the runner asks for that of
/// all members before it asks for the weights of one.
fn check(job: &Job) -> Result<()> {
    let CheckpointJob {
        table: settings, ..
    } = job.settings()?;
    let source = &settings.source;
    let check = |directory: &Path| check_small_files(job, &settings, directory);
    if job.inputs.contains_key("directory") {
        check(job.input("directory")?)
    } else if source.starts_with(package::PREFIX) {
        package::find(source).map(|_| ())
    } else {
        Hub::from_environment()?.check(source, &settings.revision, check)
    }
}

fn check_small_files(job: &Job, settings: &CheckpointTable, directory: &Path) -> Result<()> {
    let CheckpointTable {
        source,
        split_characters,
        keep_layers,
        ..
    } = settings;
    agreement::check_small_files(source, directory, *split_characters)?;
    if let Some(count) = *keep_layers {
        layers::check(directory, count)?;
    }
    check_window(job, directory)
}

fn check_window(job: &Job, directory: &Path) -> Result<()> {
    match job.longest_window {
        Some(length) => agreement::check_window(directory, length),
        None => Ok(()),
    }
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let CheckpointJob {
        table: settings,
        tokenizer_only,
    } = job.settings()?;
    let source = &settings.source;
    let check = |directory: &Path| check_small_files(job, &settings, directory);
    if tokenizer_only {
        return write_tokenizer(job, &settings, draft.path());
    }
    let origin = if job.inputs.contains_key("directory") {
        let directory = job.input("directory")?;
        check(directory)?;
        directory::import(source, directory, draft.path())?
    } else if source.starts_with(package::PREFIX) {
        package::import(source, vocabulary(&settings), draft.path())?
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
    check_window(job, draft.path())?;
    agreement::check(source, draft.path())?;
    jsonl::write_document(&draft.log_file("origin.json"), &origin)
}

/// Writes the configuration and the tokenizer of a finished checkpoint, without its weights.
fn write_tokenizer(job: &Job, settings: &CheckpointTable, output: &Path) -> Result<()> {
    let source = &settings.source;
    let import = |directory: &Path| {
        check_small_files(job, settings, directory)?;
        directory::import_small_files(source, directory, output)?;
        Ok(())
    };
    if job.inputs.contains_key("directory") {
        import(job.input("directory")?)?;
    } else if source.starts_with(package::PREFIX) {
        package::import_tokenizer(source, vocabulary(settings), output)?;
    } else {
        Hub::from_environment()?.check(source, &settings.revision, import)?;
    }
    if settings.split_characters {
        tokenizer::split_characters(output)?;
    }
    tokenizer_config::write(source, output)?;
    check_window(job, output)
}

fn vocabulary(settings: &CheckpointTable) -> Vocabulary {
    if settings.subwords {
        Vocabulary::Pieces
    } else {
        Vocabulary::Characters
    }
}
