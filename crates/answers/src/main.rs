//! The answers stage: scores → `answers.jsonl`, `submission.csv`, `metrics.json`, `report.html`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use spanwise_answers::fit::Fitted;
use spanwise_answers::report::Report;
use spanwise_answers::split::{AnsweredSplit, ScoredSplit};
use spanwise_artifact::answers::{self, AnswerRecord, REPORT_FILE, SUBMISSION_FILE};
use spanwise_artifact::settings::AnswersTable;
use spanwise_artifact::{Draft, Job, Split, Stage};
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Answers, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: AnswersTable = job.settings()?;
    let (data, scores) = (job.artifact("data")?, job.artifact("ensemble")?);
    let dev = ScoredSplit::read(data, scores, Split::Dev)?;
    let test = ScoredSplit::read(data, scores, Split::Test)?;

    let fitted = Fitted::on(dev.as_ref(), &settings);
    let splits = [&dev, &test].into_iter().flatten();
    let splits: Vec<AnsweredSplit> = splits.map(|split| split.answer(&fitted)).collect();

    splits.iter().for_each(AnsweredSplit::log);
    write(&splits, draft)
}

fn write(splits: &[AnsweredSplit], draft: &Draft) -> Result<()> {
    answers::write(draft.path(), splits.iter().flat_map(AnsweredSplit::records))?;
    let metrics = splits.iter();
    let metrics = metrics.filter_map(|split| Some((split.split, split.metrics.clone()?)));
    answers::write_metrics(draft.path(), &metrics.collect())?;
    fs_err::write(draft.file(REPORT_FILE), Report::of(splits).render()?)?;
    match splits.iter().find(|split| split.split == Split::Test) {
        Some(test) => write_submission(&draft.file(SUBMISSION_FILE), test.records()),
        None => Ok(()),
    }
}

/// Writes the columns `ID` and `Answer`, a field in quotes where it needs them.
fn write_submission<'a>(
    path: &Path,
    records: impl Iterator<Item = &'a AnswerRecord>,
) -> Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(["ID", "Answer"])?;
    for record in records {
        writer.write_record([&record.id, &record.answer])?;
    }
    writer.flush()?;
    Ok(())
}
