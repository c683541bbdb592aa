//! The ensemble stage: members' predictions → one prediction of the same layout, and what it gains.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_artifact::ensemble::write_ranked_spans;
use spanwise_artifact::questions::{FOLDS_FILE, Questions};
use spanwise_artifact::scores::ScoreWriter;
use spanwise_artifact::settings::{EnsembleMethod, EnsembleJob};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl};
use spanwise_ensemble::combine::{self, Members};
use spanwise_ensemble::report;
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Ensemble, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: EnsembleJob = job.settings()?;
    ensure!(
        job.inputs.keys().any(|role| role.starts_with("member.")),
        UserError::new("the ensemble stage needs at least one prediction")
    );
    let data = job.inputs.get("data").map(|data| data.path.as_path());
    let dev = match data {
        Some(data) => Questions::read(data, Split::Dev)?,
        None => None,
    };
    let folds: Option<Vec<usize>> = match data.map(|data| data.join(FOLDS_FILE)) {
        Some(path) if path.exists() => Some(jsonl::read_document(&path)?),
        _ => None,
    };
    let members = Members::open(&artifacts(job, Split::Dev), Split::Dev, folds.as_deref())?;
    let weights = match (&members, settings.method) {
        (Some(members), method) => report::weights(method, members, dev.as_ref())?,
        (None, EnsembleMethod::Mean | EnsembleMethod::Vote) => None,
        (None, _) => {
            return Err(
                UserError::new("ensemble.method fits weights, and there is no dev split")
                    .hint("give data.dev a file, or use method = \"mean\" or \"vote\"")
                    .into(),
            );
        }
    };
    if let Some(members) = &members {
        write(members, Split::Dev, weights.as_deref(), &settings, draft)?;
    }
    // Elsewhere every model has a say, those of a member's folds the member's in equal parts.
    for split in [Split::Train, Split::Test] {
        let (models, weights_of_models) = each_model(&artifacts(job, split), weights.as_deref());
        if let Some(models) = Members::open(&models, split, None)? {
            let weights = weights_of_models.as_deref();
            write(&models, split, weights, &settings, draft)?;
        }
    }
    if let (Some(members), Some(dev)) = (&members, &dev) {
        let report = report::measure(members, dev, &settings, weights);
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

/// Every member's predictions of a split: one, whose role is `member.000.dev`, or one a fold, `member.000.fold.000.dev`.
fn artifacts(job: &Job, split: Split) -> Vec<Vec<&Path>> {
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
        .into_iter()
        .map(|(_, artifacts)| artifacts)
        .collect()
}

/// The models of all members, each by itself, with the members' weights divided among them.
fn each_model<'a>(
    members: &[Vec<&'a Path>],
    weights: Option<&[f64]>,
) -> (Vec<Vec<&'a Path>>, Option<Vec<f64>>) {
    let models = members.iter().flatten().map(|model| vec![*model]).collect();
    let weights = weights.map(|weights| {
        let of = |(models, weight): (&Vec<&Path>, &f64)| {
            std::iter::repeat_n(weight / models.len() as f64, models.len())
        };
        members.iter().zip(weights).flat_map(of).collect()
    });
    (models, weights)
}

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
