//! The data stage: input files → checked questions and paragraphs per split.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use spanwise_artifact::questions::{FOLDS_FILE, Questions, paragraphs_beside};
use spanwise_artifact::settings::{DataJob, Fold};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl};
use spanwise_data::check::Checker;
use spanwise_data::{folds, layout};
use spanwise_program as program;
use spanwise_spans::in_sample;

fn main() -> ExitCode {
    program::main(Stage::Data, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let DataJob {
        table: settings,
        fold,
    } = job.settings()?;
    let mut rejected = Vec::new();
    let mut splits = BTreeMap::new();
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
            let role = format!("{}.{index}", split.name());
            let bytes = read(name, job.input(&role)?)?;
            let document = match paragraphs_beside(name) {
                Some(beside) => {
                    let paragraphs = read(&beside, job.input(&format!("{role}.paragraphs"))?)?;
                    layout::parse_native((name, &bytes), (&beside, &paragraphs))?
                }
                None => layout::parse(name, &bytes)?,
            };
            checker.add(name, document).map_err(UserError::from)?;
        }
        let (mut questions, left_out) = checker.finish().map_err(UserError::from)?;
        if !left_out.is_empty() {
            tracing::info!("{}: {} records left out", split.name(), left_out.len());
        }
        if let (Split::Train, Some(count)) = (split, settings.train_questions) {
            let all = questions.questions.len();
            if count < all {
                questions.retain(|index| in_sample(index, count, all));
            }
        }
        splits.insert(split, questions);
        rejected.extend(left_out);
    }
    if let Some(fold) = fold {
        cut(&mut splits, fold, draft)?;
    }
    let mut counts = BTreeMap::new();
    for (split, questions) in &splits {
        tracing::info!(
            "{}: {} questions on {} paragraphs",
            split.name(),
            questions.questions.len(),
            questions.paragraphs.len(),
        );
        questions.write(draft.path(), *split)?;
        let answered = questions.questions.iter();
        let answered = answered.filter(|question| !question.answers.is_empty());
        let count = serde_json::json!({
            "questions": questions.questions.len(),
            "paragraphs": questions.paragraphs.len(),
            "answered": answered.count(),
            "rejected": rejected.iter().filter(|rejected| rejected.split == *split).count(),
        });
        counts.insert(split.name(), count);
    }
    jsonl::write_document(&draft.file("counts.json"), &counts)?;
    jsonl::write(&draft.log_file("rejected.jsonl"), &rejected)
}

/// Puts train and dev together and cuts a fold out of them as dev, or makes all of it dev and
/// writes every question's fold beside it.
fn cut(splits: &mut BTreeMap<Split, Questions>, fold: Fold, draft: &Draft) -> Result<()> {
    let mut together = splits.remove(&Split::Train).unwrap_or_default();
    together.append(splits.remove(&Split::Dev).unwrap_or_default());
    let assigned = folds::assign(&together, fold.count);
    if let Some(index) = fold.index {
        let mut train = together.clone();
        train.retain(|question| assigned[question] != index);
        splits.insert(Split::Train, train);
        together.retain(|question| assigned[question] == index);
    } else {
        jsonl::write_document(&draft.file(FOLDS_FILE), &assigned)?;
    }
    splits.insert(Split::Dev, together);
    Ok(())
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>> {
    // The name in the pipeline file says more than the path that it was resolved to.
    fs_err::read(path)
        .map_err(|error| UserError::new(format!("cannot read {name}: {error}")).into())
}
