//! The answers stage: scores → `answers.jsonl`, `submission.csv`, `predictions.json`, `nbest.json`,
//! `null_odds.json`, `metrics.json`, `report.html`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_answers::answer::{AnsweredSplit, Answers, answer};
use spanwise_answers::files::SplitFiles;
use spanwise_answers::fit::{Defaults, Fitted};
use spanwise_answers::metrics::Headline;
use spanwise_answers::report::Report;
use spanwise_answers::split::ScoredSplit;
use spanwise_artifact::answers::{self, ANSWERS_FILE, REPORT_FILE};
use spanwise_artifact::profile::Profile;
use spanwise_artifact::questions::QuestionCounts;
use spanwise_artifact::settings::{AnswersTable, Decoding};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl, scores};
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Answers, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: AnswersTable = job.settings()?;
    let (data, scores) = (job.input("data")?, job.input("ensemble")?);
    check_inputs(data, scores)?;
    let profile = Profile::read(data)?;
    let unanswerable = QuestionCounts::know_no_answer(&QuestionCounts::read(data)?);
    let headline = Headline::of(&settings, &profile, unanswerable);
    let splits = open(data, scores, headline)?;
    if settings.decoding == Decoding::BestWindow {
        check_windows(&splits)?;
    }

    let dev = splits.iter().find(|split| split.split == Split::Dev);
    let defaults = Defaults {
        longest: profile.longest_answer(),
        unanswerable,
    };
    let fitted = Fitted::on(dev, &settings, defaults)?;
    fitted.log_unfitted(&settings);
    let train = profile.splits.get(&Split::Train);
    let train = train.cloned().unwrap_or_default();

    let mut lines = jsonl::Writer::create(&draft.file(ANSWERS_FILE))?;
    let has_test = splits.iter().any(|split| split.split == Split::Test);
    let knows_no_answer = fitted.knows_no_answer();
    let mut answered = Vec::new();
    for split in &splits {
        let mut files = SplitFiles::create(draft.path(), split.split, has_test, knows_no_answer)?;
        answered.push(answer(split, &fitted, &train, |some: Answers| {
            files.push(&some)?;
            lines.push_lines(&some.lines)
        })?);
        files.finish()?;
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
fn open(data: &Path, scores: &Path, headline: Headline) -> Result<Vec<ScoredSplit>> {
    let mut splits = Vec::new();
    for split in [Split::Dev, Split::Test] {
        match ScoredSplit::open(data, scores, split, headline)? {
            Some(split) => splits.push(split),
            None if data.join(split.questions_file()).exists() => tracing::warn!(
                "{}: its questions are not answered: {} has no scores of them",
                split.name(),
                scores.display()
            ),
            None => {}
        }
    }
    Ok(splits)
}

/// Refuses inputs that have no split together.
fn check_inputs(data: &Path, scores: &Path) -> Result<()> {
    let is_answered = |split: &Split| {
        let scores = scores.join(scores::file_name(*split));
        data.join(split.questions_file()).exists() && scores.exists()
    };
    let message = format!(
        "there is nothing to answer: no dev or test questions in {} that {} has scores of",
        data.display(),
        scores.display()
    );
    let hint = "the input data is what the data stage writes, the input ensemble what the ensemble stage writes";
    let mut splits = [Split::Dev, Split::Test].iter();
    ensure!(splits.any(is_answered), UserError::new(message).hint(hint));
    Ok(())
}

/// Refuses scores whose windows are not known any more.
fn check_windows(splits: &[ScoredSplit]) -> Result<()> {
    for split in splits {
        let message =
            "answers.decoding = \"window\": these are the scores of several models together";
        let hint = "each of them has a best window of its own: use \"joint\" or \"independent\"";
        ensure!(split.has_windows()?, UserError::new(message).hint(hint));
    }
    Ok(())
}
