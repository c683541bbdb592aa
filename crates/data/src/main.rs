//! The data stage: input files → checked questions and paragraphs per split.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use spanwise_artifact::profile::Profile;
use spanwise_artifact::questions::{FOLDS_FILE, QuestionCounts, paragraphs_beside};
use spanwise_artifact::settings::{DataJob, DataTable, Fold};
use spanwise_artifact::{Draft, Job, Split, Stage, jsonl};
use spanwise_data::collect::{self, Collected};
use spanwise_data::faults::Faults;
use spanwise_data::folds;
use spanwise_data::rejected;
use spanwise_data::repeated::Repeated;
use spanwise_data::sources::{Source, refuse_repeated};
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Data, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let DataJob {
        table: settings,
        fold,
    } = job.settings()?;
    let sources = sources(job, &settings)?;
    refuse_repeated(&sources)?;
    let mut left_out = jsonl::Writer::create(&draft.log_file(rejected::FILE))?;
    let mut faults = Faults::default();
    let mut repeated = Repeated::default();
    // What is not yet in its split lies here, on the artifact's file system.
    let space = tempfile::tempdir_in(draft.path())?;
    let mut splits = BTreeMap::new();
    for split in Split::ALL {
        let of_split = sources.iter().filter(|(of, _)| *of == split);
        let sources: Vec<Source> = of_split.map(|(_, source)| source.clone()).collect();
        if sources.is_empty() {
            continue;
        }
        let mut collected = Collected::read(
            split,
            &sources,
            settings.on_bad_record,
            &mut repeated,
            &mut left_out,
            &mut faults,
            space.path(),
        )?;
        if let (Split::Train, Some(count)) = (split, settings.train_questions)
            && count < collected.counts.questions
        {
            let sample = space.path().join("sample");
            fs_err::create_dir(&sample)?;
            collected = collected.sample(count, &sample)?;
        }
        splits.insert(split, collected);
    }
    faults.finish()?;
    left_out.finish()?;
    if let Some(fold) = fold {
        cut(&mut splits, fold, draft)?;
    }
    let mut counts: BTreeMap<Split, QuestionCounts> = BTreeMap::new();
    let mut profile = Profile {
        course_layout: is_course(&splits),
        splits: BTreeMap::new(),
    };
    for (split, mut collected) in splits {
        tracing::info!(
            "{}: {} questions on {} paragraphs",
            split.name(),
            collected.counts.questions,
            collected.counts.paragraphs,
        );
        collected.move_to(draft.path())?;
        counts.insert(split, collected.counts);
        profile.splits.insert(split, collected.profile);
    }
    if let Some(Fold { index: None, .. }) = fold {
        // Every question of dev is trained on in all folds but one.
        let dev = profile.splits.get(&Split::Dev).cloned();
        profile.splits.extend(dev.map(|dev| (Split::Train, dev)));
    }
    space.close()?;
    profile.write(draft.path())?;
    QuestionCounts::write(draft.path(), &counts)
}

/// Whether train and dev have the course's layout. Test does not count: other questions than those
/// that are measured change no metric.
fn is_course(splits: &BTreeMap<Split, Collected>) -> bool {
    let labelled = [Split::Train, Split::Dev].map(|split| splits.get(&split));
    let mut labelled = labelled.into_iter().flatten().peekable();
    labelled.peek().is_some() && labelled.all(|split| split.course_layout)
}

/// The files of every split, in the order of the splits.
fn sources(job: &Job, settings: &DataTable) -> Result<Vec<(Split, Source)>> {
    let mut sources = Vec::new();
    for (split, names) in [
        (Split::Train, &settings.train),
        (Split::Dev, &settings.dev),
        (Split::Test, &settings.test),
    ] {
        for (index, name) in names.iter().enumerate() {
            let role = format!("{}.{index}", split.name());
            let path = |role: &str| Ok::<_, anyhow::Error>(job.input(role)?.to_owned());
            let beside = match paragraphs_beside(name) {
                Some(beside) => Some((beside, path(&format!("{role}.paragraphs"))?)),
                None => None,
            };
            let beside = beside.as_ref();
            let beside = beside.map(|(name, path)| (name.as_str(), path.clone()));
            sources.push((split, Source::new((name, path(&role)?), beside)?));
        }
    }
    Ok(sources)
}

/// Puts train and dev together and cuts a fold out of them as dev, or makes all of it dev and
/// writes every question's fold beside it.
fn cut(splits: &mut BTreeMap<Split, Collected>, fold: Fold, draft: &Draft) -> Result<()> {
    let parts = [Split::Train, Split::Dev].map(|split| splits.remove(&split));
    let parts: Vec<&Collected> = parts.iter().flatten().collect();
    let assigned = folds::assign(&parts, fold.count)?;
    let directory: &Path = draft.path();
    let dev = if let Some(index) = fold.index {
        let train = collect::select(&parts, Split::Train, directory, |question| {
            assigned[question] != index
        })?;
        splits.insert(Split::Train, train);
        collect::select(&parts, Split::Dev, directory, |question| {
            assigned[question] == index
        })?
    } else {
        jsonl::write_document(&draft.file(FOLDS_FILE), &assigned)?;
        collect::append(&parts, Split::Dev, directory)?
    };
    splits.insert(Split::Dev, dev);
    Ok(())
}
