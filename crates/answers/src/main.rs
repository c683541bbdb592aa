//! The answers stage: scores → `answers.jsonl`, `submission.csv`, `predictions.json`, `nbest.json`,
//! `metrics.json`, `report.html`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_answers::answer::{AnsweredSplit, Answers, answer};
use spanwise_answers::fit::Fitted;
use spanwise_answers::report::Report;
use spanwise_answers::split::ScoredSplit;
use spanwise_artifact::answers::{
    self, ANSWERS_FILE, ObjectWriter, REPORT_FILE, SUBMISSION_FILE, nbest_file, predictions_file,
};
use spanwise_artifact::settings::{AnswersTable, LengthLimit};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl};
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Answers, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: AnswersTable = job.settings()?;
    let splits = open(job.input("data")?, job.input("ensemble")?)?;

    let dev = splits.iter().find(|split| split.split == Split::Dev);
    let fitted = Fitted::on(dev, &settings)?;
    if matches!(settings.max_answer_length, LengthLimit::Fitted(_)) && fitted.length.is_none() {
        tracing::info!(
            "max_answer_length is {}: no dev question has a reference answer to fit it on",
            LengthLimit::LONGEST_FITTED
        );
    }

    let mut lines = jsonl::Writer::create(&draft.file(ANSWERS_FILE))?;
    let has_test = splits.iter().any(|split| split.split == Split::Test);
    let mut answered = Vec::new();
    for split in &splits {
        let object = |file: &str| ObjectWriter::create(&draft.file(file));
        let mut predictions = object(predictions_file(split.split, has_test))?;
        let mut nbest = object(nbest_file(split.split, has_test))?;
        let mut submission = match split.split {
            Split::Test => Some(submission(&draft.file(SUBMISSION_FILE))?),
            _ => None,
        };
        answered.push(answer(split, &fitted, |some: Answers| {
            if let Some(submission) = &mut submission {
                some.rows
                    .iter()
                    .try_for_each(|row| submission.write_record(row))?;
            }
            predictions.push(&some.predictions)?;
            nbest.push(&some.nbest)?;
            lines.push_lines(&some.lines)
        })?);
        predictions.finish()?;
        nbest.finish()?;
        if let Some(submission) = &mut submission {
            submission.flush()?;
        }
    }
    lines.finish()?;

    answered.iter().for_each(AnsweredSplit::log);
    let metrics = answered.iter();
    let metrics = metrics.filter_map(|split| Some((split.split, split.metrics.clone()?)));
    answers::write_metrics(draft.path(), &metrics.collect())?;
    let report = Report {
        splits: answered.into_iter().map(|split| split.report).collect(),
    };
    fs_err::write(draft.file(REPORT_FILE), report.render()?)?;
    Ok(())
}

/// Opens the splits that are answered: those with questions and scores.
fn open(data: &Path, scores: &Path) -> Result<Vec<ScoredSplit>> {
    let mut splits = Vec::new();
    for split in [Split::Dev, Split::Test] {
        match ScoredSplit::open(data, scores, split)? {
            Some(split) => splits.push(split),
            None if data.join(split.questions_file()).exists() => tracing::warn!(
                "{}: its questions are not answered: {} has no scores of them",
                split.name(),
                scores.display()
            ),
            None => {}
        }
    }
    let message = format!(
        "there is nothing to answer: no dev or test questions in {} that {} has scores of",
        data.display(),
        scores.display()
    );
    let hint = "the input data is what the data stage writes, the input ensemble what the ensemble stage writes";
    ensure!(!splits.is_empty(), UserError::new(message).hint(hint));
    Ok(splits)
}

/// Starts a file with the columns `ID` and `Answer`, in which a field is in quotes where it needs
/// them.
fn submission(path: &Path) -> Result<csv::Writer<fs_err::File>> {
    let mut writer = csv::Writer::from_writer(fs_err::File::create(path)?);
    writer.write_record(["ID", "Answer"])?;
    Ok(writer)
}
