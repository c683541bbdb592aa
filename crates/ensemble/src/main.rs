//! The ensemble stage: members' predictions → one prediction of the same layout, and what it gains.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{ScoreWriter, candidates_file};
use spanwise_artifact::settings::{EnsembleMethod, EnsembleSettings};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl, program};
use spanwise_ensemble::combine::{self, Members};
use spanwise_ensemble::report;

fn main() -> ExitCode {
    program::main(Stage::Ensemble, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: EnsembleSettings = job.settings()?;
    let members: Vec<&Path> = job
        .inputs
        .iter()
        .filter(|(role, _)| role.starts_with("member."))
        .map(|(_, input)| input.path.as_path())
        .collect();
    ensure!(
        !members.is_empty(),
        UserError::new("the ensemble stage needs at least one prediction")
    );
    let dev = match job.inputs.get("data") {
        Some(data) => Questions::read(&data.path, Split::Dev)?,
        None => None,
    };
    let dev_members = Members::open(&members, Split::Dev)?;
    let weights = match (&dev_members, settings.method) {
        (Some(dev_members), method) => report::weights(method, dev_members, dev.as_ref())?,
        (None, EnsembleMethod::Mean) => Some(combine::equal(members.len())),
        (None, EnsembleMethod::Vote) => None,
        (None, _) => {
            return Err(
                UserError::new("ensemble.method fits weights, and there is no dev split")
                    .hint("give data.dev a file, or use method = \"mean\" or \"vote\"")
                    .into(),
            );
        }
    };
    for split in [Split::Dev, Split::Test] {
        if let Some(members) = Members::open(&members, split)? {
            write(&members, split, weights.as_deref(), &settings, draft)?;
        }
    }
    if let (Some(members), Some(dev)) = (&dev_members, &dev) {
        let report = report::measure(members, dev, &settings, weights);
        tracing::info!(
            "dev exact match: members {:.3} on average, mean {:.3}, calibrated {:.3}, weighted {:.3}, vote {:.3}",
            report.mean_member,
            report.mean,
            report.calibrated,
            report.weighted,
            report.vote,
        );
        jsonl::write_document(&draft.file("report.json"), &report)?;
    }
    Ok(())
}

fn write(
    members: &Members,
    split: Split,
    weights: Option<&[f64]>,
    settings: &EnsembleSettings,
    draft: &Draft,
) -> Result<()> {
    let equal = combine::equal(members.count());
    let mut writer = ScoreWriter::create(draft.path(), split, members.lengths())?;
    for question in 0..members.questions() {
        let scores = members.get(question);
        writer.push(combine::weighted(&scores, weights.unwrap_or(&equal)).view())?;
    }
    writer.finish()?;
    if weights.is_none() {
        let votes = |question| combine::votes(&members.get(question), settings.max_answer_length);
        let ranked = (0..members.questions()).map(votes);
        jsonl::write(&draft.file(&candidates_file(split)), ranked)?;
    }
    Ok(())
}
