//! The ensemble stage: the members' predictions → one prediction with the same layout, and what it
//! gains.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_artifact::ensemble::ranked_spans_file;
use spanwise_artifact::error::damaged;
use spanwise_artifact::profile::Profile;
use spanwise_artifact::questions::{COUNTS_FILE, FOLDS_FILE, QuestionCounts};
use spanwise_artifact::scores::{ScoreWriter, Scores, Span, Whole};
use spanwise_artifact::settings::{EnsembleJob, EnsembleMethod};
use spanwise_artifact::{Draft, Job, QuestionFile, Split, Stage, UserError, jsonl};
use spanwise_ensemble::combine;
use spanwise_ensemble::dev::{Dev, PARTS};
use spanwise_ensemble::fit::{self, Fitted, Questions};
use spanwise_ensemble::members::Members;
use spanwise_ensemble::report;
use spanwise_program as program;
use spanwise_program::parallel;

fn main() -> ExitCode {
    program::main(Stage::Ensemble, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: EnsembleJob = job.settings()?;
    let longest = match (settings.max_answer_length, job.inputs.get("data")) {
        (Some(longest), _) => longest,
        (None, Some(data)) => Profile::read(&data.path)?.longest_answer(),
        (None, None) => Profile::default().longest_answer(),
    };
    let method = settings.method;
    let knows_no_answer = match job.inputs.get("data") {
        Some(data) => has_unanswerable(&data.path)?,
        None => false,
    };
    check_members(job)?;
    let (questions, folds) = read_dev(job)?;
    let members = Members::open(&predictions(job, Split::Dev), Split::Dev, folds.as_deref())?;
    let dev = match (&members, &questions) {
        (Some(members), Some(questions)) => Some(Dev::read(members, questions)?),
        _ => None,
    };
    let dev = dev.as_ref().filter(|dev| dev.labelled() > 0);
    check_measurable(method, dev)?;
    let (held_out, weights) = fit(method, members.as_ref(), dev)?;
    let votes = (method == EnsembleMethod::Vote).then_some(longest);
    if let Some(members) = &members {
        write(members, Split::Dev, weights.as_deref(), votes, draft)?;
    }
    let mut written = members.is_some();
    // Train and test are scored by every model; the models of a member's folds share its weight in
    // equal parts.
    for split in [Split::Train, Split::Test] {
        let (models, weights) = each_model(&predictions(job, split), weights.as_deref());
        if let Some(models) = Members::open(&models, split, None)? {
            write(&models, split, weights.as_deref(), votes, draft)?;
            written = true;
        }
    }
    ensure!(
        written,
        UserError::new(
            "no prediction to combine: no input with the role member.… has scores of a split"
        )
        .hint("a role is such as member.000.dev, and its input what the predict stage writes")
    );
    match (dev, &questions) {
        (Some(dev), Some(questions)) => {
            log_unmeasured(questions.len() - dev.labelled(), questions.len());
            let report =
                report::measure(dev, method, longest, knows_no_answer, &held_out, weights)?;
            let scores = &report.task_exact_match;
            let fitted = match (scores.calibrated, scores.weighted) {
                (Some(calibrated), Some(weighted)) => {
                    format!(", calibrated {calibrated:.3}, weighted {weighted:.3}")
                }
                _ => String::new(),
            };
            tracing::info!(
                "dev task exact match: members {:.3} on average, mean {:.3}{fitted}, vote {:.3}",
                scores.mean_member,
                scores.mean,
                scores.vote,
            );
            report.write(draft.path())?;
        }
        (None, Some(questions)) => log_unmeasured(questions.len(), questions.len()),
        (_, None) => {}
    }
    Ok(())
}

fn log_unmeasured(unlabelled: usize, questions: usize) {
    if unlabelled > 0 {
        tracing::info!(
            "dev: no reference answer for {unlabelled} of {questions} questions: nothing is measured on them"
        );
    }
}

/// Whether questions of train or dev are unanswerable, so that some may be left unanswered.
fn has_unanswerable(data: &Path) -> Result<bool> {
    if !data.join(COUNTS_FILE).exists() {
        return Ok(false);
    }
    Ok(QuestionCounts::know_no_answer(&QuestionCounts::read(data)?))
}

/// Dev's questions and, for cross-validation, the fold of each.
fn read_dev(job: &Job) -> Result<(Option<QuestionFile>, Option<Vec<usize>>)> {
    let Some(data) = job.inputs.get("data").map(|data| &data.path) else {
        return Ok((None, None));
    };
    let path = data.join(FOLDS_FILE);
    let folds = if path.exists() {
        let folds = jsonl::read_document(&path);
        Some(folds.map_err(|error| damaged(&path, &error.root_cause().to_string()))?)
    } else {
        None
    };
    Ok((QuestionFile::open(data, Split::Dev)?, folds))
}

/// Refuses a method that fits weights where there is nothing to fit them to.
fn check_measurable(method: EnsembleMethod, dev: Option<&Dev>) -> Result<()> {
    let name = match method {
        EnsembleMethod::Mean | EnsembleMethod::Vote => return Ok(()),
        EnsembleMethod::Calibrated => "calibrated",
        EnsembleMethod::Weighted => "weighted",
    };
    let message = format!(
        "ensemble.method = {name:?}: fits weights on dev, and no dev question has an answer"
    );
    let hint = "give data.dev a file with answers, or use method = \"mean\" or \"vote\"";
    ensure!(dev.is_some(), UserError::new(message).hint(hint));
    Ok(())
}

/// The weights fitted without each part of dev, and those that the members get, fitted on all of
/// dev where the method says so. `None` for a vote, and where no member has predicted dev: then all
/// models count alike.
///
/// Nothing is fitted where nothing could be held out to see what it is worth.
fn fit(
    method: EnsembleMethod,
    members: Option<&Members>,
    dev: Option<&Dev>,
) -> Result<(Vec<Fitted>, Option<Vec<f64>>)> {
    let is_fitted = method.is_fitted();
    let mut selections: Vec<Questions> = (0..PARTS).map(Questions::Without).collect();
    selections.extend(is_fitted.then_some(Questions::All));
    let mut fitted = match dev.filter(|dev| dev.are_held_out()) {
        Some(dev) => fit::fit(dev, &selections)?,
        None => Vec::new(),
    };
    let on_all = if is_fitted { fitted.pop() } else { None };
    if is_fitted && on_all.is_none() {
        tracing::info!(
            "dev: all labelled questions are about one paragraph: no weights are fitted, members count alike"
        );
    }
    let weights = match (method, on_all) {
        (EnsembleMethod::Vote, _) => None,
        (EnsembleMethod::Calibrated, Some(fitted)) => Some(fitted.calibrated),
        (EnsembleMethod::Weighted, Some(fitted)) => Some(fitted.weighted),
        _ => members.map(|members| combine::equal(members.count())),
    };
    Ok((fitted, weights))
}

/// Refuses a split that other members have predicted than dev: a weight is fitted to a member.
fn check_members(job: &Job) -> Result<()> {
    let members = |split| {
        let members = named_predictions(job, split).into_iter();
        members.map(|(name, _)| name).collect::<Vec<_>>()
    };
    let dev = members(Split::Dev);
    for split in [Split::Train, Split::Test] {
        let found = members(split);
        let message = format!(
            "the members of {} are {}, and those of dev {}",
            split.name(),
            found.join(", "),
            dev.join(", ")
        );
        ensure!(
            dev.is_empty() || found.is_empty() || dev == found,
            UserError::new(message).hint("a role is such as member.000.dev and member.000.test")
        );
    }
    Ok(())
}

/// Every member's predictions of a split: one, with the role `member.000.dev`, or one per fold,
/// `member.000.fold.000.dev`.
fn predictions(job: &Job, split: Split) -> Vec<Vec<&Path>> {
    let members = named_predictions(job, split).into_iter();
    members.map(|(_, artifacts)| artifacts).collect()
}

/// As [`predictions`], with the members' names in the roles, such as `000`.
fn named_predictions(job: &Job, split: Split) -> Vec<(&str, Vec<&Path>)> {
    let suffix = format!(".{}", split.name());
    let mut members: Vec<(&str, Vec<&Path>)> = Vec::new();
    for (role, input) in &job.inputs {
        let model = role.strip_prefix("member.");
        let Some(model) = model.and_then(|model| model.strip_suffix(&suffix)) else {
            continue;
        };
        let member = model.split('.').next().unwrap_or(model);
        match members.last_mut() {
            Some((last, artifacts)) if *last == member => artifacts.push(&input.path),
            _ => members.push((member, vec![&input.path])),
        }
    }
    members
}

/// The models of all members, each by itself, with the members' weights divided among them.
fn each_model<'a>(
    members: &[Vec<&'a Path>],
    weights: Option<&[f64]>,
) -> (Vec<Vec<&'a Path>>, Option<Vec<f64>>) {
    let models = members.iter().flatten().map(|model| vec![*model]).collect();
    let weights = weights.map(|weights| {
        let of_member = |(models, weight): (&Vec<&Path>, &f64)| {
            std::iter::repeat_n(weight / models.len() as f64, models.len())
        };
        members.iter().zip(weights).flat_map(of_member).collect()
    });
    (models, weights)
}

/// A question's scores from all members'.
struct Combined {
    scores: Scores,
    whole: Whole,
    /// Ranked spans, for a vote.
    votes: Option<Vec<Span>>,
}

/// Writes a split's scores, some questions at a time. `votes`: the longest answer in characters, for
/// a vote, whose ranked spans are written, too.
fn write(
    members: &Members,
    split: Split,
    weights: Option<&[f64]>,
    votes: Option<usize>,
    draft: &Draft,
) -> Result<()> {
    let equal = combine::equal(members.count());
    let mut writer = ScoreWriter::create(draft.path(), split, members.lengths().to_vec())?;
    let mut ranked = if votes.is_some() {
        Some(jsonl::Writer::create(
            &draft.file(&ranked_spans_file(split)),
        )?)
    } else {
        None
    };
    let weights = weights.unwrap_or(&equal);
    let combined = |range: std::ops::Range<usize>| -> Result<Vec<Combined>> {
        let block = members.read(range.clone())?;
        let question = |question| {
            let scores = block.get(question);
            Combined {
                scores: combine::weighted(&scores, weights),
                whole: combine::weighted_whole(&block.wholes(question), weights),
                votes: votes.map(|longest| combine::votes(&scores, longest)),
            }
        };
        Ok(range.map(question).collect())
    };
    parallel::in_order(members.ranges(), combined, |combined| {
        for question in combined {
            let Combined {
                scores,
                whole,
                votes,
            } = question;
            writer.push(scores.view(), whole)?;
            if let (Some(ranked), Some(votes)) = (&mut ranked, votes) {
                ranked.push(&votes)?;
            }
        }
        Ok(())
    })?;
    writer.finish()?;
    match ranked {
        Some(ranked) => ranked.finish(),
        None => Ok(()),
    }
}
