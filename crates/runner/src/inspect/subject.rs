//! What was typed → the pipeline whose first stages run.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use spanwise_artifact::settings::DataTable;
use spanwise_artifact::{Split, UserError};
use spanwise_data::input::InputFile;

use super::{Inspection, Tokenizer};
use crate::pipeline_file::{self, Pipeline, is_folder_name};
use crate::{owner, workspace};

/// The pipeline that is inspected where nothing is named, as by other commands.
const DEFAULT: &str = "pipelines/demo.toml";

/// A pipeline of one model, or of none where no checkpoint was named.
pub(super) struct Subject {
    pub(super) pipeline: Pipeline,
    /// The pipeline file; `None` of files alone.
    pub(super) file: Option<String>,
    /// Whether all questions are of one set without a name, which the pipeline has as dev: of that
    /// split, a question is kept whatever is wrong with its label.
    is_one_set: bool,
    /// Number of the pipeline's models.
    models: usize,
    /// The folder below `runs`.
    folder: PathBuf,
}

impl Subject {
    /// The subject of an inspection whose results lie below `output`.
    pub(super) fn of(inspection: &Inspection, output: &Path) -> Result<Self> {
        let Inspection {
            files,
            train,
            dev,
            test,
            checkpoint,
            overrides,
            ..
        } = inspection;
        let runs = output.join("runs");
        let of_splits = [train, dev, test];
        let has_splits = of_splits.iter().any(|files| !files.is_empty());
        let default = [PathBuf::from(DEFAULT)];
        let files = if files.is_empty() && !has_splits && checkpoint.is_none() {
            &default
        } else {
            &files[..]
        };
        let is_pipeline = |file: &&PathBuf| file.extension().is_some_and(|end| end == "toml");
        if let Some(file) = files.iter().find(is_pipeline) {
            let shown = file.display();
            ensure!(
                files.len() == 1 && !has_splits,
                UserError::new(format!(
                    "{shown} is a pipeline file, and other files are named beside it"
                ))
                .hint("a pipeline file names its files under [data]")
            );
            ensure!(
                checkpoint.is_none(),
                UserError::new(format!("--checkpoint: {shown} names one"))
                    .hint("--set checkpoint.source=… looks at another")
            );
            let pipeline = pipeline_file::read(file, overrides)?;
            let folder = runs.join(&pipeline.name);
            return Ok(Self {
                file: Some(pipeline.file.clone()),
                is_one_set: false,
                models: pipeline.members.len(),
                pipeline: first_model(pipeline),
                folder,
            });
        }
        ensure!(
            files.is_empty() || !has_splits,
            UserError::new("some files are of a split, and others of none")
                .hint("name all of them with --train, --dev and --test, or none")
        );
        ensure!(
            !files.is_empty() || has_splits,
            UserError::new("there is no file to inspect")
                .hint("name files of questions, or a pipeline file")
        );
        let names = |files: &[PathBuf]| -> Result<Vec<String>> {
            files.iter().map(|file| name_of(file)).collect()
        };
        let data = DataTable {
            train: names(train)?,
            dev: names(if has_splits { dev } else { files })?,
            test: names(test)?,
            ..DataTable::default()
        };
        let all = of_splits.into_iter().flatten().chain(files);
        let stem = all.into_iter().next().and_then(|file| stem(file));
        let folder = runs.join(format!("inspect-{}", stem.as_deref().unwrap_or("data")));
        let checkpoint = checkpoint.as_deref().map(source_of).transpose()?;
        let pipeline = pipeline_file::of_files(data, checkpoint.as_deref(), overrides)?;
        Ok(Self {
            file: None,
            is_one_set: !has_splits,
            models: pipeline.members.len(),
            pipeline,
            folder,
        })
    }

    /// What people call a split.
    pub(super) fn name_of(&self, split: Split) -> &'static str {
        if self.is_one_set { "all" } else { split.name() }
    }

    /// What token counts depend on; `None` without a checkpoint.
    pub(super) fn tokenizer(&self) -> Option<Tokenizer> {
        let model = self.pipeline.members.first()?;
        Some(Tokenizer {
            checkpoint: model.checkpoint.source.clone(),
            split_characters: model.checkpoint.split_characters,
            windows: model.windows.clone(),
            models: self.models,
        })
    }

    /// The folder that results go to, which is made.
    pub(super) fn folder(&self, inspection: &Inspection) -> Result<PathBuf> {
        let folder = match &inspection.output {
            Some(folder) => std::path::absolute(folder)?,
            None => {
                if self.file.is_some() {
                    owner::claim(&self.folder, &self.pipeline)?;
                }
                self.folder.clone()
            }
        };
        workspace::create_folder(&folder)?;
        Ok(folder)
    }
}

/// The pipeline with its first model alone, on its splits as they are.
fn first_model(mut pipeline: Pipeline) -> Pipeline {
    pipeline.members.truncate(1);
    pipeline.student = None;
    pipeline.folds = None;
    pipeline
}

/// A file's name for the stages. Fails where it is no file.
fn name_of(file: &Path) -> Result<String> {
    InputFile::new(&file.display().to_string(), file.to_owned())?;
    from_root(file)
}

/// A checkpoint's source for its stage.
fn source_of(typed: &str) -> Result<String> {
    if typed.starts_with('.') || Path::new(typed).is_dir() {
        from_root(Path::new(typed))
    } else {
        Ok(typed.to_owned())
    }
}

/// A path as stages are told it. Theirs start at the root, and those that are typed where they are
/// typed.
fn from_root(typed: &Path) -> Result<String> {
    let here = std::path::absolute(typed)?;
    let is_at_root = workspace::resolve(typed) == here;
    let path = if is_at_root { typed } else { &here };
    let path = path.to_str().ok_or_else(|| {
        UserError::new(format!("{}: the name is not UTF-8", typed.display())).hint("rename it")
    })?;
    Ok(path.to_owned())
}

/// A file's name up to its first dot, where a folder can have it.
fn stem(file: &Path) -> Option<String> {
    let stem = file.file_name()?.to_str()?.split('.').next()?;
    is_folder_name(stem).then(|| stem.to_owned())
}
