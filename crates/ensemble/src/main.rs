//! The ensemble stage: the members' predictions → one prediction with the same layout, and what it
//! gains.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_artifact::ensemble::write_ranked_spans;
use spanwise_artifact::questions::{FOLDS_FILE, Questions};
use spanwise_artifact::scores::ScoreWriter;
use spanwise_artifact::settings::{EnsembleJob, EnsembleMethod};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl};
use spanwise_ensemble::combine;
use spanwise_ensemble::fit;
use spanwise_ensemble::labelled::{LabelledQuestion, labelled};
use spanwise_ensemble::members::Members;
use spanwise_ensemble::report;
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Ensemble, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: EnsembleJob = job.settings()?;
    ensure!(
        job.inputs.keys().any(|role| role.starts_with("member.")),
        UserError::new("no prediction to combine: the job has no input with the role member.…")
    );
    let (questions, folds) = read_dev(job)?;
    let members = Members::open(&predictions(job, Split::Dev), Split::Dev, folds.as_deref())?;
    let dev = match (&members, &questions) {
        (Some(members), Some(questions)) => labelled(members, questions),
        _ => Vec::new(),
    };
    let weights = weights(settings.method, members.as_ref(), &dev)?;
    if let Some(members) = &members {
        write(members, Split::Dev, weights.as_deref(), &settings, draft)?;
    }
    // Train and test are scored by every model; the models of a member's folds share its weight in
    // equal parts.
    for split in [Split::Train, Split::Test] {
        let (models, weights) = each_model(&predictions(job, split), weights.as_deref());
        if let Some(models) = Members::open(&models, split, None)? {
            write(&models, split, weights.as_deref(), &settings, draft)?;
        }
    }
    if let Some(report) = report::measure(&dev, &settings, weights) {
        let scores = &report.task_exact_match;
        tracing::info!(
            "dev task exact match: members {:.3} on average, mean {:.3}, calibrated {:.3}, weighted {:.3}, vote {:.3}",
            scores.mean_member,
            scores.mean,
            scores.calibrated,
            scores.weighted,
            scores.vote,
        );
        report.write(draft.path())?;
    }
    Ok(())
}

/// Dev's questions and, for cross-validation, the fold of each.
fn read_dev(job: &Job) -> Result<(Option<Questions>, Option<Vec<usize>>)> {
    let Some(data) = job.inputs.get("data").map(|data| &data.path) else {
        return Ok((None, None));
    };
    let folds = data.join(FOLDS_FILE);
    let folds = folds.exists().then(|| jsonl::read_document(&folds));
    Ok((Questions::read(data, Split::Dev)?, folds.transpose()?))
}

/// The weights of the members, fitted on dev where the method says so. `None` for a vote, and where
/// no member has predicted dev: then all models count alike.
fn weights(
    method: EnsembleMethod,
    members: Option<&Members>,
    dev: &[LabelledQuestion],
) -> Result<Option<Vec<f64>>> {
    let fitted = |name: &str, fit: fn(&[&LabelledQuestion]) -> Vec<f64>| {
        let message = format!(
            "ensemble.method = {name:?}: fits weights on dev, and no dev question has an answer"
        );
        let hint = "give data.dev a file with answers, or use method = \"mean\" or \"vote\"";
        ensure!(!dev.is_empty(), UserError::new(message).hint(hint));
        Ok(Some(fit(&dev.iter().collect::<Vec<_>>())))
    };
    match method {
        EnsembleMethod::Mean => Ok(members.map(|members| combine::equal(members.count()))),
        EnsembleMethod::Vote => Ok(None),
        EnsembleMethod::Calibrated => fitted("calibrated", fit::calibrated),
        EnsembleMethod::Weighted => fitted("weighted", fit::weighted),
    }
}

/// Every member's predictions of a split: one, with the role `member.000.dev`, or one per fold,
/// `member.000.fold.000.dev`.
fn predictions(job: &Job, split: Split) -> Vec<Vec<&Path>> {
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
    let artifacts = members.into_iter().map(|(_, artifacts)| artifacts);
    artifacts.collect()
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

/// Writes a split's scores, and its ranked spans for a vote, one question at a time.
fn write(
    members: &Members,
    split: Split,
    weights: Option<&[f64]>,
    settings: &EnsembleJob,
    draft: &Draft,
) -> Result<()> {
    let equal = combine::equal(members.count());
    let mut writer = ScoreWriter::create(draft.path(), split, members.lengths().to_vec())?;
    for question in 0..members.questions() {
        let scores = members.get(question);
        writer.push(combine::weighted(&scores, weights.unwrap_or(&equal)).view())?;
    }
    writer.finish()?;
    if settings.method == EnsembleMethod::Vote {
        let votes = |question| combine::votes(&members.get(question), settings.max_answer_length);
        let ranked = (0..members.questions()).map(votes);
        write_ranked_spans(draft.path(), split, ranked)?;
    }
    Ok(())
}
