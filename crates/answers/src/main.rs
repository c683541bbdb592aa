//! The answers stage: scores → `answers.jsonl`, `submission.csv`, `metrics.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use serde::Serialize;
use spanwise_answers::decode::{Candidate, decode};
use spanwise_answers::metrics::Metrics;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::ScoreFile;
use spanwise_artifact::settings::AnswersSettings;
use spanwise_artifact::{Draft, Job, Split, Stage, jsonl, program};

fn main() -> ExitCode {
    program::main(Stage::Answers, run)
}

/// A line of `answers.jsonl`.
#[derive(Debug, Serialize)]
struct Answered {
    split: Split,
    id: String,
    question: String,
    answer: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<String>,
    candidates: Vec<Candidate>,
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: AnswersSettings = job.settings()?;
    let mut all = Vec::new();
    let mut metrics = BTreeMap::new();
    for split in [Split::Dev, Split::Test] {
        let Some(answered) = answer_split(job, split, &settings)? else {
            continue;
        };
        let references = |answered: &Answered| answered.references.len();
        if answered.iter().any(|answered| references(answered) > 0) {
            let pairs = answered.iter().map(|answered| {
                (
                    answered.answer.as_str(),
                    answered.references.iter().map(String::as_str).collect(),
                )
            });
            metrics.insert(split.name(), Metrics::measure(pairs));
        }
        if split == Split::Test {
            write_submission(&draft.file("submission.csv"), &answered)?;
        }
        let empty = answered
            .iter()
            .filter(|answered| answered.answer.is_empty())
            .count();
        tracing::info!(
            "{}: {} answers, {empty} of them empty",
            split.name(),
            answered.len()
        );
        all.extend(answered);
    }
    for (split, metrics) in &metrics {
        tracing::info!(
            "{split}: exact match {:.3} (standard error {:.3}), CMRC F1 {:.3}, on {} questions",
            metrics.task_exact_match,
            metrics.task_exact_match_standard_error,
            metrics.cmrc_f1,
            metrics.questions,
        );
    }
    jsonl::write(&draft.file("answers.jsonl"), &all)?;
    jsonl::write_document(&draft.file("metrics.json"), &metrics)
}

/// Answers in the order of the questions; `None` where the split does not exist.
fn answer_split(
    job: &Job,
    split: Split,
    settings: &AnswersSettings,
) -> Result<Option<Vec<Answered>>> {
    let Some(questions) = Questions::read(job.input("data")?, split)? else {
        return Ok(None);
    };
    let Some(scores) = ScoreFile::open(job.input("ensemble")?, split)? else {
        return Ok(None);
    };
    ensure!(
        scores.questions() == questions.questions.len(),
        "{} scored questions for the {} of the {} split",
        scores.questions(),
        questions.questions.len(),
        split.name()
    );
    let answered = questions
        .questions
        .iter()
        .enumerate()
        .map(|(index, question)| {
            let (answer, candidates) =
                decode(scores.get(index), questions.paragraph(question), settings);
            Answered {
                split,
                id: question.id.clone(),
                question: question.text.clone(),
                answer,
                references: question
                    .answers
                    .iter()
                    .map(|answer| answer.text.clone())
                    .collect(),
                candidates,
            }
        });
    Ok(Some(answered.collect()))
}

/// `ID,Answer`, quoted where a field needs it.
fn write_submission(path: &Path, answered: &[Answered]) -> Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(["ID", "Answer"])?;
    for answered in answered {
        writer.write_record([&answered.id, &answered.answer])?;
    }
    writer.flush()?;
    Ok(())
}
