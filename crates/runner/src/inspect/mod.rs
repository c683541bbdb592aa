//! What data looks like, before any training: how many questions there are and what is known of
//! them, how long texts are, what a tokenizer loses of them, what splits share, and examples.
//!
//! The data stage reads the files and the windows stage tokenizes them, as they do in a pipeline,
//! and what they write is counted:
//!
//! - `subject`: what was typed → the pipeline whose first stages run
//! - `measure`: a split → its numbers; `tokens` those of its windows, `lengths` histograms
//! - `shared`: what two splits have in common
//! - `example`: a question in its paragraph, token by token
//! - `page`, `summary`: the numbers for people
//!
//! Questions are read one by one: some 20 bytes of each remain, by which those that come twice are
//! known.

mod example;
mod lengths;
mod measure;
mod page;
mod shared;
mod subject;
mod summary;
mod tokens;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use spanwise_artifact::questions::{QuestionCounts, paragraphs_beside};
use spanwise_artifact::settings::{DataTable, OnBadRecord, WindowsTable};
use spanwise_artifact::windows::WindowCounts;
use spanwise_artifact::{Manifest, Split, Stage};
use spanwise_data::faults::Faults;
use spanwise_data::input::shown;
use spanwise_data::rejected;
use spanwise_data::sources::Source;

use crate::run::{self, Execute};
use crate::session::Session;
use crate::{links, readers, workspace};

use measure::SplitNumbers;
use shared::Shared;
use subject::Subject;

/// The page.
const PAGE_FILE: &str = "inspect.html";

/// Every number of the page.
const NUMBERS_FILE: &str = "inspect.json";

/// Wrong records that the page lists of a split.
const WRONG: usize = 20;

/// What is inspected.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// A pipeline file, which ends in `.toml`, or files of questions that belong to no split.
    pub files: Vec<PathBuf>,
    /// Files of the train split.
    pub train: Vec<PathBuf>,
    /// Files of the dev split.
    pub dev: Vec<PathBuf>,
    /// Files of the test split.
    pub test: Vec<PathBuf>,
    /// The checkpoint whose tokens files are shown in; a pipeline file names its own.
    pub checkpoint: Option<String>,
    /// Settings that differ from those of the pipeline file, or from the defaults.
    pub overrides: Vec<String>,
    /// Where page and numbers go; without it, into a folder below `runs`.
    pub output: Option<PathBuf>,
}

/// All that is found out.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The pipeline file; `None` of files alone.
    pipeline: Option<String>,
    /// Number of training questions that were looked at, where the pipeline uses no more.
    train_questions: Option<usize>,
    /// `None` where no checkpoint was named.
    tokenizer: Option<Tokenizer>,
    splits: Vec<SplitNumbers>,
    shared: Vec<Shared>,
}

/// What token counts depend on.
#[derive(Debug, Clone, Serialize)]
struct Tokenizer {
    checkpoint: String,
    split_characters: bool,
    windows: WindowsTable,
    /// Number of the pipeline's models, of which the first one's tokenizer is shown.
    models: usize,
}

