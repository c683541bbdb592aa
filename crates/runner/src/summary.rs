//! The summary of a run: how good its answers are, and where to look further.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use spanwise_artifact::answers::{
    self, ANSWERS_FILE, METRICS_FILE, REPORT_FILE, SUBMISSION_FILE, SplitMetrics,
};
use spanwise_artifact::ensemble::EnsembleReport;
use spanwise_artifact::{Stage, UserError};

use crate::pipeline_file::Pipeline;
use crate::plan::graph::Graph;
use crate::{owner, workspace};

/// Prints the summary of the last run of a pipeline below `output`.
pub fn print(output: &Path, pipeline: &Pipeline, out: &mut dyn Write) -> Result<()> {
    let run = output.join("runs").join(&pipeline.name);
    owner::check(&run, pipeline)?;
    ensure!(
        run.join(METRICS_FILE).exists(),
        UserError::new(format!("{} has not run yet", pipeline.file))
            .hint(format!("cargo xtask pipeline {}", pipeline.file))
    );
    write(&run, training_log(pipeline)?.as_deref(), out)
}

/// The log of a run's first training, below its folder.
fn training_log(pipeline: &Pipeline) -> Result<Option<PathBuf>> {
    let mut graph = Graph::new(pipeline)?;
    graph.add_member()?;
    let train = graph.nodes().iter().find(|node| node.stage == Stage::Train);
    Ok(train.map(|node| node.link.join("training.jsonl")))
}

fn write(run: &Path, training_log: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    for (split, metrics) in answers::read_metrics(run)? {
        let SplitMetrics {
            questions,
            task_exact_match,
            task_exact_match_standard_error: error,
            cmrc_f1,
            ..
        } = metrics;
        writeln!(
            out,
            "{:<12} task exact match {task_exact_match:.3} ± {error:.3}, CMRC F1 {cmrc_f1:.3} ({questions} questions)",
            split.name(),
        )?;
    }
    if let Some(report) = EnsembleReport::read(&run.join("ensemble"))? {
        let scores = report.task_exact_match;
        writeln!(
            out,
            "{:<12} task exact match on dev {:.3} on average; together {:+.3}",
            "members", scores.mean_member, scores.gain,
        )?;
    }
    let mut line = |name: &str, file: &Path, what: &str| {
        let shown = workspace::display(&run.join(file));
        writeln!(out, "{name:<12} {shown}{what}")
    };
    if run.join(SUBMISSION_FILE).exists() {
        line("submission", SUBMISSION_FILE.as_ref(), "")?;
    }
    line(
        "report",
        REPORT_FILE.as_ref(),
        ": where answers go wrong, to look at",
    )?;
    line(
        "more",
        ANSWERS_FILE.as_ref(),
        ": every answer with its candidates",
    )?;
    line("", METRICS_FILE.as_ref(), ": all metrics")?;
    if let Some(log) = training_log {
        line("", log, ": loss, learning rate and speed of every step")?;
    }
    Ok(())
}
