//! Scores anybody's predictions by a published metric, and compares two of them question by
//! question.

mod predictions;
mod questions;
mod report;
mod scoring;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use spanwise_artifact::UserError;
use spanwise_artifact::settings::{Metric, MlqaLanguage};
use spanwise_data::input::excerpt;

use predictions::{Predictions, Probabilities};
use questions::{Data, Suited};
use report::{Heading, Report};
use scoring::{Scoring, Side};

/// What is scored, and how.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The predictions: JSON, `{id: answer}` with `""` for no answer, or the CSV of a submission.
    pub predictions: PathBuf,
    /// The questions with their reference answers, in any layout of the data stage.
    pub data: PathBuf,
    /// Other predictions, which these are compared with.
    pub against: Option<PathBuf>,
    /// The metric; without one, it is chosen by what the data is.
    pub metric: Option<Metric>,
    /// The answers' language, for MLQA's metric.
    pub language: Option<MlqaLanguage>,
    /// How likely each question has no answer, `{id: number}`, for SQuAD 2.0's metric.
    pub no_answer_probability: Option<PathBuf>,
    /// An answer is taken back where the probability is above it.
    pub no_answer_threshold: f64,
    /// Whether to print JSON.
    pub json: bool,
}

/// Scores predictions and prints the result.
///
/// # Errors
/// Fails if a file cannot be used, if the metric does not fit the other options, or if nothing can
/// be scored.
pub fn run(evaluation: &Evaluation, out: &mut dyn Write) -> Result<()> {
    let data = Data::open(&evaluation.data)?;
    let mut predictions = vec![Predictions::read(&evaluation.predictions)?];
    if let Some(against) = &evaluation.against {
        predictions.push(Predictions::read(against)?);
    }
    let (metric, suited_language, why) = match evaluation.metric {
        Some(metric) => (metric, None, None),
        None => {
            let Suited {
                metric,
                language,
                why,
            } = data.suited()?;
            (metric, language, Some(why))
        }
    };
    let named_language = evaluation.language.or(suited_language);
    let language = language(metric, named_language)?;
    let probabilities = match &evaluation.no_answer_probability {
        None => None,
        Some(path) => {
            ensure!(
                metric == Metric::Squad2,
                UserError::new("--no-answer-probability: only squad2 takes it")
                    .hint(format!("the metric is {}", metric.name()))
            );
            Some(Probabilities::read(path)?)
        }
    };
    let mut scoring = Scoring::new(metric, language, predictions, probabilities);
    let (mut first, mut is_labelled) = (None, false);
    data.read(&mut |question| {
        first.get_or_insert_with(|| question.id.clone());
        is_labelled |= question.is_impossible || !question.references.is_empty();
        scoring.add(&question)
    })?;
    // Where every list of answers is empty, the file is rather unlabelled than unanswerable.
    is_labelled |= evaluation.metric == Some(Metric::Squad2);
    ensure!(
        scoring.questions() > 0 && is_labelled,
        UserError::new(format!(
            "no question of {} has a reference answer",
            data.shown()
        ))
        .hint(if scoring.questions() > 0 {
            "where empty lists of answers mean that there is none, --metric squad2 scores them"
        } else {
            "predictions are scored on labelled questions"
        })
    );
    for Side { predictions, .. } in &scoring.sides {
        let (name, shown) = (&predictions.name, data.shown());
        let unknown = || {
            let error = UserError::new(format!("{name} has no answer to any question of {shown}"));
            match (predictions.first(), &first) {
                (Some(own), Some(other)) => {
                    let (own, other) = (excerpt(own), excerpt(other));
                    error.hint(format!(
                        "its first id is {own}, the first of the data {other}"
                    ))
                }
                _ => error.hint("the file is empty"),
            }
        };
        ensure!(predictions.used() > 0, unknown());
    }
    let heading = Heading {
        metric: metric.name(),
        why,
        language: named_language.map(MlqaLanguage::name),
        data: data.shown(),
        no_answer_threshold: (evaluation.no_answer_probability.as_ref())
            .map(|_| evaluation.no_answer_threshold),
    };
    let report = Report::new(heading, &scoring);
    if evaluation.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        return Ok(());
    }
    report.print(out)
}

/// The language of the answers, which counts for MLQA's metric alone.
fn language(metric: Metric, typed: Option<MlqaLanguage>) -> Result<MlqaLanguage, UserError> {
    match (metric, typed) {
        (Metric::Mlqa, None) => {
            let all = MlqaLanguage::ALL.map(MlqaLanguage::name).join(", ");
            Err(
                UserError::new("mlqa scores by the answers' language, and none was named")
                    .hint(format!("--language, one of {all}")),
            )
        }
        (Metric::Mlqa, Some(language)) => Ok(language),
        (_, Some(_)) => Err(UserError::new("--language: only mlqa takes it")
            .hint(format!("the metric is {}", metric.name()))),
        (_, None) => Ok(MlqaLanguage::English),
    }
}