/// Inspects data with the artifacts below `output`, writes page and numbers, and prints a summary to
/// `results`. The state of every stage goes to `log`.
///
/// # Errors
/// Fails if a file or the checkpoint cannot be used. Fails, once everything is written, if a record
/// is wrong and is not to be skipped.
pub fn run(
    output: &Path,
    inspection: &Inspection,
    stages: &mut dyn Execute,
    log: &mut dyn Write,
    results: &mut dyn Write,
) -> Result<()> {
    let subject = Subject::of(inspection, output)?;
    let folder = subject.folder(inspection)?;
    let runs = output.join("runs");
    let session = Session::begin(&runs)?;
    let mut pipeline = subject.pipeline.clone();
    pipeline.name = session.name(&runs)?;
    // What is wrong is told at the end, together with what is not.
    pipeline.data.on_bad_record = OnBadRecord::Skip;
    let run = run::texts(output, &pipeline, stages, log)?;
    let artifact = |stage| run.of_stage(stage).next();
    let data = artifact(Stage::Data).context("the data stage has run")?;
    let windows = artifact(Stage::Windows);
    let _holds = run
        .artifacts()
        .map(|artifact| readers::read(artifact, || Ok(())))
        .collect::<Result<Vec<_>>>()?;

    let layouts = layouts(&pipeline.data, session.folder())?;
    let (wrong, faults) = wrong(data)?;
    let mut report = Report {
        train_questions: pipeline.data.train_questions,
        tokenizer: subject.tokenizer(),
        pipeline: subject.file.clone(),
        ..Report::default()
    };
    let counts = QuestionCounts::read(data)?;
    let window_counts = windows.map(WindowCounts::read).transpose()?;
    let mut window_counts = window_counts.unwrap_or_default();
    let unknown = match artifact(Stage::Checkpoint) {
        Some(checkpoint) => tokens::unknown_id(&checkpoint.join("tokenizer.json"))?,
        None => None,
    };
    let mut texts = Vec::new();
    for (split, counts) in counts {
        let mut numbers = SplitNumbers::new(subject.name_of(split), counts);
        numbers.files = layouts.get(&split).cloned().unwrap_or_default();
        numbers.wrong = wrong.get(&split).cloned().unwrap_or_default();
        let tokens = match (windows, window_counts.remove(&split)) {
            (Some(windows), Some(counts)) => {
                tokens::SplitTokens::open(windows, split, counts, unknown)?
            }
            _ => None,
        };
        texts.push((split, numbers.measure(data, split, tokens)?));
        report.splits.push(numbers);
    }
    let inputs = Manifest::read(data)?.context("an artifact has a manifest")?;
    report.shared = shared::of(&texts, &pipeline.data, &inputs.inputs);
    drop(texts);

    let page = page::render(&report)?;
    links::write(&folder.join(PAGE_FILE), &page)?;
    let numbers = serde_json::to_string_pretty(&report)? + "\n";
    links::write(&folder.join(NUMBERS_FILE), &numbers)?;
    summary::print(&report, &workspace::display(&folder), results)?;
    results.flush()?;
    if subject.pipeline.data.on_bad_record == OnBadRecord::Error {
        faults.finish()?;
    }
    Ok(())
}

/// A file and what was recognised of it.
#[derive(Debug, Clone, Serialize)]
struct Recognised {
    file: String,
    layout: String,
}

/// The layouts of all files. What cannot be read in order is put in order below `space`.
fn layouts(data: &DataTable, space: &Path) -> Result<BTreeMap<Split, Vec<Recognised>>> {
    let mut layouts = BTreeMap::new();
    for (split, files) in of_splits(data) {
        let mut recognised = Vec::new();
        for file in files {
            let beside = paragraphs_beside(file);
            let beside = beside
                .as_ref()
                .map(|name| (name.as_str(), workspace::resolve(name)));
            let source = Source::new((file, workspace::resolve(file)), beside)?;
            let space = tempfile::tempdir_in(space)?;
            recognised.push(Recognised {
                file: file.clone(),
                layout: source.format(space.path())?.to_string(),
            });
        }
        layouts.insert(split, recognised);
    }
    Ok(layouts)
}

/// The files of every split.
fn of_splits(data: &DataTable) -> [(Split, &[String]); 3] {
    [
        (Split::Train, &data.train),
        (Split::Dev, &data.dev),
        (Split::Test, &data.test),
    ]
}

/// A wrong record.
#[derive(Debug, Clone, Serialize)]
struct Wrong {
    file: String,
    id: String,
    fault: String,
    /// Whether its question is used without the label.
    is_label: bool,
}

/// What the data stage has left out: the first records of every split, and all for a message.
fn wrong(data: &Path) -> Result<(BTreeMap<Split, Vec<Wrong>>, Faults)> {
    let mut wrong: BTreeMap<Split, Vec<Wrong>> = BTreeMap::new();
    let mut faults = Faults::default();
    for record in rejected::read(data)? {
        let record = record?;
        faults.push(record.split, &record.file, &record.id, record.fault());
        let of_split = wrong.entry(record.split).or_default();
        if of_split.len() < WRONG {
            of_split.push(Wrong {
                file: shown(&record.file),
                id: shown(&record.id),
                fault: record.fault().to_owned(),
                is_label: record.is_label(),
            });
        }
    }
    Ok((wrong, faults))
}
